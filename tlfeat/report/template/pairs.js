// ---- pairs: the numbers behind a cell

for (const table of document.querySelectorAll("table.heat")) {
  const behind = table.closest("details").querySelector(".behind");
  const cells = [...table.querySelectorAll("tbody td:not(.self)")];
  const rows = [...table.tBodies[0].rows];
  const show = (cell) => {
    cells.forEach((one) => one.classList.toggle("at", one === cell));
    behind.textContent = cell.dataset.words;
  };
  cells.forEach((cell, i) => {
    const button = element("button", "", cell.textContent);
    button.type = "button";
    button.tabIndex = i ? -1 : 0;
    button.setAttribute("aria-label", cell.title);
    cell.dataset.words = cell.title;
    cell.removeAttribute("title");
    cell.replaceChildren(button);
    cell.addEventListener("pointerenter", () => show(cell));
    button.addEventListener("focus", () => show(cell));
    button.addEventListener("click", () => show(cell));
  });
  table.addEventListener("keydown", (event) => {
    const at = event.target.closest("td");
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!at || !step) return;
    event.preventDefault();
    let [row, column] = [rows.indexOf(at.parentElement), at.cellIndex];
    let next = null;
    do { // over the diagonal, in the same row or column
      [row, column] = [row + step[0], column + step[1]];
      next = rows[row]?.cells[column];
    } while (next && next.classList.contains("self"));
    if (!next || !cells.includes(next)) return;
    at.firstChild.tabIndex = -1;
    next.firstChild.tabIndex = 0;
    next.firstChild.focus();
  });
}
