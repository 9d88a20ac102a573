// Follow a run while it is looked at: its stream says that something changed, one answer brings all that did.
import { read, say, update } from "./updating.js";

const GATHERING_MS = 150;
const JITTER_MS = 250;
const QUIET_MS = 4000;
const RETRY_MS = 3000;
const LONGEST_RETRY_MS = 30000;
// What no event tells: that nothing was heard of a cluster for too long.
const ANYWAY_MS = 60000;
const NAMED = 3;
const ENDED = {
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "was cancelled",
  timed_out: "timed out",
  out_of_memory: "ran out of memory",
  node_failed: "lost its node",
  preempted: "was preempted",
  dependency_failed: "will not start: a task before it failed",
  submission_failed: "could not be submitted",
  unknown: "ended, nobody knows how",
};

export function follow(main) {
  const state = { stream: null, failures: 0, newest: 0, wasAway: false, isAsking: false, wantsAll: false, timers: {} };
  const ended = new Map();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  // A page that the browser kept and shows again.
  addEventListener("pageshow", (event) => event.persisted && open());
  addEventListener("pagehide", close);
  setInterval(() => document.hidden || want(), ANYWAY_MS);
  if (!document.hidden) listen();

  function open() {
    close();
    state.wasAway = true;
    listen();
  }

  function listen() {
    const stream = new EventSource(`${main.dataset.events}?since=${main.dataset.version}`);
    state.stream = stream;
    stream.addEventListener("open", () => {
      state.failures = 0;
      heard();
      // What changed while nobody listened is told by the stream; what it cannot tell, a cluster's state, is asked for.
      if (state.wasAway) want();
      state.wasAway = false;
    });
    stream.addEventListener("error", () => lost(stream));
    stream.addEventListener("reset", () => want(true));
    stream.addEventListener("cluster", () => want());
    if (!main.dataset.task) for (const name of ["run", "summary"]) stream.addEventListener(name, told);
    for (const name of ["item", "outputs"]) stream.addEventListener(name, told);
  }

  function close() {
    state.stream?.close();
    state.stream = null;
    clearTimeout(state.timers.retry);
  }

  function heard() {
    clearTimeout(state.timers.quiet);
    state.timers.quiet = null;
    say("");
  }

  function lost(stream) {
    if (stream !== state.stream) return;
    state.wasAway = true;
    doubt();
    if (stream.readyState !== EventSource.CLOSED) return;
    // The browser has given up: ask for the page itself, which says what is wrong, or brings the news.
    state.failures += 1;
    const wait = Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (state.failures - 1));
    state.timers.retry = setTimeout(async () => {
      await ask();
      if (state.stream === stream && !document.hidden) open();
    }, wait);
  }

  function told(event) {
    const item = JSON.parse(event.data);
    if (main.dataset.task && main.dataset.task !== item.task_id) return;
    state.newest = Math.max(state.newest, Number(event.lastEventId) || 0, item.version || 0);
    if (item.outcome && isAlive(item.task_id)) {
      ended.set(item.task_id, `${item.task_name} ${ENDED[item.outcome] ?? `ended: ${item.outcome}`}`);
    }
    want();
  }

  // As far as the page shows it: that files of an ended task have changed is no news of its end.
  function isAlive(taskId) {
    const shown = document.getElementById(`row-${taskId}`) ?? document.getElementById(`task-${taskId}`);
    return shown !== null && !("over" in shown.dataset);
  }

  // Changes come in bursts, and many readers hear of them at once.
  function want(all = false) {
    state.wantsAll ||= all;
    state.isWanted = true;
    if (state.isAsking) return;
    state.timers.ask ??= setTimeout(ask, GATHERING_MS + Math.random() * JITTER_MS);
  }

  async function ask() {
    clearTimeout(state.timers.ask);
    state.timers.ask = null;
    state.isAsking = true;
    state.isWanted = false;
    const since = state.wantsAll ? "all" : main.dataset.version;
    state.wantsAll = false;
    try {
      const address = new URL(location.href);
      address.hash = "";
      address.searchParams.set("since", since);
      const answer = await fetch(address, { cache: "no-store", headers: { accept: "text/html" } });
      if (answer.redirected || [401, 403, 404].includes(answer.status)) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
      take(read(await answer.text()));
      announce();
      if (state.stream?.readyState === EventSource.OPEN) heard();
    } catch {
      doubt();
      setTimeout(want, RETRY_MS);
    }
    state.isAsking = false;
    if (state.isWanted) want();
  }

  function doubt() {
    state.timers.quiet ??= setTimeout(() => say("Not live just now. Trying again."), QUIET_MS);
  }

  function take(fresh) {
    const isWhole = update(main, fresh);
    main.dataset.version = fresh.querySelector("main").dataset.version;
    // The service may know less yet than its stream has told.
    if (!isWhole || Number(main.dataset.version) < state.newest) want(!isWhole);
  }

  function announce() {
    if (!ended.size) return;
    const all = [...ended.values()];
    ended.clear();
    const more = all.length - NAMED;
    const said = all.slice(0, NAMED).join(", ") + (more > 0 ? `, and ${more} more ended` : "");
    document.getElementById("told").textContent = said;
  }
}
