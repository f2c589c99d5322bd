// ---- one part a dataset; its choices of a run are one choice

const parts = [];
for (const part of document.querySelectorAll(".part")) {
  const source = part.querySelector("script.facts");
  const costs = part.querySelector("script.costs");
  if (costs) costsOf(part, JSON.parse(costs.textContent));
  if (!source) continue;
  const facts = JSON.parse(source.textContent);
  const choices = [...part.querySelectorAll("select.run")];
  const run = () => facts.runs[choices[0].value];
  enlargeSix(part, facts);
  const redraw = [confusionOf(part, facts, run), mistakesOf(part, facts, run)];
  const choose = (value) => {
    choices.forEach((one) => (one.value = value));
    redraw.forEach((again) => again());
    part.querySelectorAll(".run-name").forEach((one) => (one.textContent = run().name));
  };
  choices.forEach((one) => one.addEventListener("change", () => choose(one.value)));
  parts.push({ part, facts, choose, chosen: () => choices[0].value, redraw });
}

// ---- paper: what is folded away is opened, and the run is the one whose figure is printed

let folded = [];
let chosen = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => (one.open = true));
  chosen = parts.map((part) => part.chosen());
  parts.forEach((part) => part.choose("0"));
});
window.addEventListener("afterprint", () => {
  folded.forEach((one) => (one.open = false));
  parts.forEach((part, i) => part.choose(chosen[i]));
});
