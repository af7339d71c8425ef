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

const sizes = new Map(); // of the letters of formulas that were made smaller, as MathJax set them

// A box that scrolls can be reached by keyboard and shows a shadow at the hidden side; a displayed formula that is a
// little too wide gets smaller letters instead, down to three quarters. All is measured before anything is changed:
// after a change the browser lays out the whole page before it measures again.
function mark(boxes) {
  for (const box of boxes) {
    if (sizes.has(box)) box.style.fontSize = sizes.get(box);
    sizes.delete(box);
  }
  const measured = boxes.map((box) => [box, widthOf(box), box.clientWidth]);
  for (const [box, width, room] of measured) {
    const share = (room - 4) / width;
    const fitted = box.matches("mjx-container[display]") && share >= 0.75 && share < 1;
    if (fitted) {
      sizes.set(box, box.style.fontSize);
      box.style.fontSize = `calc(${sizes.get(box) || "100%"} * ${share.toFixed(3)})`;
    }
    const wide = !fitted && width > room + 1;
    box.classList.toggle("wide", wide);
    if (wide) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// What is on the screen is marked first, the rest a few blocks at a time while the browser has nothing else to do: until
// then it is not laid out (book.css). Who prints, or follows a link into the page, needs all of it at once.
const html = document.documentElement;
const BLOCKS = ".bd-article section:not(.admonition *) > :not(section)";
const BOXES = ":is(mjx-container, pre, .pst-scrollable-table-container)";
const boxesIn = (block) => [...(block.matches(BOXES) ? [block] : []), ...block.querySelectorAll(BOXES)];
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));

function markAll() {
  html.classList.add("whole");
  mark(boxesIn(document.querySelector(".bd-article") ?? document.body));
}

function markInTurn() {
  const onScreen = (block) => {
    const { top, bottom } = block.getBoundingClientRect();
    return top < innerHeight && bottom > 0;
  };
  const blocks = Map.groupBy(document.querySelectorAll(BLOCKS), onScreen);
  mark((blocks.get(true) ?? []).flatMap(boxesIn));
  const rest = blocks.get(false) ?? [];
  idle(function more() {
    if (html.matches(".whole")) return;
    if (!rest.length) return html.classList.add("whole");
    const next = rest.splice(0, 8);
    next.forEach((block) => { block.style.contentVisibility = "visible"; });
    mark(next.flatMap(boxesIn));
    idle(more);
  });
}

if (location.hash) html.classList.add("whole");
addEventListener("beforeprint", markAll);
document.addEventListener("click", ({ target }) => {
  if (!html.matches(".whole") && target.closest("a[href^='#']")) markAll();
});

// printed sentences are wrapped where they are wider than a screen; printed columns scroll
function wrapSentences() {
  for (const box of document.querySelectorAll(".bd-article .cell_output pre"))
    box.classList.toggle("sentences", !/\S {2,}\S/.test(box.textContent));
}

// the letters come before the formulas, which would else be laid out again for each kind of letters that arrives
if (window.MathJax)
  MathJax.startup = {
    async pageReady() {
      document.head.append(MathJax.chtmlStylesheet());
      const usual = [...document.fonts].filter((font) => /^MJX(ZERO|TEX(-B?I?|-MI|-S\d|-A|-C)?)$/.test(font.family));
      await Promise.allSettled(usual.map((font) => font.load()));
      return MathJax.startup.defaultPageReady();
    },
  };

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".animation").forEach(addButton);
  // a fold and the search button are named by the words in them
  for (const named of document.querySelectorAll(
    "details.hide > summary[aria-label], .search-button-field[aria-label]",
  ))
    named.removeAttribute("aria-label");
  joinMarks();
  wrapSentences();
});
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  document.body.getBoundingClientRect(); // the layout in which the letters of the formulas are asked for
  await document.fonts.ready;
  if (html.matches(".whole")) markAll();
  else markInTurn();
  let waiting;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(markAll);
  });
});
