// Files among others unfold in place: their preview is fetched when it is first opened. Without JavaScript they are links.
import { ask } from "./asking.js";
import { start as startLightbox } from "./lightbox.js";
import { start as startTables } from "./tables.js";

export function start(root) {
  for (const details of root.querySelectorAll("details[data-fragment]:not([data-started])")) {
    details.dataset.started = "";
    details.hidden = false;
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector(".preview")) load(details);
    });
    if (details.open) load(details);
  }
  startTables(root);
  startLightbox(root);
}

async function load(details) {
  const place = document.createElement("div");
  place.className = "preview";
  place.setAttribute("aria-busy", "true");
  details.append(place);
  try {
    await fill(place, details.dataset.fragment);
  } catch (error) {
    place.replaceChildren(complaint(error));
    details.addEventListener("toggle", () => place.remove(), { once: true });
  }
  place.removeAttribute("aria-busy");
}

async function fill(place, address) {
  const fresh = await ask(address);
  if (!fresh) return;
  place.replaceChildren(...[...fresh.body.childNodes].map((node) => document.importNode(node, true)));
  startTables(place);
}

function complaint(error) {
  const told = document.createElement("p");
  told.className = "problem";
  told.setAttribute("role", "alert");
  told.textContent = `It cannot be shown here: ${error.message}. Close and open it to try again, or open its page.`;
  return told;
}
