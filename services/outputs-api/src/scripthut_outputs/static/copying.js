// Buttons that copy an id, a path or a command.
const SHOWN_MS = 1500;

export function start(root) {
  for (const button of root.querySelectorAll("button[data-copy]:not([data-started])")) {
    button.dataset.started = "";
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const isCopied = await write(button.dataset.copy);
  button.classList.toggle("copied", isCopied);
  document.getElementById("told").textContent = isCopied ? "Copied" : "The browser does not let this page copy";
  setTimeout(() => button.classList.remove("copied"), SHOWN_MS);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

// Without https a browser offers no clipboard, but the old way.
function writeBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  const focused = document.activeElement;
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return isCopied;
}
