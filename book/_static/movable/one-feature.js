/* Chapter 6: the Fréchet distance of two bell curves, and what its estimate is on the average. */
movable.register("one-feature", (figure, maths, { shift, spread, n }) => {
  const two = (v) => figure.number(v, 2);
  const mean = figure.slider("shift of the mean", { min: -2, max: 2, step: 0.05, value: shift, show: two });
  const deviation = figure.slider("standard deviation", { min: 0.2, max: 2, step: 0.05, value: spread, show: two });
  const count = figure.slider("pictures a side <i>n</i>", {
    min: 3,
    max: 3000,
    step: 0.01,
    value: n,
    log: true,
    show: (v) => String(Math.round(v)),
  });
  const bells = figure.plot({
    title: "the feature",
    below: "",
    x: [-5, 5],
    y: [0, 1.05],
    xTicks: [-4, -2, 0, 2, 4],
  });
  const estimates = figure.plot({
    title: "mean estimate of the distance",
    below: "pictures a side <i>n</i>",
    x: [Math.log10(3), Math.log10(3000)],
    y: [-3.2, 1],
    xTicks: [10, 100, 1000].map((v) => [Math.log10(v), v]),
    yTicks: [0.001, 0.01, 0.1, 1, 10].map((v) => [Math.log10(v), v]),
    wide: 1.3,
  });
  figure.key([
    ["blue filled", "real, and the estimate for a perfect generator"],
    ["orange", "generated, and its estimate"],
    ["orange dashed", "its true distance"],
  ]);
  const counts = maths.range(31, ...estimates.x).map((v) => Math.round(10 ** v));
  const point = (m, s, k) => [Math.log10(k), Math.log10(maths.meanEstimate(m, s, k))];

  figure.draw = () => {
    const [m, s, k] = [mean.value, deviation.value, Math.round(count.value)];
    const top = maths.normal(0, 0, Math.min(1, s) ** 2);
    bells.hill((x) => maths.normal(x, 0, 1) / top, "blue");
    bells.curve((x) => maths.normal(x, m, s ** 2) / top, "orange");
    const truth = maths.frechet(m, s);
    const level = Math.log10(Math.max(1e-9, truth));
    estimates.line([[estimates.x[0], level], [estimates.x[1], level]], "orange dashed");
    for (const [one, other, style] of [[0, 1, "blue"], [m, s, "orange"]]) {
      estimates.line(counts.map((c) => point(one, other, c)), style);
      estimates.dots([point(one, other, k)], `${style} big`);
    }
    const [found, floor] = [maths.meanEstimate(m, s, k), maths.meanEstimate(0, 1, k)].map((v) => v.toPrecision(2));
    figure.say(`The true distance is ${two(truth)}. From ${k} pictures a side it is estimated as ${found} on the average,
      while a perfect generator scores ${floor}.`);
  };
});
