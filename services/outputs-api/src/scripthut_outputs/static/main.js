// What a page gains with JavaScript; it is complete without.
import * as copying from "./copying.js";
import * as keys from "./keys.js";
import * as leading from "./leading.js";
import { follow } from "./live.js";
import * as previews from "./preview.js";
import { refresh } from "./refresh.js";
import * as times from "./times.js";
import { onNewParts } from "./updating.js";

const main = document.querySelector("main");
onNewParts(start);
// Before anything is changed here: what the service sent is what it is compared with.
if (main.dataset.events) follow(main);
else refresh(main);
start(document);
keys.listen();
leading.start();
times.tick();

function start(root) {
  times.start(root);
  copying.start(root);
  previews.start(root);
}
