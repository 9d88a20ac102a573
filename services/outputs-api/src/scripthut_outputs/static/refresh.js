// While something is alive, ask for the page again and change only the parts that differ: what the reader has
// opened, focused, selected or scrolled to stays.
const parser = new DOMParser();

export function refresh(main, start) {
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
      take(parser.parseFromString(await answer.text(), "text/html"));
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
    reconcile(main, next, (id) => sources.get(id) !== changed.get(id));
    start(main);
    sources = changed;
    main.dataset.refreshS = next.dataset.refreshS ?? "";
    document.title = fresh.title;
  }
}

function sourcesOf(root) {
  return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.id, part.outerHTML]));
}

// Children are known by id. A part is replaced when it differs; anything else is only looked into.
function reconcile(old, next, differs) {
  let place = old.firstElementChild;
  for (const child of [...next.children]) {
    const known = document.getElementById(child.id);
    if (!known) {
      old.insertBefore(document.importNode(child, true), place);
      continue;
    }
    if (known !== place) old.insertBefore(known, place);
    place = known.nextElementSibling;
    if (!child.hasAttribute("data-part")) reconcile(known, child, differs);
    else if (differs(child.id)) replace(known, child);
  }
  while (place) {
    const gone = place;
    place = place.nextElementSibling;
    gone.remove();
  }
}

function replace(old, next) {
  const fresh = document.importNode(next, true);
  for (const details of old.querySelectorAll("details[id]")) {
    const twin = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (twin) twin.open = details.open;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const home = focused?.closest("[id]")?.id;
  const selector = focused?.tagName.toLowerCase();
  old.replaceWith(fresh);
  if (home) {
    const place = document.getElementById(home);
    (place?.matches(selector) ? place : place?.querySelector(selector))?.focus({ preventScroll: true });
  }
}

function say(text) {
  const live = document.getElementById("live");
  live.hidden = !text;
  if (live.textContent !== text) live.textContent = text;
}
