// ---- projection

function follow(figure, facts, run) {
  const points = [...figure.querySelectorAll("circle")];
  const order = points.map((_, i) => i);
  order.sort((a, b) => points[a].cx.baseVal.value - points[b].cx.baseVal.value);
  let at = -1;
  const hide = () => {
    hover.hidden = true;
    if (at >= 0) points[at].classList.remove("at");
    at = -1;
  };
  const show = (i) => {
    if (i === at) return;
    hide();
    at = i;
    const sample = Number(points[i].dataset.sample);
    points[i].classList.add("at");
    const known = sample >= 0;
    hover.replaceChildren(
      known
        ? card(facts, run(), sample, "div")
        : element("div", "card", points[i].getAttribute("aria-label")),
    );
    hover.hidden = false;
    const spot = points[i].getBoundingClientRect();
    const left = spot.right + 12 + 170 > window.innerWidth ? spot.left - 182 : spot.right + 12;
    hover.style.left = `${Math.max(4, left)}px`;
    const top = Math.min(spot.top - 40, window.innerHeight - hover.offsetHeight - 8);
    hover.style.top = `${Math.max(4, top)}px`;
  };
  const nearest = (event) => {
    const matrix = figure.getScreenCTM();
    const x = (event.clientX - matrix.e) / matrix.a;
    const y = (event.clientY - matrix.f) / matrix.d;
    let best = -1;
    let least = 30 * 30;
    points.forEach((point, i) => {
      const dx = point.cx.baseVal.value - x;
      const dy = point.cy.baseVal.value - y;
      if (dx * dx + dy * dy < least) [best, least] = [i, dx * dx + dy * dy];
    });
    if (best >= 0) show(best);
    else hide();
  };
  // The browser's own tooltip would hide the picture; the title stays for readers without script.
  points.forEach((point) => {
    point.setAttribute("aria-label", point.textContent);
    point.replaceChildren();
  });
  figure.addEventListener("pointermove", nearest);
  figure.addEventListener("pointerdown", nearest);
  // A finger leaves the picture when it is lifted: what it pointed at stays until the next tap.
  figure.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  document.addEventListener("pointerdown", (event) => figure.contains(event.target) || hide());
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    const place = at < 0 ? (step > 0 ? -1 : order.length) : order.indexOf(at);
    show(order[(place + step + order.length) % order.length]);
  });
}
