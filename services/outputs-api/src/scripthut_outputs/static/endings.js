// Say which tasks have ended, for those who listen to a page.
const NAMED = 3;
const ENDED = new Map([
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["cancelled", "was cancelled"],
  ["timed_out", "timed out"],
  ["out_of_memory", "ran out of memory"],
  ["node_failed", "lost its node"],
  ["preempted", "was preempted"],
  ["dependency_failed", "will not start: a task before it failed"],
  ["submission_failed", "could not be submitted"],
  ["unknown", "ended, nobody knows how"],
]);

export class Endings {
  #heard = new Map();

  // As far as the page shows it: that files of an ended task have changed is no news of its end.
  hear(item) {
    if (!item.outcome || !isAlive(item.task_id)) return;
    this.#heard.set(item.task_id, `${item.task_name} ${ENDED.get(item.outcome) ?? `ended: ${item.outcome}`}`);
  }

  announce() {
    if (!this.#heard.size) return;
    const all = [...this.#heard.values()];
    this.#heard.clear();
    const more = all.length - NAMED;
    const said = all.slice(0, NAMED).join(", ") + (more > 0 ? `, and ${more} more ended` : "");
    document.getElementById("told").textContent = said;
  }
}

function isAlive(taskId) {
  const shown = document.getElementById(`row-${taskId}`) ?? document.getElementById(`task-${taskId}`);
  return shown !== null && !("over" in shown.dataset);
}
