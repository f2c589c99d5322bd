// Sorting, the choice of a run, pictures behind a cell. Every text is set with
// textContent: names of classes and files are never markup.
"use strict";
document.documentElement.classList.add("js");

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A name may be written from right to left: what stands beside it must not turn with it.
const apart = (name) => `\u2068${name}\u2069`;

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

// ---- pictures

const dialog = document.querySelector("dialog.shown");

function sureness(run, sample) {
  const sure = run.sure[sample];
  return run.probability ? `${Math.round(100 * sure)}%` : `margin ${sure.toFixed(2)}`;
}

function card(facts, run, sample, tag = "li") {
  const made = element(tag, "card");
  const picture = facts.pictures[facts.picture[sample]];
  if (picture) {
    const image = element("img");
    image.src = picture;
    image.alt = facts.ids[sample];
    made.append(image);
  } else {
    made.append(element("span", "none", "no picture"));
  }
  const said = element("span", "said");
  const true_ = element("b");
  true_.append(element("bdi", "", facts.classes[facts.true[sample]]));
  said.append(true_);
  const right = run.predicted[sample] === facts.true[sample];
  const called = element("span", right ? "" : "wrongly");
  called.append("called ", element("bdi", "", facts.outputs[run.predicted[sample]]), " ");
  called.append(element("i", "", sureness(run, sample)));
  said.append(called);
  const id = element("span", "id", facts.ids[sample]);
  id.title = facts.ids[sample];
  made.append(said, id);
  return made;
}

function cards(facts, run, samples) {
  const list = element("ul", "cards");
  list.append(...samples.map((sample) => card(facts, run, sample)));
  return list;
}

function openCell(facts, run, row, column, count) {
  const samples = [];
  facts.true.forEach((label, sample) => {
    if (label === row && run.predicted[sample] === column) samples.push(sample);
  });
  samples.sort((a, b) => run.sure[b] - run.sure[a]);
  const what = row === column ? "rightly called" : "called";
  const title = `${apart(facts.classes[row])}, ${what} ${apart(facts.outputs[column])}: ${count} by ${run.name}`;
  dialog.querySelector("h2").textContent = title;
  const box = dialog.querySelector(".shown-pictures");
  box.replaceChildren();
  if (samples.length < count) {
    box.append(element("p", "caption", `${samples.length} of ${count} are in this page.`));
  }
  box.append(cards(facts, run, samples));
  dialog.showModal();
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

// ---- confusion: one stop for the Tab key, arrows move between cells that are not empty

function drawMatrix(box, facts, run) {
  const rows = facts.classes.length;
  const columns = facts.outputs.length;
  const many = rows > 24;
  const side = many ? 15 : rows > 12 ? 32 : 42;
  const grid = element("div", "grid");
  grid.style.gridTemplateColumns = `minmax(60px, 170px) repeat(${columns}, ${side}px)`;
  grid.style.gridTemplateRows = `auto repeat(${rows}, ${side}px)`;
  if (many) grid.style.fontSize = "10px";
  const place = (made, row, column) => {
    made.style.gridArea = `${row + 2} / ${column + 2}`;
    grid.append(made);
    return made;
  };
  place(element("span", "corner", "called → true ↓"), -1, -1);
  const label = (className, name, row, column) => {
    const made = place(element("span", className, name), row, column);
    made.title = name;
    made.style.lineHeight = `${side}px`;
  };
  facts.outputs.forEach((name, i) => label("across", name, -1, i));
  facts.classes.forEach((name, i) => label("down", name, i, -1));
  const totals = facts.classes.map(() => 0);
  run.cells.forEach(([row, , count]) => (totals[row] += count));
  const buttons = run.cells.map(([row, column, count]) => {
    const made = element("button", "", many ? "" : String(count));
    const share = Math.sqrt(count / totals[row]);
    made.type = "button";
    made.tabIndex = -1;
    made.style.setProperty("--share", share.toFixed(3));
    // Where the other colour of text is read more easily: on white, and on black.
    made.classList.toggle("dense", share > 0.86);
    made.classList.toggle("half", share > 0.57);
    const what = `${apart(facts.classes[row])} called ${apart(facts.outputs[column])}: ${count}`;
    made.setAttribute("aria-label", what);
    made.title = what;
    made.addEventListener("click", () => openCell(facts, run, row, column, count));
    return place(made, row, column);
  });
  if (buttons.length) buttons[0].tabIndex = 0;
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  grid.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const step = steps[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    const [row, column] = run.cells[at];
    let best = -1;
    let least = Infinity;
    run.cells.forEach(([r, c], i) => {
      const along = (r - row) * step[0] + (c - column) * step[1];
      const aside = Math.abs((r - row) * step[1]) + Math.abs((c - column) * step[0]);
      if (along > 0 && along + 3 * aside < least) [best, least] = [i, along + 3 * aside];
    });
    if (best < 0) return;
    buttons[at].tabIndex = -1;
    buttons[best].tabIndex = 0;
    buttons[best].focus();
  });
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", `Confusion of ${run.name}; arrow keys move, Enter opens`);
  box.replaceChildren(grid);
}

function listConfusions(table, facts, run) {
  const totals = facts.classes.map(() => 0);
  run.cells.forEach(([row, , count]) => (totals[row] += count));
  const wrong = run.cells.filter(([row, column]) => row !== column);
  wrong.sort((a, b) => b[2] - a[2]);
  const rows = wrong.slice(0, 12).map(([row, column, count]) => {
    const made = element("tr");
    const open = element("button", "", facts.classes[row]);
    open.type = "button";
    open.addEventListener("click", () => openCell(facts, run, row, column, count));
    const first = element("td");
    first.append(open);
    made.append(first, element("td", "", facts.outputs[column]));
    made.append(element("td", "number", count), element("td", "number", totals[row]));
    return made;
  });
  table.tBodies[0].replaceChildren(...rows);
}

// ---- one part a dataset

const parts = [];
for (const part of document.querySelectorAll(".part")) {
  const source = part.querySelector("script.facts");
  if (!source) continue;
  const facts = JSON.parse(source.textContent);
  const choice = part.querySelector(".choice select");
  const run = () => facts.runs[choice.value];
  const update = () => {
    drawMatrix(part.querySelector(".matrix"), facts, run());
    listConfusions(part.querySelector(".confusions"), facts, run());
    part.querySelectorAll(".run-name").forEach((one) => (one.textContent = run().name));
    const box = part.querySelector(".confident");
    if (run().mistakes.length) box.replaceChildren(cards(facts, run(), run().mistakes));
    else box.replaceChildren(element("p", "", "It makes none."));
  };
  choice.addEventListener("change", update);
  update();
  parts.push({ choice, update, part, facts, run });
}

// ---- paper: what is folded away is opened, and the run is the one whose figure is printed

let folded = [];
let chosen = [];
const choose = (values) =>
  parts.forEach(({ choice, update }, i) => {
    choice.value = values[i];
    update();
  });
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => (one.open = true));
  chosen = parts.map(({ choice }) => choice.value);
  choose(parts.map(() => "0"));
});
window.addEventListener("afterprint", () => {
  folded.forEach((one) => (one.open = false));
  choose(chosen);
});
