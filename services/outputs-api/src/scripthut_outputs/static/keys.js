// Keys for those who read many runs; the page lists them under `?`.
const SECOND_KEY_MS = 1000;
const dialog = document.getElementById("keys");
let goes = 0;

export function listen() {
  if (!dialog) return;
  const button = document.getElementById("show-keys");
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return;
    if (act(event.key)) event.preventDefault();
  });
}

function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable], dialog[open]") !== null;
}

function act(key) {
  if (key === "r" && performance.now() - goes < SECOND_KEY_MS) {
    location.assign("/ui/");
    return true;
  }
  goes = key === "g" ? performance.now() : 0;
  switch (key) {
    case "j":
      return step("[data-item]", 1, (item) => item.querySelector("[data-open]"));
    case "k":
      return step("[data-item]", -1, (item) => item.querySelector("[data-open]"));
    case "n":
      return step(".gallery a", 1, (link) => link);
    case "p":
      return step(".gallery a", -1, (link) => link);
    case "o":
      return open();
    case "/":
      return search();
    case "?":
      dialog.showModal();
      return true;
    default:
      return false;
  }
}

// From the one with the focus to the next; from none to the first in sight.
function step(selector, by, targetOf) {
  const all = [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility?.() ?? true);
  if (!all.length) return false;
  const at = all.findIndex((element) => element.contains(document.activeElement));
  const seen = all.findIndex((element) => element.getBoundingClientRect().bottom > 0);
  const number = at >= 0 ? at + by : Math.max(0, seen);
  const next = all[Math.min(all.length - 1, Math.max(0, number))];
  const target = targetOf(next) ?? next;
  target.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  return true;
}

function open() {
  const item = document.activeElement?.closest("[data-item]");
  const target = item?.querySelector("[data-open]");
  target?.click();
  return Boolean(target);
}

function search() {
  const field = document.querySelector("input[type=search]");
  field?.focus();
  field?.select();
  return Boolean(field);
}
