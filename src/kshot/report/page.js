"use strict";
// Tables sort and filter; without this script the page says the same in the order it was written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, place) => {
    const cell = row.cells[place];
    const told = cell.querySelector("[data-sort]");
    return told ? Number(told.dataset.sort) : cell.textContent.trim();
  };
  table.querySelectorAll("thead th").forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one, place), value(other, place)];
        return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      });
      body.append(...(falling ? rows.reverse() : rows));
    });
  });
}
for (const tools of document.querySelectorAll(".tools")) {
  const [input, count] = [tools.querySelector("input"), tools.querySelector("output")];
  const rows = [...document.querySelectorAll(`#${input.getAttribute("aria-controls")} tbody tr`)];
  if (rows.length < 8) continue;
  tools.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let left = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      left += row.hidden ? 0 : 1;
    }
    count.textContent = wanted ? `${left} of ${rows.length}` : "";
  });
}
