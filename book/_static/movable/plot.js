/* A plot of the movable figures: axes, and marks that are added anew for each draw. Lines and letters take the colour
   of the page's text; the styles of marks ("blue", "orange", "thin", "faint", "dashed") are classes of movable.css. */
(function () {
  "use strict";

  /** Fill a canvas of width x height pixels with a list of red, green, blue and opacity, each in 0…255. */
  function paint(canvas, width, height, values) {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    image.data.set(values);
    context.putImageData(image, 0, 0);
    return canvas;
  }

  class Plot {
    /** x and y are [from, to]; ticks are numbers or pairs [number, label]; wide is the share of a row. */
    constructor(parent, { title, below = "", x, y, xTicks = [], yTicks = [], height = 170, square = false, wide = 1 }) {
      Object.assign(this, { x, y, xTicks, yTicks, height, square, marks: [] });
      this.box = document.createElement("div");
      this.box.className = square ? "plot square" : "plot";
      this.box.style.setProperty("--wide", wide);
      this.box.innerHTML = `<div class="title">${title}</div>
        <svg aria-hidden="true"><g></g></svg><div class="below">${below}</div>`;
      [this.svg, this.sheet] = ["svg", "g"].map((tag) => this.box.querySelector(tag));
      parent.append(this.box);
    }

    X = (x) => ((x - this.x[0]) / (this.x[1] - this.x[0])) * this.w;
    Y = (y) => (1 - (y - this.y[0]) / (this.y[1] - this.y[0])) * this.h;
    path = (points) => "M" + points.map(([x, y]) => `${this.X(x).toFixed(1)} ${this.Y(y).toFixed(1)}`).join("L");
    add = (kind, style, d) => this.marks.push(`<path class="${kind} ${style}" d="${d}"/>`);

    line = (points, style) => this.add("line", style, this.path(points));
    lines = (many, style) => this.add("line", style, many.map(this.path).join(""));
    area = (points, style) => this.add("area", style, this.path(points) + "Z");
    dots = (points, style) => this.add("dots", style, points.map((p) => this.path([p]) + "h0").join(""));
    text = (x, y, words, anchor = "start") =>
      this.marks.push(`<text x="${this.X(x)}" y="${this.Y(y)}" text-anchor="${anchor}">${words}</text>`);

    /** The graph of f from left to right, as points; as a line; and the area under it. */
    graph(f, n = 300) {
      const [from, to] = this.x;
      return Array.from({ length: n + 1 }, (_, i) => from + ((to - from) * i) / n).map((x) => [x, f(x)]);
    }
    curve = (f, style) => this.line(this.graph(f), style);
    hill = (f, style) => this.area([[this.x[0], 0], ...this.graph(f), [this.x[1], 0]], style);

    /** Bars of equal width that stand on x = at and reach to the right, between y = from and y = to. */
    bars(lengths, at, from, to, style) {
      const side = (to - from) / lengths.length;
      const outline = lengths.flatMap((l, i) => [
        [at + l, from + i * side],
        [at + l, from + (i + 1) * side],
      ]);
      this.area([[at, from], ...outline, [at, to]], style);
    }

    /** Arrows [x, y, dx, dy] whose middles are at (x, y); dx and dy, upwards, are in pixels. */
    arrows(many, style) {
      const one = ([x, y, dx, dy]) => {
        const [a, b, u, v] = [this.X(x) + dx / 2, this.Y(y) - dy / 2, 0.3 * dx, 0.3 * dy];
        const corners = [
          [a - dx, b + dy],
          [a, b],
          [a - u - v / 2, b + v - u / 2],
          [a, b],
          [a - u + v / 2, b + v + u / 2],
        ];
        return "M" + corners.map((corner) => corner.map((c) => c.toFixed(1)).join(" ")).join("L");
      };
      this.add("line", style, many.map(one).join(""));
    }

    /** f(x, y) >= 0 as a cloud, darkest where f is greatest; computed anew only if the key changed. */
    cloud(f, key, n = 64) {
      if (key !== this.key) {
        const at = ([from, to], i) => from + ((to - from) * (i + 0.5)) / n;
        const values = Array.from({ length: n * n }, (_, i) =>
          f(at(this.x, i % n), at(this.y, n - 1 - Math.floor(i / n))),
        );
        const most = Math.max(...values);
        const canvas = paint(
          document.createElement("canvas"),
          n,
          n,
          values.flatMap((v) => [59, 142, 216, (190 * v) / most]),
        );
        Object.assign(this, { key, image: canvas.toDataURL() });
      }
      this.marks.push(`<image href="${this.image}" width="${this.w}" height="${this.h}" preserveAspectRatio="none"/>`);
    }

    /** A round handle at (x, y) that can be dragged: moved(x, y) is called with its new place. */
    handle(place, moved) {
      this.place = place;
      this.grip = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      this.grip.setAttribute("class", "grip");
      this.grip.setAttribute("r", 9);
      this.svg.append(this.grip); // not on the sheet, which is drawn anew: a handle taken away cannot be dragged
      this.grip.onpointerdown = (event) => this.grip.setPointerCapture(event.pointerId);
      this.grip.onpointermove = (event) => {
        if (!this.grip.hasPointerCapture(event.pointerId)) return;
        const box = this.svg.getBoundingClientRect();
        const within = (share, [from, to]) => from + (to - from) * Math.min(1, Math.max(0, share));
        moved(
          within((event.clientX - box.left - this.left) / this.w, this.x),
          within(1 - (event.clientY - box.top - this.top) / this.h, this.y),
        );
      };
    }

    /** The width and height in pixels, from the room there is; before the marks are added. */
    measure() {
      [this.left, this.top] = [this.yTicks.length ? 36 : 9, 6];
      this.w = Math.max(40, this.box.clientWidth - this.left - 9);
      this.h = this.square ? this.w : this.height * (this.box.parentElement.clientWidth < 480 ? 0.75 : 1);
    }

    /** Show axes and marks, and forget the marks. */
    show() {
      const { left, top, w, h } = this;
      const [width, height] = [w + left + 9, h + top + (this.xTicks.length ? 20 : 4)];
      const name = (tick) => (tick.length ? tick : [tick, String(tick).replace("-", "−")]);
      const word = (x, y, anchor, label) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${label}</text>`;
      const xTicks = this.xTicks.map(name).map(([v, label]) => {
        const x = this.X(v);
        return `<path d="M${x} ${h}v4"/>` + word(x, h + 17, x < 8 ? "start" : x > w - 8 ? "end" : "middle", label);
      });
      const yTicks = this.yTicks
        .map(name)
        .map(([v, label]) => `<path d="M0 ${this.Y(v)}h-4"/>` + word(-7, this.Y(v) + 4, "end", label));
      const upper = this.yTicks.length || this.square ? 0 : h;
      const axes = `<path d="M0 ${upper}V${h}H${w}"/>${[...xTicks, ...yTicks].join("")}`;
      Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` }).forEach(([k, v]) =>
        this.svg.setAttribute(k, v),
      );
      this.sheet.innerHTML = `<g class="axes" transform="translate(${left} ${top})">${axes}</g>
        <svg x="${left}" y="${top}" width="${w}" height="${h}">${this.marks.join("")}</svg>`;
      if (this.grip) {
        this.grip.setAttribute("cx", left + this.X(this.place()[0]));
        this.grip.setAttribute("cy", top + this.Y(this.place()[1]));
      }
      this.marks = [];
    }
  }

  Object.assign(globalThis, { MovablePlot: Plot, movablePaint: paint });
})();
