// ---- cost: one scatter, a choice of axis; its numbers are those of the table beside it

function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const step of [1, 2, 5]) found.push(step * 10 ** power);
    }
    const inside = found.filter((value) => value >= low && value <= high);
    return inside.length > 6 ? inside.filter((v) => Number.isInteger(Math.log10(v))) : inside;
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

function scale(values, from, to, logarithmic) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const warp = logarithmic ? Math.log : (value) => value;
  const back = logarithmic ? Math.exp : (value) => value;
  const room = (warp(high) - warp(low)) * 0.08 || Math.abs(warp(high)) * 0.05 || 1;
  [low, high] = [back(warp(low) - room), back(warp(high) + room)];
  if (!logarithmic && values.every((value) => value >= 0)) low = Math.max(0, low);
  const at = (value) =>
    from + ((warp(value) - warp(low)) / (warp(high) - warp(low))) * (to - from);
  return { at, ticks: ticks(low, high, logarithmic) };
}

// A number stands beside its point, where it lies on no other number or point.
function placed(spots) {
  const taken = spots.map(({ x, y }) => [x, y, 7]);
  return spots.map(({ x, y }) => {
    for (let far = 15; far < 90; far += 9) {
      for (let turn = 0; turn < 12; turn += 1) {
        const angle = -Math.PI / 4 + (turn * Math.PI) / 6;
        const [at, up] = [x + far * Math.cos(angle), y + far * Math.sin(angle)];
        if (taken.every(([a, b, r]) => Math.hypot(a - at, b - up) > r + 8)) {
          taken.push([at, up, 8]);
          return [at, up];
        }
      }
    }
    return [x + 15, y];
  });
}

function drawCosts(box, costs, axis, rows) {
  const [wide, high] = [Math.max(300, Math.min(box.clientWidth, 640)), 360];
  const known = costs.points
    .map((point, i) => ({ ...point, i, cost: point.costs[axis] }))
    .filter((point) => point.cost !== null && point.validation !== null);
  const values = known.map((point) => point.cost);
  const logarithmic = Math.min(...values) > 0 && Math.max(...values) > 20 * Math.min(...values);
  const across = scale(values, 52, wide - 16, logarithmic);
  const up = scale(known.map((point) => point.validation), high - 46, 14, false);
  const svg = drawn("svg", { viewBox: `0 0 ${wide} ${high}`, role: "group" });
  svg.setAttribute("aria-label", `Validation accuracy against ${costs.axes[axis].label}; the table beside it has the numbers`);
  const text = (x, y, said, anchor) => drawn("text", { x, y, "text-anchor": anchor }, said);
  for (const value of across.ticks) {
    const x = across.at(value);
    svg.append(drawn("line", { class: "grid-line", x1: x, x2: x, y1: 8, y2: high - 40 }));
    svg.append(text(x, high - 24, value.toLocaleString("en"), "middle"));
  }
  for (const value of up.ticks) {
    const y = up.at(value);
    svg.append(drawn("line", { class: "grid-line", x1: 46, x2: wide - 8, y1: y, y2: y }));
    svg.append(text(42, y + 4, Number(value.toFixed(2)).toString(), "end"));
  }
  svg.append(text((wide + 40) / 2, high - 6, costs.axes[axis].label, "middle"));
  const label = text(0, 0, "right on validation, %", "middle");
  label.setAttribute("transform", `translate(12 ${(high - 40) / 2}) rotate(-90)`);
  svg.append(label);
  const front = known.filter((point) => point.front[axis]).sort((a, b) => a.cost - b.cost);
  const path = front.map((point, i) =>
    i ? `H${across.at(point.cost)}V${up.at(point.validation)}` : `M${across.at(point.cost)} ${up.at(point.validation)}`,
  );
  svg.append(drawn("path", { class: "front-line", d: path.join("") || "M0 0" }));
  const spots = known.map((point) => ({ x: across.at(point.cost), y: up.at(point.validation) }));
  const names = placed(spots);
  known.forEach((point, k) => {
    const { x, y } = spots[k];
    const group = drawn("g", { class: `point${point.front[axis] ? " front" : ""}` });
    group.append(drawn("title", {}, `${point.name}: ${point.validation_text}% of validation, ${point.texts[axis]} ${costs.axes[axis].title}`));
    group.append(drawn("line", { x1: x, y1: y, x2: names[k][0], y2: names[k][1] }));
    const square = { x: x - 5, y: y - 5, width: 10, height: 10 };
    group.append(
      point.kind === "finetune" ? drawn("rect", square) : drawn("circle", { cx: x, cy: y, r: 5.5 }),
    );
    group.append(drawn("circle", { class: "plate", cx: names[k][0], cy: names[k][1], r: 9 }));
    group.append(text(names[k][0], names[k][1] + 4, String(point.i + 1), "middle"));
    const mark = (on) => () => [group, rows[point.i]].forEach((one) => one.classList.toggle("at", on));
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "img");
    group.setAttribute("aria-label", group.firstChild.textContent);
    for (const one of [group, rows[point.i]]) {
      for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
        one.addEventListener(event, mark(on));
      }
    }
    svg.append(group);
  });
  box.replaceChildren(svg);
}

function costsOf(part, costs) {
  const box = part.querySelector(".scatter");
  if (!box) return;
  const choice = box.closest("details").querySelector("select.axis");
  const again = whenOpen(box, () => {
    const rows = [...box.closest("details").querySelectorAll("table.costs tbody tr")];
    rows.sort((a, b) => a.dataset.point - b.dataset.point);
    drawCosts(box, costs, Number(choice.value), rows);
  });
  choice.addEventListener("change", again);
}
