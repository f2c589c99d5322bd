// ---- tables

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].textContent.trim();
  const number = (text) => parseFloat(text.replace(/,/g, "").replace(/^below /, ""));
  const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
  const rows = [...body.rows];
  rows.sort((a, b) => {
    if (!numeric) return value(a).localeCompare(value(b), undefined, { numeric: true });
    const [x, y] = [number(value(a)), number(value(b))];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x - y;
  });
  if (descending) {
    const known = rows.filter((row) => !numeric || !Number.isNaN(number(value(row))));
    rows.splice(0, known.length, ...known.reverse());
  }
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("unsorted")) return;
    const button = element("button", "", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      sortBy(table, column, order === "descending");
    });
  });
}
