// ---- pictures

const dialog = document.querySelector("dialog.shown");

function sureness(run, sample) {
  const sure = run.sure[sample];
  return run.probability ? `${Math.round(100 * sure)}%` : `margin ${sure.toFixed(2)}`;
}

function saidOf(facts, run, sample) {
  const said = element("span", "said");
  const true_ = element("b");
  true_.append(element("bdi", "", facts.classes[facts.true[sample]]));
  said.append(true_);
  const right = run.predicted[sample] === facts.true[sample];
  const called = element("span", right ? "" : "wrongly");
  called.append("called ", element("bdi", "", facts.outputs[run.predicted[sample]]), " ");
  called.append(element("i", "", sureness(run, sample)));
  said.append(called);
  return said;
}

function card(facts, run, sample) {
  const made = element("li", "card");
  const picture = facts.pictures[facts.picture[sample]];
  if (picture) {
    const image = element("img");
    image.src = picture;
    image.alt = facts.ids[sample];
    const open = element("button", "enlarge");
    open.type = "button";
    open.title = "Look closer";
    open.append(image);
    open.addEventListener("click", () => enlarge(facts, sample));
    made.append(open);
  } else {
    made.append(element("span", "none", "no picture"));
  }
  const id = element("span", "id", facts.ids[sample]);
  id.title = facts.ids[sample];
  made.append(saidOf(facts, run, sample), id);
  return made;
}

// The six of the first screen stand there without script; with it they open like the others.
function enlargeSix(part, facts) {
  const samples = new Map(facts.ids.map((id, i) => [id, i]));
  for (const made of part.querySelectorAll(".six .card")) {
    const sample = samples.get(made.querySelector(".id").textContent);
    const image = made.querySelector("img");
    if (sample === undefined || !image) continue;
    const open = element("button", "enlarge");
    open.type = "button";
    open.title = "Look closer";
    image.replaceWith(open);
    open.append(image);
    open.addEventListener("click", () => enlarge(facts, sample));
  }
}

function cards(facts, run, samples) {
  const list = element("ul", "cards");
  list.append(...samples.map((sample) => card(facts, run, sample)));
  return list;
}

function showDialog(title, ...inside) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector(".shown-pictures").replaceChildren(...inside);
  if (!dialog.open) dialog.showModal();
}

// One picture as large as the page has it, and what every run calls it.
function enlarge(facts, sample) {
  const place = facts.picture[sample];
  const figure = element("figure", "large");
  const image = element("img");
  image.src = facts.large[place] || facts.pictures[place];
  image.alt = facts.ids[sample];
  figure.append(image);
  // A name with a backslash is that of a file whose own name cannot be printed.
  if (facts.files !== null && !facts.ids[sample].includes("\\")) {
    const path = facts.ids[sample].split("/").map(encodeURIComponent).join("/");
    const link = element("a", "", "The file itself");
    link.href = `${facts.files}/${path}`;
    link.target = "_blank";
    const caption = element("figcaption");
    caption.append(link, ", where this page stands beside the pictures.");
    figure.append(caption);
  }
  const list = element("ul", "calls");
  facts.runs.forEach((run) => {
    const line = element("li");
    line.append(element("b", "", run.name), ": ", saidOf(facts, run, sample).lastChild);
    list.append(line);
  });
  showDialog(`${apart(facts.classes[facts.true[sample]])}: ${apart(facts.ids[sample])}`, figure, list);
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
