// What a page gains with JavaScript; it is complete without.
import * as copying from "./copying.js";
import * as keys from "./keys.js";
import { follow } from "./live.js";
import { refresh } from "./refresh.js";
import { localise } from "./times.js";
import { onNewParts } from "./updating.js";

const main = document.querySelector("main");
onNewParts(start);
start(document);
keys.listen();
leadToTask();
if (main.dataset.events) follow(main);
else refresh(main);
setInterval(() => localise(document), 1000);

function start(root) {
  localise(root);
  copying.start(root);
}

// A link to a task's panel, where the panel stands on another page of the list or there is none: its own page has all.
function leadToTask() {
  const taskId = location.hash.match(/^#task-([A-Za-z0-9._-]+)$/)?.[1];
  const run = location.pathname.match(/^\/ui\/runs\/[^/]+$/)?.[0];
  if (taskId && run && !document.getElementById(`task-${taskId}`)) location.replace(`${run}/tasks/${taskId}`);
}
