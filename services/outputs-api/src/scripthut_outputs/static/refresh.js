// Keep the list of runs up to date: ask for it again now and then, and change only the parts that differ.
import { ask } from "./asking.js";
import { say, update } from "./updating.js";

const LONGEST_S = 60;

export function refresh(main) {
  let sources = sourcesOf(main);
  let failures = 0;
  schedule();

  function schedule() {
    const seconds = Number(main.dataset.refreshS);
    if (seconds) setTimeout(bring, 1000 * Math.min(LONGEST_S, seconds * 2 ** failures));
  }

  async function bring() {
    if (document.hidden) {
      document.addEventListener("visibilitychange", bring, { once: true });
      return;
    }
    try {
      const fresh = await ask(location.href, "no-cache");
      if (!fresh) return;
      take(fresh);
      failures = 0;
      say("");
    } catch (error) {
      failures += 1;
      say(`This page may be old: ${error.message}. Trying again.`);
    }
    schedule();
  }

  function take(fresh) {
    const next = fresh.querySelector("main");
    const changed = sourcesOf(next);
    update(main, fresh, (part) => sources.get(part.id) !== changed.get(part.id));
    sources = changed;
    main.dataset.refreshS = next.dataset.refreshS ?? "";
  }
}

function sourcesOf(root) {
  return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.id, part.outerHTML]));
}
