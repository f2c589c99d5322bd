// ---- mistakes: which pictures are shown is a choice of run, kind and class

const SHOWN_AT_ONCE = window.innerWidth < 600 ? 18 : 48;

const KINDS = {
  surest: (run, other, facts, i) => run.predicted[i] !== facts.true[i],
  unsure: (run, other, facts, i) => run.predicted[i] === facts.true[i],
  everywhere: (run, other, facts, i) => facts.everywhere.has(i), // of all runs, shown or not
  lost: (run, other, facts, i) =>
    run.predicted[i] !== facts.true[i] && other.predicted[i] === facts.true[i],
  won: (run, other, facts, i) =>
    run.predicted[i] === facts.true[i] && other.predicted[i] !== facts.true[i],
  apart: (run, other, facts, i) => run.predicted[i] !== other.predicted[i],
};

function mistakesOf(part, facts, run) {
  const box = part.querySelector(".browser");
  const [kind, other, true_, called] = ["kind", "other", "true", "called"].map((name) =>
    box.querySelector(`select.${name}`),
  );
  const more = box.querySelector(".more");
  facts.everywhere = new Set(facts.everywhere);
  const name = (names) => names.map((text, i) => new Option(text, i));
  true_.append(...name(facts.classes));
  called.append(...name(facts.outputs));
  if (other && facts.runs.length > 1) other.value = "1";
  let shown = SHOWN_AT_ONCE;
  let samples = [];

  const choose = () => {
    const [one, against] = [run(), facts.runs[other ? other.value : 0]];
    samples = facts.ids.map((_, i) => i).filter((i) => KINDS[kind.value](one, against, facts, i));
    if (true_.value) samples = samples.filter((i) => facts.true[i] === Number(true_.value));
    if (called.value) samples = samples.filter((i) => one.predicted[i] === Number(called.value));
    const sign = kind.value === "unsure" ? 1 : -1;
    samples.sort((a, b) => sign * (one.sure[a] - one.sure[b]));
  };
  const draw = () => {
    const known = facts.known ? "" : `, of the ${facts.ids.length} that this page knows one by one`;
    const left = samples.length > shown ? `; ${shown} are shown` : "";
    const pictures = samples.length === 1 ? "picture" : "pictures";
    box.querySelector(".count").textContent = `${samples.length} ${pictures}${known}${left}.`;
    box.querySelector(".pictures").replaceChildren(cards(facts, run(), samples.slice(0, shown)));
    box.querySelector(".copied").textContent = "";
    more.hidden = samples.length <= shown;
    box.querySelector(".copy").disabled = !samples.length;
    const compared = ["lost", "won", "apart"].includes(kind.value);
    box.querySelector(".against").hidden = !compared;
  };
  const again = () => {
    shown = SHOWN_AT_ONCE;
    choose();
    draw();
  };
  [kind, other, true_, called].forEach((one) => one && one.addEventListener("change", again));
  more.addEventListener("click", () => {
    const before = box.querySelectorAll(".pictures .enlarge").length;
    shown += SHOWN_AT_ONCE;
    draw();
    const next = box.querySelectorAll(".pictures .enlarge")[before];
    if (next) next.focus();
  });
  box.querySelector(".copy").addEventListener("click", () => copyNames(box, facts, run(), samples));
  again();
  return again;
}

// As a table with tabs: what a spreadsheet takes, and what relabelling needs.
function copyNames(box, facts, run, samples) {
  const clean = (text) => text.replace(/[\t\r\n]/g, " ");
  const lines = samples.map((i) =>
    [facts.ids[i], facts.classes[facts.true[i]], facts.outputs[run.predicted[i]], run.sure[i]]
      .map((value) => clean(String(value)))
      .join("\t"),
  );
  const text = ["picture\ttrue\tcalled\tsure", ...lines].join("\n") + "\n";
  const done = () =>
    (box.querySelector(".copied").textContent = `${samples.length} names are copied.`);
  const byHand = () => {
    const area = element("textarea", "names");
    area.value = text;
    area.readOnly = true;
    area.setAttribute("aria-label", "Names to copy");
    showDialog("Copy these", area);
    area.select();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand);
  else byHand();
}
