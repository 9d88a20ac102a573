// Tables that are whole on the page are sorted in place; of others the server sorts all rows that it has loaded.
const collator = new Intl.Collator(undefined, { sensitivity: "base" });

export function start(root) {
  for (const table of root.querySelectorAll("table.cells[data-complete]:not([data-started])")) {
    table.dataset.started = "";
    table.tHead.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      sort(table, link.closest("th"));
    });
  }
}

function sort(table, heading) {
  const body = table.tBodies[0];
  table.original ??= [...body.rows];
  const order = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort ?? "none"];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (order !== "none") heading.setAttribute("aria-sort", order);
  body.append(...(order === "none" ? table.original : sorted(table.original, heading, order)));
}

// Cells that hold nothing come last either way.
function sorted(rows, heading, order) {
  const isNumeric = heading.classList.contains("number");
  const sign = order === "descending" ? -1 : 1;
  const keyed = rows.map((row) => ({ row, key: keyOf(row.cells[heading.cellIndex].textContent, isNumeric) }));
  const held = keyed.filter(({ key }) => key !== null);
  held.sort((one, other) => sign * (isNumeric ? one.key - other.key : collator.compare(one.key, other.key)));
  return [...held, ...keyed.filter(({ key }) => key === null)].map(({ row }) => row);
}

function keyOf(text, isNumeric) {
  if (!isNumeric) return text.trim() || null;
  const written = text.trim().replace(/%$/, "").replace(/d/i, "e").replace(/^([-+]?)inf(inity)?$/i, "$1Infinity");
  const number = written ? Number(written) : NaN;
  return Number.isNaN(number) ? null : number;
}
