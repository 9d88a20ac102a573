// Put what is new of a page in the place of what was, part by part: what the reader has opened, focused, selected or
// scrolled to stays.
// What the reader is selecting in waits until the selection is gone.
const deferred = new Map();
let started = () => {};

export function onNewParts(start) {
  started = start;
}

// Children are known by id. Of `fresh`, parts that are said to be the same are empty; what is no part stays as it is.
// Answers whether the page was complete enough to be brought up to date.
export function update(main, fresh, differs = () => true) {
  const keep = anchor(main);
  const isWhole = reconcile(main, fresh.querySelector("main"), differs);
  document.title = fresh.title;
  keep();
  return isWhole;
}

function reconcile(old, next, differs) {
  let isWhole = true;
  const children = new Map([...old.children].map((child) => [child.id, child]));
  let place = firstKnown(old.firstElementChild);
  for (const child of next.children) {
    if (!child.id) continue;
    const same = child.dataset.same;
    const known = children.get(child.id);
    if (!known) {
      isWhole = insert(old, child, place) && isWhole;
      continue;
    }
    if (known !== place) old.insertBefore(known, place);
    else place = firstKnown(place.nextElementSibling);
    if (child.hasAttribute("data-parts")) isWhole = reconcile(known, child, differs) && isWhole;
    else if (child.hasAttribute("data-part") && !same && !showsTheSame(known, child) && differs(child)) {
      replace(known, child);
    }
  }
  while (place) {
    const gone = place;
    place = firstKnown(place.nextElementSibling);
    gone.remove();
  }
  return isWhole;
}

// What the service names the content of stays as it is, with all that the reader has done to it, while that is the same.
function showsTheSame(old, next) {
  return next.dataset.content !== undefined && next.dataset.content === old.dataset.content;
}

// What has no id is nothing that the service says anything of.
function firstKnown(element) {
  while (element && !element.id) element = element.nextElementSibling;
  return element;
}

function insert(old, child, place) {
  if (child.dataset.same) return child.dataset.same !== "must";
  const fresh = document.importNode(child, true);
  const lacks = fresh.querySelector("[data-same=must]") !== null;
  for (const empty of fresh.querySelectorAll("[data-same]")) empty.remove();
  old.insertBefore(fresh, place);
  started(fresh);
  return !lacks;
}

function replace(old, next) {
  if (isSelectedIn(old)) {
    deferred.set(old.id, next);
    return;
  }
  deferred.delete(old.id);
  const fresh = document.importNode(next, true);
  const back = placeOfFocus(old);
  for (const details of old.querySelectorAll("details[id]")) {
    const twin = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (twin) twin.open = details.open;
  }
  const scrolled = [...old.querySelectorAll("details[id] pre")].map((pre) => [
    pre.closest("details").id,
    pre.scrollTop,
    pre.scrollTop > 0 && pre.scrollHeight - pre.scrollTop - pre.clientHeight < 2,
  ]);
  for (const kept of old.querySelectorAll("[id][data-content]")) {
    const twin = fresh.querySelector(`#${CSS.escape(kept.id)}`);
    if (twin && showsTheSame(kept, twin)) twin.replaceWith(kept);
    else if (twin && kept.dataset.place) twin.dataset.place = kept.dataset.place;
  }
  keepPictures(old, fresh);
  old.replaceWith(fresh);
  started(fresh);
  for (const [id, top, isAtEnd] of scrolled) {
    const pre = document.getElementById(id)?.querySelector("pre");
    if (pre) pre.scrollTop = isAtEnd ? pre.scrollHeight : top;
  }
  back();
}

// A picture that is still the same is there already, and as tall as it was: a new one would have no height until it came.
function keepPictures(old, fresh) {
  const shown = [...old.querySelectorAll("img")];
  for (const picture of fresh.querySelectorAll("img")) {
    const place = shown.findIndex((known) => known.isEqualNode(picture));
    if (place >= 0) picture.replaceWith(shown.splice(place, 1)[0]);
  }
}

// Where the focus is: the link to the same place, else which of the like elements beneath the nearest id.
function placeOfFocus(old) {
  const focused = document.activeElement;
  if (!old.contains(focused)) return () => {};
  const home = focused.closest("[id]");
  const selector = focused === home ? null : focused.tagName.toLowerCase();
  const number = selector ? [...home.querySelectorAll(selector)].indexOf(focused) : 0;
  const id = home.id;
  const href = focused.getAttribute("href");
  return () => {
    const place = document.getElementById(id);
    const all = selector && place ? place.querySelectorAll(selector) : [];
    const twin = href && [...all].find((element) => element.getAttribute("href") === href);
    (selector ? twin || all[Math.min(number, all.length - 1)] : place)?.focus({ preventScroll: true });
  };
}

function isSelectedIn(element) {
  const selection = document.getSelection();
  if (!selection || selection.isCollapsed) return false;
  return selection.containsNode(element, true);
}

document.addEventListener("selectionchange", () => {
  if (!deferred.size || !document.getSelection()?.isCollapsed) return;
  for (const [id, next] of [...deferred]) {
    const old = document.getElementById(id);
    deferred.delete(id);
    if (old) replace(old, next);
  }
});

// Remember the first part in sight, and scroll so that it stays where it is.
function anchor(main) {
  const root = document.documentElement;
  if (window.scrollY === 0) return () => {};
  const seen = [...main.querySelectorAll("[data-part]")].find((part) => {
    const box = part.getBoundingClientRect();
    return box.height > 0 && box.bottom > 0;
  });
  if (!seen) return () => {};
  const { id } = seen;
  const top = seen.getBoundingClientRect().top;
  // The browser would move the page for the same reason.
  root.style.overflowAnchor = "none";
  return () => {
    const place = document.getElementById(id);
    if (place) window.scrollBy({ top: place.getBoundingClientRect().top - top, behavior: "instant" });
    requestAnimationFrame(() => root.style.removeProperty("overflow-anchor"));
  };
}

export function say(text) {
  const live = document.getElementById("live");
  live.hidden = !text;
  if (live.textContent !== text) live.textContent = text;
}
