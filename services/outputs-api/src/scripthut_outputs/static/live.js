// Follow a run while it is looked at: its stream says that something changed, one answer brings all that did.
import { ask } from "./asking.js";
import { Endings } from "./endings.js";
import { say, update } from "./updating.js";

const GATHERING_MS = 150;
const MAX_LAGS = 8;
const JITTER_MS = 250;
const QUIET_MS = 4000;
const RETRY_MS = 3000;
const LONGEST_RETRY_MS = 30000;
// What no event tells: that nothing was heard of a cluster for too long.
const ANYWAY_MS = 60000;
// What the page shows is not there any more, or not for this reader.
const GONE = [403, 404];

export function follow(main) {
  const endings = new Endings();
  const timers = {};
  let stream = null;
  let wasAway = false;
  let isGone = false;
  let newest = 0;
  let wantsAll = false;
  let isWanted = false;
  let asking = null;
  let failures = 0;
  let refusals = 0;
  let lags = 0;

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  // A page that the browser kept and shows again.
  addEventListener("pageshow", (event) => event.persisted && !document.hidden && open());
  addEventListener("pagehide", close);
  setInterval(() => document.hidden || want(), ANYWAY_MS);
  if (!document.hidden) listen();

  function open() {
    close();
    wasAway = true;
    listen();
    if (isWanted) want();
  }

  function listen() {
    const opened = new EventSource(`${main.dataset.events}?since=${main.dataset.version}`);
    stream = opened;
    opened.addEventListener("open", () => {
      refusals = 0;
      heard();
      // What changed while nobody listened is told by the stream; what it cannot tell, a cluster's state, is asked for.
      if (wasAway) want();
      wasAway = false;
    });
    opened.addEventListener("error", () => lost(opened));
    opened.addEventListener("reset", reset);
    opened.addEventListener("cluster", () => want());
    const names = main.dataset.task ? ["item", "outputs"] : ["item", "outputs", "run", "summary"];
    for (const name of names) opened.addEventListener(name, told);
  }

  function close() {
    stream?.close();
    stream = null;
    clearTimeout(timers.retry);
  }

  // The stream has never heard of the version that is shown: the database was put back to an earlier state.
  async function reset() {
    close();
    newest = 0;
    wantsAll = true;
    await bring();
    again(RETRY_MS);
  }

  function again(wait) {
    clearTimeout(timers.retry);
    timers.retry = setTimeout(() => document.hidden || isGone || open(), wait);
  }

  function heard() {
    clearTimeout(timers.quiet);
    timers.quiet = null;
    say("");
  }

  function doubt() {
    timers.quiet ??= setTimeout(() => say("Not live just now. Trying again."), QUIET_MS);
  }

  async function lost(closed) {
    if (closed !== stream) return;
    wasAway = true;
    doubt();
    if (closed.readyState !== EventSource.CLOSED) return;
    // The browser has given up: ask for the page itself, which says what is wrong, or brings the news.
    refusals += 1;
    await bring();
    if (closed === stream) again(patience(refusals));
  }

  function told(event) {
    const said = JSON.parse(event.data);
    if (main.dataset.task && main.dataset.task !== said.task_id) return;
    newest = Math.max(newest, Number(event.lastEventId) || 0, said.version || 0);
    endings.hear(said);
    want();
  }

  // Changes come in bursts, and many readers hear of them at once.
  function want(wait = GATHERING_MS + Math.random() * JITTER_MS) {
    isWanted = true;
    if (asking || isGone || document.hidden) return;
    timers.ask ??= setTimeout(bring, wait);
  }

  // One answer at a time: none that is older can come after a newer one.
  async function bring() {
    while (asking) await asking;
    clearTimeout(timers.ask);
    timers.ask = null;
    if (isGone) return;
    asking = askOnce();
    const wait = await asking;
    asking = null;
    if (isWanted) want(wait);
  }

  // Gives how long to wait before asking again, if that is wanted.
  async function askOnce() {
    const isForAll = wantsAll;
    const address = new URL(location.href);
    address.hash = "";
    address.searchParams.set("since", isForAll ? "all" : main.dataset.version);
    isWanted = wantsAll = false;
    try {
      const fresh = await ask(address, "no-store");
      if (fresh) return take(fresh);
      leave();
    } catch (error) {
      if (GONE.includes(error.status)) {
        leave();
        location.reload();
        return undefined;
      }
      doubt();
      wantsAll ||= isForAll;
      isWanted = true;
      failures += 1;
      return patience(failures);
    }
    return undefined;
  }

  function leave() {
    isGone = true;
    close();
  }

  function take(fresh) {
    failures = 0;
    const isWhole = update(main, fresh);
    main.dataset.version = fresh.querySelector("main").dataset.version;
    endings.announce();
    if (stream?.readyState === EventSource.OPEN) heard();
    wantsAll ||= !isWhole;
    // The service that answered may know less yet than the one whose stream has told; for ever only where the database
    // was put back to an earlier state.
    if (lags === MAX_LAGS) newest = 0;
    const isBehind = Number(main.dataset.version) < newest;
    lags = isBehind ? lags + 1 : 0;
    isWanted ||= wantsAll || isBehind;
    return isBehind ? Math.min(LONGEST_RETRY_MS, GATHERING_MS * 2 ** lags) : undefined;
  }
}

function patience(failures) {
  return Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (failures - 1));
}
