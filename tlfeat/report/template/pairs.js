// ---- pairs: the numbers behind a cell

for (const table of document.querySelectorAll("table.heat")) {
  const behind = table.closest("details").querySelector(".behind");
  const cells = [...table.querySelectorAll("tbody td:not(.self)")];
  const columns = table.tHead.rows[0].cells.length - 2;
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
    const at = cells.indexOf(event.target.closest("td"));
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (at < 0 || !step || !cells[at + step]) return;
    event.preventDefault();
    cells[at].firstChild.tabIndex = -1;
    cells[at + step].firstChild.tabIndex = 0;
    cells[at + step].firstChild.focus();
  });
}
