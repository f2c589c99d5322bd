// The page without this is whole: sorting, choices and pictures on demand are what it adds.
// Every text is set with textContent: names of classes and files are never markup.
"use strict";
document.documentElement.classList.add("js");

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A name may be written from right to left: what stands beside it must not turn with it.
const apart = (name) => `\u2068${name}\u2069`;

// Draw what needs to know its room when its section is opened, and again when the room changes.
function whenOpen(inside, draw) {
  const section = inside.closest("details.section");
  let width = -1;
  const again = () => {
    if (section.open && inside.clientWidth !== width) {
      width = inside.clientWidth;
      draw();
    }
  };
  section.addEventListener("toggle", again);
  window.addEventListener("resize", again);
  again();
  return () => {
    width = -1;
    again();
  };
}

// ---- a link opens the section that it leads to

function openTarget() {
  let target = null;
  try {
    target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return; // no name of anything
  }
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();
