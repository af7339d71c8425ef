// Small things that a style sheet cannot do: animations that stop, boxes that say that they scroll, a theme before the first click.
"use strict";

const still = matchMedia("(prefers-reduced-motion: reduce)");

function addButton(animation) {
  const button = document.createElement("button");
  button.type = "button";
  let playing = !still.matches;
  const show = () => {
    animation.classList.toggle("playing", playing);
    animation.classList.toggle("paused", !playing);
    button.textContent = playing ? "Pause" : "Play";
  };
  button.addEventListener("click", () => {
    playing = !playing;
    show();
  });
  show();
  animation.append(button);
}

// in a line of text, a hidden copy for screen readers lies beside the formula and is not measured
const widthOf = (box) =>
  box.matches("mjx-container:not([display])") ? box.firstElementChild.getBoundingClientRect().width : box.scrollWidth;
const sizes = new Map(); // of the letters of displayed formulas, as MathJax set them

// a displayed formula that is a little too wide gets smaller letters, down to three quarters
function fitFormulas() {
  const formulas = [...document.querySelectorAll(".bd-article mjx-container[display='true']")];
  for (const box of formulas) {
    if (!sizes.has(box)) sizes.set(box, box.style.fontSize);
    box.style.fontSize = sizes.get(box);
  }
  const shares = formulas.map((box) => (box.clientWidth - 4) / widthOf(box));
  formulas.forEach((box, i) => {
    if (shares[i] >= 0.75 && shares[i] < 1)
      box.style.fontSize = `calc(${sizes.get(box) || "100%"} * ${shares[i].toFixed(3)})`;
  });
}

// a mark after a formula stays on its line
function joinMarks() {
  document.querySelectorAll(".bd-article span.math").forEach((formula) => {
    const next = formula.nextSibling;
    const [marks] = (next instanceof Text && next.data.match(/^[,.;:!?)]+/)) || [];
    if (!marks) return;
    const joined = document.createElement("span");
    joined.className = "joined";
    formula.before(joined);
    joined.append(formula, marks);
    next.data = next.data.slice(marks.length);
  });
}

// a box that scrolls can be reached by keyboard and shows a shadow at the hidden side
function markWide() {
  fitFormulas();
  const boxes = [
    ...document.querySelectorAll(
      ".bd-article :is(mjx-container, pre, .pst-scrollable-table-container)",
    ),
  ];
  const wide = boxes.map((box) => widthOf(box) > box.clientWidth + 1);
  boxes.forEach((box, i) => {
    box.classList.toggle("wide", wide[i]);
    if (wide[i]) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
}

// printed sentences are wrapped where they are wider than a screen; printed columns scroll
function wrapSentences() {
  for (const box of document.querySelectorAll(".bd-article .cell_output pre"))
    box.classList.toggle("sentences", !/\S {2,}\S/.test(box.textContent));
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".animation").forEach(addButton);
  // a fold and the search button are named by the words in them
  for (const named of document.querySelectorAll(
    "details.hide > summary[aria-label], .search-button-field[aria-label]",
  ))
    named.removeAttribute("aria-label");
  joinMarks();
  wrapSentences();
  markWide();
});
addEventListener("load", () => {
  window.MathJax?.startup?.promise?.then(markWide);
  markWide();
});
addEventListener("resize", markWide);
document.fonts.addEventListener("loadingdone", markWide); // the letters of the formulas
