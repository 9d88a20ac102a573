// Times as the reader's clock shows them; how long something has run so far.
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function start(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    element.textContent = element.classList.contains("since") ? elapsed(at) : day.format(at);
    element.title = exact.format(at);
  }
}

export function tick() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time.since")) {
      const shown = elapsed(new Date(element.dateTime));
      if (element.textContent !== shown) element.textContent = shown;
    }
  }, 1000);
}

function elapsed(start) {
  const seconds = Math.max(0, Math.round((Date.now() - start.getTime()) / 1000));
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
