// On a phone the letters of a plot grow until they are as large as wanted, or two of them would touch, or one would leave
// the screen or the drawn box that holds it: first all by one factor, then the numbers and names of the axes, other
// words and the legend each by themselves.
"use strict";

const LETTERS = 10.5; // px
const KINDS = ["axis", "words", "legend"];
const MOST_COVERED = 0.15; // of a panel by a legend within it, which may hide data
const FACTORS = [1.5, 1.4, 1.3, 1.25, 1.2, 1.15, 1.1, 1.05, 1];
const GAP = 2; // px between two parts, unless they are closer anyway
const overlap = (a, b) =>
  Math.min(a.right - b.left, b.right - a.left, a.bottom - b.top, b.bottom - a.top); // negative: how far apart
const holds = (a, b) => a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom;
const boxOf = (element) => element.getBoundingClientRect();
const lettersOf = (element) => [...element.querySelectorAll('g[transform*="scale(0."]')];

const TICK = "g:has(> g[transform])";
/** The point that stays where it is while a part of a plot grows: numbers and name of an axis keep to their axis, and
    what stands below all axes makes room for them. */
function heldAt(part, box, plot, lowest) {
  const share = (low, high, from, size) => (low + high - 2 * from) / (2 * size);
  const across = share(box.left, box.right, plot.left, plot.width);
  const down = share(box.top, box.bottom, plot.top, plot.height);
  const side = (low, high, where) => (where < 0.4 ? low : where > 0.6 ? high : (low + high) / 2);
  if (box.top > lowest) return [(box.left + box.right) / 2, lowest];
  if (part.matches(".l")) return [side(box.left, box.right, across), side(box.top, box.bottom, down)];
  const center = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  const axis = part.closest(".a");
  const ticks = axis ? [...axis.querySelectorAll(`:is(.x, .y) ${TICK}`)].map(boxOf) : [];
  if (!ticks.length) return center;
  if (axis.querySelector(".x")) return [center[0], Math.min(...ticks.map((tick) => tick.top))];
  const left = Math.min(...ticks.map((tick) => tick.left)), right = Math.max(...ticks.map((tick) => tick.right));
  return [across > 0.9 ? left : right, center[1]];
}

function grown({ left, right, top, bottom }, [x, y], factor) {
  const [l, r] = [left, right].map((edge) => x + factor * (edge - x));
  const [t, b] = [top, bottom].map((edge) => y + factor * (edge - y));
  return { left: l, right: r, top: t, bottom: b };
}

/** The parts of a plot that grow, each with its box, the point that stays, and its factor. */
function growth(plot) {
  const frame = boxOf(plot), letters = lettersOf(plot);
  const sizes = letters.map((text) => 100 * text.getAttribute("transform").match(/scale\(([\d.]+)/)[1]);
  const wanted = LETTERS / (Math.min(...sizes) * frame.width / plot.viewBox.baseVal.width);
  const outlines = plot.matches(".drawing") ? [...plot.querySelectorAll("path")].map(boxOf) : [];
  const page = { left: 2, right: innerWidth - 2, top: frame.top - 4, bottom: Infinity };
  const tops = [...plot.querySelectorAll(`.x ${TICK}`)].map((tick) => boxOf(tick).top);
  const lowest = tops.length ? Math.max(...tops) : Infinity;
  const parts = [...new Set(letters.map((text) => text.closest(".l") ?? text.parentElement))].map((part) => {
    const box = boxOf(part), kind = part.matches(".l") ? "legend" : part.closest(".a") ? "axis" : "words";
    const around = outlines.filter((outline) => outline.width < frame.width / 2 && holds(outline, box));
    const panel = part.matches("g:has(> .a) > .l") ? boxOf(part.parentElement) : null;
    const most = panel ? Math.sqrt((MOST_COVERED * panel.width * panel.height) / (box.width * box.height)) : Infinity;
    return { part, box, kind, point: heldAt(part, box, frame, lowest), around: [page, ...around], most: Math.max(1, most) };
  });
  const fits = (factors) => {
    const boxes = parts.map(({ box, point, kind }) => grown(box, point, factors[kind]));
    return boxes.every((box, i) => factors[parts[i].kind] <= parts[i].most && parts[i].around.every((outer) => holds(outer, box))
      && boxes.every((other, j) =>
        j >= i || overlap(box, other) <= Math.max(-GAP, overlap(parts[i].box, parts[j].box)) + 0.1));
  };
  let factors = Object.fromEntries(KINDS.map((kind) => [kind, 1]));
  for (const kinds of [KINDS, ...KINDS.map((kind) => [kind])]) {
    const tries = FACTORS.filter((factor) => factor < wanted + 0.05).map((factor) => ({ ...factors, ...Object.fromEntries(kinds.map((kind) => [kind, factor])) }));
    factors = tries.find(fits) ?? factors;
  }
  return parts.map((part) => ({ ...part, factor: factors[part.kind] }));
}

const phone = matchMedia("(max-width: 576px)");
function enlarge(plots) {
  for (const part of plots.flatMap((plot) => [...plot.querySelectorAll(".grown")])) part.classList.remove("grown");
  if (!phone.matches) return;
  const shown = plots.filter((plot) => boxOf(plot).width && lettersOf(plot).length && !plot.closest(".movable"));
  const parts = shown.map((plot) => ({ plot, below: boxOf(plot).bottom, grows: growth(plot) }));
  for (const { plot, below, grows } of parts) {
    const bottoms = grows.map(({ box, point, factor }) => grown(box, point, factor).bottom);
    plot.style.marginBottom = `${Math.max(0, ...bottoms.map((bottom) => bottom - below))}px`;
  }
  for (const { part, box, point, factor } of parts.flatMap(({ grows }) => grows)) {
    part.classList.add("grown");
    part.style.setProperty("--held", `${100 * (point[0] - box.left) / box.width}% ${100 * (point[1] - box.top) / box.height}%`);
    part.style.setProperty("--factor", factor);
  }
}
