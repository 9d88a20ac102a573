// Lead to what an address names: unfold what it is folded in, or go to the page that has it.
const OF_TASK = /^#(?:task-|doc:)([A-Za-z0-9][A-Za-z0-9._-]*)(?=$|[/:])/;
const RUN = /^\/ui\/runs\/[^/]+$/;

export function start() {
  addEventListener("hashchange", lead);
  lead();
}

function lead() {
  const target = document.getElementById(nameOf(location.hash));
  if (target) {
    unfold(target);
    return;
  }
  // The panel stands on another page of the list, or there is none: the task's own page has all.
  const taskId = location.hash.match(OF_TASK)?.[1];
  const run = location.pathname.match(RUN)?.[0];
  if (!taskId || !run || document.getElementById(`task-${taskId}`)) return;
  const hash = location.hash.startsWith("#doc:") ? location.hash : "";
  location.replace(`${run}/tasks/${taskId}${hash}`);
}

function nameOf(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return hash.slice(1);
  }
}

function unfold(target) {
  const folded = [];
  const own = target.matches("article") ? target.querySelector(":scope > details") : null;
  for (let place = own ?? target; place; place = place.parentElement) {
    if (place.matches("details:not([open])")) folded.push(place);
  }
  if (!folded.length) return;
  for (const details of folded) details.open = true;
  target.scrollIntoView();
}
