// On a phone the letters of a plot grow until they are as large as wanted, or two parts would touch, one would leave the
// screen or what it stands in, or a legend would hide data: first all by one factor, then the numbers and the names of the
// axes, other words and the legend each by themselves.
"use strict";

const LETTERS = 10.5; // px
const GAP = 3; // px between two parts, unless they are closer anyway
const MARGIN = 6; // px to the edges of the screen
const FACTORS = [1.5, 1.4, 1.3, 1.25, 1.2, 1.15, 1.1, 1.05, 1];
const KINDS = ["number", "name", "words", "legend"];
const TICK = "g:has(> g[transform])";
const overlap = (a, b) =>
  Math.min(a.right - b.left, b.right - a.left, a.bottom - b.top, b.bottom - a.top); // negative: how far apart
const holds = (a, b) => a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom;
const inside = ({ left, right, top, bottom }) => ({ left: left + 3, right: right - 3, top: top + 1, bottom: bottom - 1 });
const boxOf = (element) => element.getBoundingClientRect();
const boxesOf = (element, selector) => [...element.querySelectorAll(selector)].map(boxOf);
const lettersOf = (element) => [...element.querySelectorAll('g[transform*="scale(0."]')];
const kindOf = (part) =>
  part.matches(".l") ? "legend" : part.closest(".x, .y") ? "number" : part.closest(".a") ? "name" : "words";

/** The point that stays where it is while a part of a plot grows: numbers and the name of an axis keep to their axis, what
    stands within a panel to its near side, and what stands below all axes makes room for them. */
function heldAt(part, box, frame, panels, lowest) {
  const side = (low, high, from, size) => {
    const share = (low + high - 2 * from) / (2 * size);
    return share < 0.35 ? low : share > 0.65 ? high : (low + high) / 2;
  };
  const center = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  if (box.top > lowest) return [center[0], lowest];
  if (part.matches(".l"))
    return [side(box.left, box.right, frame.left, frame.width), side(box.top, box.bottom, frame.top, frame.height)];
  const axis = part.closest(".a"), panel = panels.find((some) => holds(some, box));
  const ticks = axis ? boxesOf(axis, `:is(.x, .y) ${TICK}`) : [];
  if (!ticks.length) return panel ? [side(box.left, box.right, panel.left, panel.width), center[1]] : center;
  const near = boxOf(axis.parentElement.querySelector("path"));
  const ends = (low, high) => [Math.min(...ticks.map((tick) => tick[low])), Math.max(...ticks.map((tick) => tick[high]))];
  const [left, right] = ends("left", "right"), [top, bottom] = ends("top", "bottom");
  if (axis.querySelector(".x")) return [center[0], top < near.top ? bottom : top];
  return [left > near.left ? left : right, center[1]];
}

function grown({ left, right, top, bottom }, [x, y], factor) {
  const [l, r] = [left, right].map((edge) => x + factor * (edge - x));
  const [t, b] = [top, bottom].map((edge) => y + factor * (edge - y));
  return { left: l, right: r, top: t, bottom: b };
}

/** Points along the curves and the marks of a panel. */
function dataOf(panel) {
  const groups = [...panel.children].slice(1).filter((group) => !group.matches(".a, .l"));
  const curves = groups.flatMap((group) => [...group.querySelectorAll("path:not(defs *)")]).flatMap((path) => {
    const matrix = path.getScreenCTM(), step = path.getTotalLength() / 40;
    return Array.from({ length: 41 }, (_, i) => path.getPointAtLength(i * step).matrixTransform(matrix));
  });
  const marks = groups.flatMap((group) => boxesOf(group, "use")).map((box) => ({ x: box.left, y: box.top }));
  return [...curves, ...marks].map(({ x, y }) => ({ left: x, right: x, top: y, bottom: y }));
}

/** The parts of a plot that grow, each with its box, the point that stays, and its factor. */
function growth(plot) {
  const frame = boxOf(plot), letters = lettersOf(plot), panels = boxesOf(plot, "g:has(> .a) > g:first-child > path");
  const sizes = letters.map((text) => 100 * text.getAttribute("transform").match(/scale\(([\d.]+)/)[1]);
  const wanted = LETTERS / (Math.min(...sizes) * frame.width / plot.viewBox.baseVal.width);
  const tops = boxesOf(plot, `.x ${TICK}`).map((tick) => tick.top), end = Math.max(...panels.map((panel) => panel.bottom));
  const lowest = tops.length && Math.max(...tops) > end - 3 ? Math.max(...tops) : Infinity;
  const filled = (shape) => shape.matches("image") || getComputedStyle(shape).fill !== "none";
  const shapes = plot.matches(".drawing") ? [...plot.querySelectorAll("path, image")].filter(filled).map(boxOf) : [];
  const page = (box) => ({
    left: Math.min(MARGIN, box.left), right: Math.max(innerWidth - MARGIN, box.right),
    top: Math.min(frame.top - 4, box.top), bottom: Infinity,
  });
  const parts = [...new Set(letters.map((text) => text.closest(".l") ?? text.parentElement))].map((part) => {
    const box = boxOf(part), kind = kindOf(part), data = part.matches("g:has(> .a) > .l") ? dataOf(part.parentElement) : [];
    const around = shapes.filter((shape) => shape.width < frame.width / 2 && holds(shape, box)).map(inside);
    if (kind === "words") around.push(...panels.filter((some) => holds(some, box)));
    const beside = [...shapes, ...data, ...(kind === "name" ? panels : [])].filter((shape) => overlap(shape, box) < 0);
    const point = heldAt(part, box, frame, panels, lowest);
    return { part, box, kind, point, around: [page(box), ...around], beside };
  });
  const fits = (factors) => {
    const boxes = parts.map(({ box, point, kind }) => grown(box, point, factors[kind]));
    return parts.every((part, i) =>
      part.around.every((outer) => holds(outer, boxes[i]))
      && part.beside.every((shape) => overlap(shape, boxes[i]) < 0)
      && parts.every((other, j) =>
        j >= i || overlap(boxes[i], boxes[j]) <= Math.max(-GAP, overlap(part.box, other.box)) + 0.1));
  };
  const tries = FACTORS.filter((factor) => factor < wanted + 0.05);
  let factors = {};
  for (const kinds of [KINDS, ...KINDS.map((kind) => [kind])]) {
    const changed = (factor) => ({ ...factors, ...Object.fromEntries(kinds.map((kind) => [kind, factor])) });
    factors = tries.map(changed).find(fits) ?? (kinds === KINDS ? changed(1) : factors);
  }
  return parts.map((part) => ({ ...part, factor: factors[part.kind] }));
}

const phone = matchMedia("(max-width: 576px)");
function enlarge(plots) {
  for (const part of plots.flatMap((plot) => [...plot.querySelectorAll(".grown")])) part.classList.remove("grown");
  if (!phone.matches) return;
  const shown = plots.filter((plot) => boxOf(plot).width && lettersOf(plot).length && !plot.closest(".movable"));
  const found = shown.map((plot) => ({ plot, end: boxOf(plot).bottom, parts: growth(plot) }));
  for (const { plot, end, parts } of found) {
    const bottoms = parts.map(({ box, point, factor }) => grown(box, point, factor).bottom);
    plot.style.marginBottom = `${Math.max(0, ...bottoms.map((bottom) => bottom - end))}px`;
  }
  for (const { part, box, point, factor } of found.flatMap(({ parts }) => parts)) {
    const [x, y] = [(point[0] - box.left) / box.width, (point[1] - box.top) / box.height];
    part.classList.add("grown");
    part.style.setProperty("--held", `${100 * x}% ${100 * y}%`);
    part.style.setProperty("--factor", factor);
  }
}
