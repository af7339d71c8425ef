/* Chapter 9: density and score of a mixture in the plane after noise of level sigma; one mode can be dragged. */
movable.register("score-field", (figure, maths, data) => {
  const coordinate = (v) => figure.number(v, 1);
  const [light] = data.weights[0] < data.weights[1] ? [0] : [1];
  const sigma = figure.slider("noise level <i>σ</i>", {
    min: 0,
    max: 10,
    step: 0.1,
    value: 1,
    show: (s) => s.toFixed(1),
  });
  const [mx, my] = ["across", "up"].map((way, i) =>
    figure.slider(`light mode, ${way}`, { min: -9, max: 9, step: 0.2, value: data.means[light][i], show: coordinate }),
  );
  const ticks = [-10, -5, 0, 5, 10];
  const plot = figure.plot({
    title: "density and score",
    x: [-12, 12],
    y: [-12, 12],
    xTicks: ticks,
    yTicks: ticks,
    square: true,
  });
  const line = figure.plot({
    title: "density on the line through the modes",
    below: "from the heavy mode (0) to the light one (1)",
    x: [-0.6, 1.6],
    y: [0, 1.1],
    xTicks: [
      [0, "0"],
      [0.5, "½"],
      [1, "1"],
    ],
    height: 240,
    wide: 1.2,
  });
  plot.handle(
    () => [mx.value, my.value],
    (x, y) => {
      [mx.value, my.value] = [x, y];
      figure.redraw();
    },
  );
  figure.key([
    ["blue filled", "density <i>p</i><sub>σ</sub>"],
    ["ink", "score, length squeezed"],
    ["orange", "light mode"],
  ]);

  figure.draw = () => {
    const s = sigma.value;
    const m = { ...data, means: data.means.map((mean, k) => (k === light ? [mx.value, my.value] : mean)) };
    const p = (x, y) => maths.density2(m, x, y, s);
    plot.cloud(p, [s, mx.value, my.value].join());
    const n = plot.w < 280 ? 11 : 15;
    const places = maths.range(n, -11.2, 11.2);
    const cell = (0.95 * plot.w) / n;
    const arrows = places.flatMap((x) =>
      places.map((y) => {
        const [u, v] = maths.score2(m, x, y, s);
        const size = Math.hypot(u, v);
        const squeezed = (cell * Math.sqrt(size / (size + 1))) / (size || 1);
        return [x, y, u * squeezed, v * squeezed];
      }),
    );
    plot.arrows(arrows, "ink thin");

    const [a, b] = [m.means[1 - light], m.means[light]];
    const along = line.graph((r) => p(a[0] + r * (b[0] - a[0]), a[1] + r * (b[1] - a[1])));
    const most = Math.max(...along.map((point) => point[1]));
    const scaled = along.map(([r, f]) => [r, f / most]);
    line.area([[-0.6, 0], ...scaled, [1.6, 0]], "blue");
    line.line(scaled, "blue");
    const peaks = scaled.filter(([, f], i) => i && f > scaled[i - 1][1] && f >= (scaled[i + 1]?.[1] ?? 2)).length;
    const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
    figure.say(`At <i>σ</i> = ${s.toFixed(1)} the modes are ${distance.toFixed(1)} apart, and the density has
      ${peaks > 1 ? "two peaks: the arrows part at a border between them." : "one peak: all arrows lead there."}`);
  };
});
