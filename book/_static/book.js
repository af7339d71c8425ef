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

// beside a formula lies a hidden copy for screen readers, and what hangs out on the left is no width that scrolls
const widthOf = (box) =>
  box.matches("mjx-container") ? box.firstElementChild.getBoundingClientRect().width : box.scrollWidth;
// a mark after a formula stays on its line, and a bracket before it
function joinMarks() {
  document.querySelectorAll(".bd-article span.math").forEach((formula) => {
    const next = formula.nextSibling;
    const before = formula.previousSibling;
    const [marks] = (next instanceof Text && next.data.match(/^[,.;:!?)]+/)) || [""];
    const [bracket] = (before instanceof Text && before.data.match(/[([]+$/)) || [""];
    if (!marks && !bracket) return;
    const joined = document.createElement("span");
    joined.className = "joined";
    formula.before(joined);
    joined.append(bracket, formula, marks);
    if (bracket) before.data = before.data.slice(0, -bracket.length);
    if (marks) next.data = next.data.slice(marks.length);
  });
}

const sizes = new Map(); // of the letters of formulas that were made smaller, as MathJax set them

// A box that scrolls can be reached by keyboard and shows a shadow at the hidden side; a formula that is a little too wide
// gets smaller letters instead, down to two thirds. All is measured before anything is changed: after a change the
// browser lays out the whole page before it measures again.
function mark(boxes) {
  for (const box of boxes) {
    if (sizes.has(box)) box.style.fontSize = sizes.get(box);
    sizes.delete(box);
  }
  const measured = boxes.map((box) => [box, widthOf(box), box.clientWidth]);
  for (const [box, width, room] of measured) {
    const share = (room - 4) / width, over = width > room + 1;
    const fitted = over && share >= 0.64 && box.matches("mjx-container");
    if (fitted) {
      sizes.set(box, box.style.fontSize);
      box.style.fontSize = `calc(${sizes.get(box) || "100%"} * ${share.toFixed(3)})`;
    }
    const wide = over && !fitted;
    box.classList.toggle("wide", wide);
    if (wide) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// What is on the screen is set and marked first, the rest a few blocks at a time while the browser has nothing else to do:
// until then it is not laid out (book.css). Who prints needs all of it at once.
const html = document.documentElement;
const BLOCKS = ".bd-article section:not(.admonition *) > :not(section)";
const BOXES = ":is(mjx-container, pre, .pst-scrollable-table-container)";
const PLOTS = ":is(svg.plot, svg.drawing)";
const within = (block, selector) => [...(block.matches(selector) ? [block] : []), ...block.querySelectorAll(selector)];
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
let rest = [];

function setFormulas(formulas) {
  if (formulas.length) window.MathJax?.typeset(formulas);
}

function finish(blocks) {
  setFormulas(blocks.flatMap((block) => within(block, ".math")));
  blocks.forEach((block) => { block.style.contentVisibility = "visible"; });
  mark(blocks.flatMap((block) => within(block, BOXES)));
  enlarge(blocks.flatMap((block) => within(block, PLOTS)));
}

function finishAll() {
  setFormulas(rest.splice(0).flatMap((block) => within(block, ".math")));
  html.classList.add("whole");
  mark([...document.querySelectorAll(`.bd-article ${BOXES}`)]);
  enlarge([...document.querySelectorAll(`.bd-article ${PLOTS}`)]);
}

/** The blocks of the rest that are on the screen, or less than half a screen away. */
function takeNear() {
  const near = Map.groupBy(rest, (block) => {
    const { top, bottom } = block.getBoundingClientRect();
    return top < 1.5 * innerHeight && bottom > -0.5 * innerHeight;
  });
  rest = near.get(false) ?? [];
  return near.get(true) ?? [];
}

function finishInTurn() {
  const near = takeNear();
  finish(near.length ? near : rest.splice(0, 4));
  if (rest.length) idle(finishInTurn, { timeout: 200 });
  else document.fonts.ready.then(() => {
    const over = (box) => !sizes.has(box) && !box.matches(".wide") && widthOf(box) > box.clientWidth + 1;
    mark([...document.querySelectorAll(`.bd-article ${BOXES}`)].filter(over)); // what has become wider since
    html.classList.add("whole");
    setTimeout(letGo, 1000);
  });
}

function begin() {
  rest = [...document.querySelectorAll(BLOCKS)];
  setFormulas([...document.querySelectorAll(".math")].filter((formula) => !formula.closest(BLOCKS)));
  finish(takeNear());
  idle(finishInTurn);
}

// the place that an address or a link names stays on the screen while what is above it grows, until the reader moves on
function named(address) {
  try {
    return document.getElementById(decodeURIComponent(address.slice(1)));
  } catch {
    return null; // a percent sign that stands for nothing
  }
}
let held;
const letGo = () => held?.disconnect();
function hold(address) {
  const place = named(address);
  if (!place || html.matches(".whole")) return;
  letGo();
  held = new ResizeObserver(() => place.scrollIntoView({ behavior: "instant" }));
  held.observe(document.body);
}
for (const move of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(move, letGo);
addEventListener("click", ({ target }) => {
  const link = target.closest("a[href^='#']");
  if (link) hold(link.hash);
});
addEventListener("beforeprint", finishAll);

// printed sentences are wrapped where they are wider than a screen, also between printed columns, which scroll
function wrapSentences() {
  const columns = /\S {2,}\S/;
  for (const box of document.querySelectorAll(".bd-article .cell_output pre")) {
    const lines = box.textContent.split("\n");
    box.classList.toggle("sentences", !lines.some((line) => columns.test(line)));
    if (box.matches(".sentences") || box.querySelector("span:not(:empty)")) continue;
    const parts = lines.map((line) => {
      if (line.length < 50 || columns.test(line)) return line;
      const sentence = document.createElement("span");
      sentence.className = "sentences";
      sentence.textContent = line;
      return sentence;
    });
    box.replaceChildren(...parts.flatMap((part) => [part, "\n"]).slice(0, -1));
  }
}

// the letters come before the formulas, which would else be laid out again for each kind of letters that arrives
if (window.MathJax)
  MathJax.startup = {
    async pageReady() {
      document.head.append(MathJax.chtmlStylesheet());
      const usual = [...document.fonts].filter((font) => /^MJX(ZERO|TEX(-B?I?|-MI|-S\d|-A|-C)?)$/.test(font.family));
      await Promise.allSettled(usual.map((font) => font.load()));
      begin();
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
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") hold(location.hash);
  if (!window.MathJax) begin();
});
addEventListener("load", () => {
  let waiting;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(finishAll);
  });
});
