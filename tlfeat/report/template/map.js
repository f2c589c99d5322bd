
// ---- the map: points on a canvas; names and places are unpacked when it is first seen

const SPOT = 18; // pixels around a pointer within which a picture is found
const CELLS = 64; // of the grid across and up, by which it is found
const UNITS = 4096;
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const QUIET = -1; // the sprite of points that say nothing
// Petroff's colours for what an audit finds, from the gravest on.
const FOUND = [2, 6, 4, 1, 0, 9, 5];

function unpack([bits, text]) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (bits === 8) return bytes;
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes[2 * i] + 256 * bytes[2 * i + 1]);
}

function unfold({ shared, rest }) {
  let before = "";
  const lengths = unpack(shared);
  return rest.map((end, i) => (before = before.slice(0, lengths[i]) + end));
}

// What the page knows of each point, as plain columns.
function readPoints(source, facts) {
  const sample = Int32Array.from(unpack(source.sample), (one) => one - 1);
  const names = unfold(source.names);
  const pictured = unpack(source.pictured);
  let next = 0;
  const ids = Array.from(sample, (one) => (one < 0 ? names[next++] : facts.ids[one]));
  const split = source.splits.flatMap(([, n], i) => Array(n).fill(i));
  const places = source.places.map(({ x, y }) => gridOf(unpack(x), unpack(y)));
  const picture = (i) =>
    sample[i] < 0 ? source.pictures[pictured[i] - 1] : facts.pictures[facts.picture[sample[i]]];
  return {
    n: sample.length,
    ids,
    split,
    places,
    picture,
    sample,
    splits: source.splits.map(([name]) => name),
    true: unpack(source.true),
    called: source.called.map((one) => Int32Array.from(unpack(one), (output) => output - 1)),
    found: source.found && unpack(source.found.of),
    words: source.found ? source.found.words : [],
    ranks: source.found ? source.found.ranks : [],
    colours: source.colours,
  };
}

// Points by the cell that they lie in: `order` from starts[cell] to starts[cell + 1].
function gridOf(x, y) {
  const cell = (i) => ((y[i] * CELLS) / UNITS | 0) * CELLS + ((x[i] * CELLS) / UNITS | 0);
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let i = 0; i < x.length; i++) starts[cell(i) + 1]++;
  for (let c = 0; c < CELLS * CELLS; c++) starts[c + 1] += starts[c];
  const next = starts.slice();
  const order = new Uint32Array(x.length);
  for (let i = 0; i < x.length; i++) order[next[cell(i)]++] = i;
  return { x, y, starts, order };
}

// ---- sprites: a point is drawn once for each colour and shape, and blended ten thousand times

const CORNERS = {
  square: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
  diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
  up: [[0, -1.2], [1.15, 0.9], [-1.15, 0.9]],
  down: [[0, 1.2], [1.15, -0.9], [-1.15, -0.9]],
  left: [[-1.2, 0], [0.9, -1.15], [0.9, 1.15]],
  right: [[1.2, 0], [-0.9, -1.15], [-0.9, 1.15]],
  plus: [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]],
  cross: [[-1.2, -0.7], [-0.7, -1.2], [0, -0.5], [0.7, -1.2], [1.2, -0.7], [0.5, 0], [1.2, 0.7], [0.7, 1.2], [0, 0.5], [-0.7, 1.2], [-1.2, 0.7], [-0.5, 0]],
  star: [[0, -1.4], [0.4, -0.45], [1.35, -0.45], [0.6, 0.15], [0.85, 1.1], [0, 0.55], [-0.85, 1.1], [-0.6, 0.15], [-1.35, -0.45], [-0.4, -0.45]],
};
const SHAPES = ["dot", "square", "diamond", "up", "down", "plus", "cross", "star", "left", "right"];

function spriteOf(shape, colour, radius, alpha) {
  const sprite = element("canvas");
  const side = Math.ceil(2 * 1.5 * radius) + 2;
  sprite.width = sprite.height = side;
  const pen = sprite.getContext("2d");
  pen.globalAlpha = alpha;
  pen.fillStyle = colour;
  pen.translate(side / 2, side / 2);
  pen.beginPath();
  if (shape === "dot") pen.arc(0, 0, radius, 0, 2 * Math.PI);
  else CORNERS[shape].forEach(([x, y]) => pen.lineTo(0.9 * radius * x, 0.9 * radius * y));
  pen.fill();
  return sprite;
}

// The pixels of a sprite that are not empty: where they are from its corner, and how dense.
function stampOf(sprite, wide) {
  const side = sprite.width;
  const { data } = sprite.getContext("2d").getImageData(0, 0, side, side);
  const filled = [...Array(side * side).keys()].filter((i) => data[4 * i + 3]);
  const densest = filled.reduce((a, b) => (data[4 * b + 3] > data[4 * a + 3] ? b : a));
  return {
    side,
    offsets: Int32Array.from(filled, (i) => Math.floor(i / side) * wide + (i % side)),
    alphas: Float32Array.from(filled, (i) => data[4 * i + 3] / 255),
    colour: data.slice(4 * densest, 4 * densest + 3),
  };
}

// ---- what colours say: kinds of points, those on top last, and the kind of each point

const kind = (name, colour, shape) => ({ name, colour, shape });
const rightKind = (name) => kind(name, "--sky", "dot");
const wrongKind = (name) => kind(name, "--accent", "cross");

function kindsBy(points, facts, colour, picked, called) {
  const { colours } = points;
  if (picked !== "") {
    const label = Number(picked);
    const name = apart(facts.classes[label]);
    const names = [`other classes`, name, `${name}, called another`, `another, called ${name}`];
    const kinds = [kind(names[0], "--quiet", QUIET), rightKind(names[1])];
    kinds.push(wrongKind(names[2]), kind(names[3], colours[4], "up"));
    const of = (i) => {
      const own = points.true[i] === label;
      if (called[i] < 0) return own ? 1 : 0;
      return own ? (called[i] === label ? 1 : 2) : called[i] === label ? 3 : 0;
    };
    return { kinds, of };
  }
  if (colour === "right") {
    const kinds = [kind("learned from", "--quiet", QUIET), rightKind("right"), wrongKind("wrong")];
    return { kinds, of: (i) => (called[i] < 0 ? 0 : called[i] === points.true[i] ? 1 : 2) };
  }
  if (colour === "split") {
    const kinds = points.splits.map((name, i) => kind(name, colours[[3, 0, 6][i]], SHAPES[i]));
    return { kinds, of: (i) => points.split[i] };
  }
  if (colour === "found") {
    const kinds = points.words.map((word, i) => kind(word, colours[FOUND[points.ranks[i]]], SHAPES[points.ranks[i]]));
    return { kinds: [kind("nothing", "--quiet", QUIET), ...kinds], of: (i) => points.found[i] };
  }
  const kinds = facts.classes.map((name, i) => kind(apart(name), colours[i], SHAPES[i]));
  return { kinds, of: (i) => points.true[i] };
}

// ---- where a class lies, as a word on the map

function middles(points, place, n) {
  const xs = Array.from({ length: n }, () => []);
  const ys = Array.from({ length: n }, () => []);
  points.true.forEach((label, i) => {
    xs[label].push(place.x[i]);
    ys[label].push(place.y[i]);
  });
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return xs.map((values, label) => (values.length ? [middle(values), middle(ys[label])] : null));
}

function shorten(name, longest) {
  const letters = [...name];
  return letters.length <= longest ? name : `${letters.slice(0, longest - 1).join("")}…`;
}

// ---- one map

class PictureMap {
  constructor(section, part) {
    this.section = section;
    this.part = part;
    this.facts = part.facts;
    this.canvas = section.querySelector(".map-box canvas");
    this.pen = this.canvas.getContext("2d");
    this.points = readPoints(JSON.parse(section.querySelector(".map-facts").textContent), part.facts);
    this.at = -1;
    this.asked = 0;
    this.place = this.points.places[0];
    this.view = { x: UNITS / 2, y: UNITS / 2, scale: 1 };
    this.control = (name) => section.querySelector(`.map-${name}`);
    this.listen();
    this.measure();
    this.colour();
  }

  // ---- from units to pixels and back

  measure() {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    [this.wide, this.high] = [clientWidth, clientHeight];
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    this.image = this.pen.createImageData(this.canvas.width || 1, this.canvas.height || 1);
  }

  get step() {
    const edge = 24;
    const { scale } = this.view;
    return [(scale * (this.wide - 2 * edge)) / UNITS, (scale * (this.high - 2 * edge)) / UNITS];
  }

  spot(x, y) {
    const [across, up] = this.step;
    return [this.wide / 2 + (x - this.view.x) * across, this.high / 2 - (y - this.view.y) * up];
  }

  unit(left, top) {
    const [across, up] = this.step;
    return [this.view.x + (left - this.wide / 2) / across, this.view.y - (top - this.high / 2) / up];
  }

  nearest(left, top) {
    const { x, y, starts, order } = this.place;
    const [across, up] = this.step;
    const [ux, uy] = this.unit(left, top);
    const cell = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor((value * CELLS) / UNITS)));
    let best = -1;
    let least = SPOT * SPOT;
    for (let row = cell(uy - SPOT / up); row <= cell(uy + SPOT / up); row++) {
      const from = starts[row * CELLS + cell(ux - SPOT / across)];
      const to = starts[row * CELLS + cell(ux + SPOT / across) + 1];
      for (let at = from; at < to; at++) {
        const i = order[at];
        const dx = (x[i] - ux) * across;
        const dy = (y[i] - uy) * up;
        if (dx * dx + dy * dy < least) [best, least] = [i, dx * dx + dy * dy];
      }
    }
    return best;
  }

  // The next point in a direction; with none chosen yet, the one nearest to the middle.
  towards(dx, dy) {
    const { x, y } = this.place;
    const [across, up] = this.step;
    const start = this.at < 0 ? [this.view.x, this.view.y] : [x[this.at], y[this.at]];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.points.n; i++) {
      const right = (x[i] - start[0]) * across;
      const down = (start[1] - y[i]) * up;
      const along = right * dx + down * dy;
      const aside = Math.abs(right * dy) + Math.abs(down * dx);
      const cost = this.at < 0 ? Math.hypot(right, down) : along + 3 * aside;
      if ((this.at < 0 || along > 0) && cost < least) [best, least] = [i, cost];
    }
    return best;
  }

  // ---- drawing

  style(name) {
    if (name.startsWith("--")) return getComputedStyle(this.canvas).getPropertyValue(name).trim();
    if (!DARK.matches) return name;
    // Colours that are told apart on white: a third of the way to white they are on black.
    const parts = name.match(/[0-9a-f]{2}/g).map((two) => parseInt(two, 16));
    return `rgb(${parts.map((one) => Math.round(one + 0.35 * (255 - one))).join(" ")})`;
  }

  get called() {
    return this.points.called[Number(this.part.chosen())];
  }

  get size() {
    const { n } = this.points;
    const plain = n > 4000 ? 2.2 : n > 1000 ? 3.2 : 4.4;
    return Math.min(plain * Math.sqrt(this.view.scale), 9);
  }

  // Decide what each point is, and sort the points by it, so that what matters lies on top.
  colour() {
    const { points, facts } = this;
    this.picked = this.control("class").value;
    this.by = this.control("colour").value;
    const { kinds, of } = kindsBy(points, facts, this.by, this.picked, this.called);
    const members = kinds.map(() => []);
    for (let i = 0; i < points.n; i++) members[of(i)].push(i);
    this.groups = kinds.map((one, i) => ({ ...one, members: members[i] }));
    this.words = null;
    if (this.by === "class" && this.picked === "") {
      this.words = middles(points, this.place, facts.classes.length);
    }
    this.listKinds();
    this.redraw();
  }

  sprite(group, radius) {
    const quiet = group.shape === QUIET;
    const dense = this.points.n > 3000 ? 0.7 : 0.8;
    const size = quiet ? 0.75 * radius : radius;
    return spriteOf(quiet ? "dot" : group.shape, this.style(group.colour), size, quiet ? 0.45 : dense);
  }

  listKinds() {
    const rows = this.groups.filter(({ members }) => members.length);
    const items = rows.map((group) => {
      const item = element("li");
      const sample = this.sprite(group, 7);
      sample.setAttribute("aria-hidden", "true");
      item.append(sample, element("span", "", `${group.name} (${group.members.length.toLocaleString("en")})`));
      return item;
    });
    this.section.querySelector(".key").replaceChildren(...items);
  }

  redraw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.draw();
    });
  }

  draw() {
    const { pen, image } = this;
    if (!this.wide) return; // on paper, where the figure stands for it
    const paper = stampOf(spriteOf("square", this.style("--paper"), 4, 1), 1).colour;
    new Uint32Array(image.data.buffer).fill(new Uint32Array(Uint8Array.of(...paper, 255).buffer)[0]);
    for (const group of this.groups) {
      if (group.members.length) this.blend(group);
    }
    pen.putImageData(image, 0, 0);
    if (this.words) this.write();
    this.showRing();
  }

  // By hand, as a canvas that no GPU draws takes six times as long for as many copies.
  blend({ members, ...group }) {
    const { image, ratio } = this;
    const { data, width, height } = image;
    const { x, y } = this.place;
    const stamp = stampOf(this.sprite(group, this.size * ratio), width);
    const { side, offsets, alphas } = stamp;
    const [red, green, blue] = stamp.colour;
    const [across, up] = this.step.map((one) => one * ratio);
    const left = (this.wide / 2) * ratio - this.view.x * across - side / 2;
    const top = (this.high / 2) * ratio + this.view.y * up - side / 2;
    for (const i of members) {
      const px = Math.round(left + x[i] * across);
      const py = Math.round(top - y[i] * up);
      if (px < 0 || py < 0 || px + side > width || py + side > height) continue;
      const corner = py * width + px;
      for (let k = 0; k < offsets.length; k++) {
        const at = 4 * (corner + offsets[k]);
        data[at] += (red - data[at]) * alphas[k];
        data[at + 1] += (green - data[at + 1]) * alphas[k];
        data[at + 2] += (blue - data[at + 2]) * alphas[k];
      }
    }
  }

  // Names of classes where they lie, pushed down where one would lie on another.
  write() {
    const { pen } = this;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.font = `600 13px ${getComputedStyle(this.canvas).fontFamily}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = this.style("--paper");
    pen.fillStyle = this.style("--ink");
    const words = this.facts.classes.flatMap((name, label) => {
      if (!this.words[label]) return [];
      const text = shorten(name, 22);
      const [left, top] = this.spot(...this.words[label]);
      return [{ text, left, top, wide: pen.measureText(text).width + 8 }];
    });
    words.sort((a, b) => a.top - b.top);
    words.forEach((word, i) => {
      for (const other of words.slice(0, i)) {
        const beside = Math.abs(word.left - other.left) >= (word.wide + other.wide) / 2;
        if (!beside && word.top - other.top < 18) word.top = other.top + 18;
      }
      pen.strokeText(word.text, word.left, word.top);
      pen.fillText(word.text, word.left, word.top);
    });
  }

  // ---- one picture

  show(i, spoken = false) {
    if (i === this.at && !spoken) return;
    this.at = i;
    this.showRing();
    this.showCard();
    this.section.querySelector(".map-at").textContent = i < 0 ? "" : this.told(i).join("; ");
  }

  told(i) {
    const { points, facts } = this;
    const called = this.called[i];
    const told = [apart(facts.classes[points.true[i]])];
    if (called >= 0) {
      const right = called === points.true[i];
      told.push(right ? "rightly called so" : `called ${apart(facts.outputs[called])}`);
    }
    told.push(points.splits[points.split[i]]);
    if (points.found && points.found[i]) told.push(points.words[points.found[i] - 1]);
    told.push(apart(points.ids[i]));
    return told;
  }

  showRing() {
    const ring = this.control("ring");
    const [left, top] = this.at < 0 ? [-1, -1] : this.spot(this.place.x[this.at], this.place.y[this.at]);
    const inside = left >= 0 && top >= 0 && left <= this.wide && top <= this.high;
    ring.hidden = !inside;
    this.control("card").hidden = !inside;
    if (!inside) return;
    ring.style.left = `${left}px`;
    ring.style.top = `${top}px`;
    this.put(left, top);
  }

  showCard() {
    const box = this.control("card");
    if (this.at < 0) return;
    const { points, facts, at } = this;
    const card = element("div", "card");
    const picture = points.picture(at);
    if (picture) {
      const image = element("img");
      image.src = picture;
      image.alt = points.ids[at];
      card.append(image);
    }
    const said = element("span", "said");
    const label = element("b");
    label.append(element("bdi", "", facts.classes[points.true[at]]));
    said.append(label);
    const called = this.called[at];
    if (called >= 0) {
      const line = element("span", called === points.true[at] ? "quietly" : "wrongly");
      line.append("called ", element("bdi", "", facts.outputs[called]));
      said.append(line);
    }
    const found = points.found && points.found[at] ? `, ${points.words[points.found[at] - 1]}` : "";
    said.append(element("span", "quietly", `${points.splits[points.split[at]]}${found}`));
    card.append(said, element("span", "id", points.ids[at]));
    box.replaceChildren(card);
    this.showRing();
  }

  // Beside the point, and within the map as far as that goes.
  put(left, top) {
    const box = this.control("card");
    const beside = left + 188 > this.wide ? left - 186 : left + 16;
    box.style.left = `${Math.max(4, Math.min(beside, this.wide - 174))}px`;
    box.style.top = `${Math.max(4, Math.min(top - 40, this.high - box.offsetHeight - 4))}px`;
  }

  // ---- moving

  zoom(factor, left = this.wide / 2, top = this.high / 2) {
    const [x, y] = this.unit(left, top);
    this.view.scale = Math.max(1, Math.min(60, this.view.scale * factor));
    const [nx, ny] = this.unit(left, top);
    this.move(x - nx, y - ny);
  }

  move(dx, dy) {
    const inside = (value) => {
      const half = UNITS / 2 / this.view.scale;
      return Math.max(half, Math.min(UNITS - half, value));
    };
    this.view.x = inside(this.view.x + dx);
    this.view.y = inside(this.view.y + dy);
    this.canvas.classList.toggle("moves", this.view.scale > 1);
    this.redraw();
  }

  whole() {
    this.view.scale = 1;
    this.move(0, 0);
  }

  goTo(i) {
    if (i < 0) return;
    const [left, top] = this.spot(this.place.x[i], this.place.y[i]);
    if (left < 0 || top < 0 || left > this.wide || top > this.high) {
      this.move(this.place.x[i] - this.view.x, this.place.y[i] - this.view.y);
    }
    this.show(i);
  }

  press(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    const keys = {
      "+": () => this.zoom(1.4),
      "=": () => this.zoom(1.4),
      "-": () => this.zoom(1 / 1.4),
      0: () => this.whole(),
      Escape: () => this.show(-1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || keys[event.key])) return;
    event.preventDefault();
    if (!step) return void keys[event.key]();
    const far = UNITS / 8 / this.view.scale;
    if (event.shiftKey) this.move(step[0] * far, -step[1] * far);
    else this.goTo(this.towards(...step));
  }

  // ---- pointers: a mouse points and drags; a finger taps, drags what is larger, two pinch

  pointers() {
    const { canvas } = this;
    const down = new Map();
    let moved = 0;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left - canvas.clientLeft, event.clientY - box.top - canvas.clientTop];
    };
    const middle = () => {
      const all = [...down.values()];
      const at = [0, 1].map((k) => all.reduce((sum, one) => sum + one[k], 0) / all.length);
      return { at, wide: Math.hypot(all[0][0] - all.at(-1)[0], all[0][1] - all.at(-1)[1]) };
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      down.set(event.pointerId, place(event));
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = place(event);
      if (!down.has(event.pointerId)) return this.show(this.nearest(...now));
      const before = middle();
      down.set(event.pointerId, now);
      const after = middle();
      if (before.wide && after.wide) this.zoom(after.wide / before.wide, ...after.at);
      const [across, up] = this.step;
      const [dx, dy] = [after.at[0] - before.at[0], after.at[1] - before.at[1]];
      moved += Math.abs(dx) + Math.abs(dy) + Math.abs(after.wide - before.wide);
      if (this.view.scale > 1) this.move(-dx / across, dy / up);
      return undefined;
    });
    const lift = (event) => {
      // A finger leaves the map when it is lifted: what it pointed at stays until the next tap.
      if (event.type === "pointerup" && moved < 6) this.show(this.nearest(...place(event)));
      down.delete(event.pointerId);
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !down.size) this.show(-1);
    });
    document.addEventListener("pointerdown", (event) => {
      if (event.target !== canvas) this.show(-1);
    });
    canvas.addEventListener("wheel", (event) => {
      // Whoever scrolls the page past the map does not want it larger; two fingers on a pad do.
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...place(event));
    }, { passive: false });
  }

  listen() {
    const { canvas } = this;
    this.pointers();
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("blur", () => this.show(-1));
    this.control("in").addEventListener("click", () => this.zoom(1.5));
    this.control("out").addEventListener("click", () => this.zoom(1 / 1.5));
    this.control("all").addEventListener("click", () => this.whole());
    const again = () => this.colour();
    this.control("colour").addEventListener("change", again);
    this.control("class").addEventListener("change", again);
    this.part.redraw.push(again);
    DARK.addEventListener("change", again);
    const places = this.control("places");
    if (places) places.addEventListener("change", () => this.layOut(Number(places.value)));
    new ResizeObserver(() => {
      this.measure();
      this.draw();
    }).observe(canvas);
  }

  layOut(number) {
    this.show(-1);
    this.place = this.points.places[number];
    const said = [...this.section.querySelectorAll(".map-axes")];
    said.forEach((one, i) => (one.hidden = i !== number));
    this.whole();
    this.colour();
  }
}

const maps = [];
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    const part = parts.find((one) => one.part.contains(target));
    maps.push(new PictureMap(target, part));
  }
}, { rootMargin: "300px" });
for (const facts of document.querySelectorAll(".map-facts")) seen.observe(facts.closest(".map"));
