// ---- confusion: one stop for the Tab key, arrows move between cells that are not empty

function openCell(facts, run, row, column, count) {
  const samples = [];
  facts.true.forEach((label, sample) => {
    if (label === row && run.predicted[sample] === column) samples.push(sample);
  });
  samples.sort((a, b) => run.sure[b] - run.sure[a]);
  const what = row === column ? "rightly called" : "called";
  const title = `${apart(facts.classes[row])}, ${what} ${apart(facts.outputs[column])}: ${count} by ${run.name}`;
  const inside = [cards(facts, run, samples)];
  if (samples.length < count) {
    inside.unshift(element("p", "caption", `${samples.length} of ${count} are in this page.`));
  }
  showDialog(title, ...inside);
}

function rowTotals(facts, run) {
  const totals = facts.classes.map(() => 0);
  run.cells.forEach(([row, , count]) => (totals[row] += count));
  return totals;
}

// The cells are as large as the room allows, and hold their numbers where these can be read.
function drawMatrix(box, facts, run, inShares) {
  const rows = facts.classes.length;
  const columns = facts.outputs.length;
  const room = box.parentElement.clientWidth;
  const names = Math.min(170, Math.max(60, room / 4));
  const side = Math.max(10, Math.min(56, Math.floor((room - names - 14) / columns)));
  const written = side >= 26;
  const grid = element("div", "grid");
  grid.style.gridTemplateColumns = `${names}px repeat(${columns}, ${side}px)`;
  grid.style.gridTemplateRows = `auto repeat(${rows}, ${side}px)`;
  if (!written) grid.style.fontSize = "10px";
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
  const totals = rowTotals(facts, run);
  const buttons = run.cells.map(([row, column, count]) => {
    const percent = Math.round((100 * count) / totals[row]);
    const made = element("button", "", written ? (inShares ? percent : count).toString() : "");
    const share = Math.sqrt(count / totals[row]);
    made.type = "button";
    made.tabIndex = -1;
    made.style.setProperty("--share", share.toFixed(3));
    // Where the other colour of text is read more easily: on white, and on black.
    made.classList.toggle("dense", share > 0.922);
    made.classList.toggle("half", share > 0.612);
    const what = `${apart(facts.classes[row])} called ${apart(facts.outputs[column])}: ${count} of ${totals[row]}, ${percent}%`;
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
  const totals = rowTotals(facts, run);
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

function confusionOf(part, facts, run) {
  const section = part.querySelector(".matrix").closest("details");
  const box = section.querySelector(".matrix");
  const cells = section.querySelector(".cells");
  const table = section.querySelector(".confusions");
  const again = whenOpen(box.parentElement, () => {
    drawMatrix(box, facts, run(), cells.value === "shares");
    if (table) listConfusions(table, facts, run());
  });
  cells.addEventListener("change", again);
  return again;
}
