// Keep the list of runs up to date: ask for it again now and then, and change only the parts that differ.
import { read, say, update } from "./updating.js";

export function refresh(main) {
  let sources = sourcesOf(main);
  let failures = 0;
  schedule();

  function schedule() {
    const seconds = Number(main.dataset.refreshS);
    if (seconds) setTimeout(ask, 1000 * Math.min(60, seconds * 2 ** failures));
  }

  async function ask() {
    if (document.hidden) {
      document.addEventListener("visibilitychange", ask, { once: true });
      return;
    }
    try {
      const answer = await fetch(location.href, { cache: "no-cache", headers: { accept: "text/html" } });
      if (answer.redirected || answer.status === 401) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
      take(read(await answer.text()));
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
