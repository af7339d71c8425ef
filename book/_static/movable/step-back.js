/* Chapter 2: prior times likelihood is the true step back; how nearly it is Gaussian depends on its size. */
movable.register("step-back", (figure, maths, data) => {
  const beta = figure.slider("size of the step <i>β</i>", {
    min: 0.003,
    max: 0.9,
    step: 0.01,
    value: 0.5,
    log: true,
    show: (b) => b.toPrecision(2),
  });
  const state = figure.slider("the noised value <i>x</i><sub>t</sub>", {
    min: -2,
    max: 2,
    step: 0.05,
    value: 0.35,
    show: (x) => figure.number(x, 2),
  });
  const ticks = [-2, -1, 0, 1, 2];
  const before = "<i>x</i><sub>t−1</sub>";
  const bayes = figure.plot({
    title: "prior × likelihood",
    below: before,
    x: [-2.5, 2.5],
    y: [0, 1.12],
    xTicks: ticks,
    wide: 1.4,
  });
  const zoom = figure.plot({ title: "the step back, near by", below: before, x: [-1, 1], y: [0, 1.3], wide: 1.2 });
  const distance = figure.plot({
    title: "divergence in nats",
    below: "<i>β</i>",
    x: [-2.6, 0],
    y: [-10, 0.5],
    xTicks: [
      [-2, "0.01"],
      [-1, "0.1"],
      [0, "1"],
    ],
    yTicks: [
      [-9, "10⁻⁹"],
      [-6, "10⁻⁶"],
      [-3, "10⁻³"],
      [0, "1"],
    ],
  });
  figure.key([
    ["grey filled", "prior <i>q</i>(<i>x</i><sub>t−1</sub>)"],
    ["blue", "likelihood <i>q</i>(<i>x</i><sub>t</sub> | <i>x</i><sub>t−1</sub>)"],
    ["orange filled", "true step back <i>q</i>(<i>x</i><sub>t−1</sub> | <i>x</i><sub>t</sub>)"],
    ["ink dashed", "Gaussian of the same mean and variance"],
  ]);

  /** The step back, the Gaussian beside it, and its divergence from it. */
  function stepBack(b, x) {
    const kernel = maths.reverseKernel(data, 1 - b, 1, x);
    const gaussian = maths.bestGaussian(kernel);
    const spread = Math.sqrt(gaussian.variances[0]);
    const grid = maths.range(401, gaussian.means[0] - 9 * spread, gaussian.means[0] + 9 * spread);
    const [p, q] = [kernel, gaussian].map((m) => (u) => maths.density(m, u));
    return { p, q, centre: gaussian.means[0], spread, kl: maths.divergence(p, q, grid) };
  }
  const highest = (plot, f) => Math.max(...plot.graph(f).map((point) => point[1]));

  figure.draw = () => {
    const [b, x] = [beta.value, state.value];
    const { p, q, centre, spread, kl } = stepBack(b, x);
    const likelihood = (u) => maths.normal(x, Math.sqrt(1 - b) * u, b);
    const prior = (u) => maths.density(data, u);
    for (const [f, style] of [
      [prior, "grey"],
      [p, "orange"],
    ]) {
      const top = highest(bayes, f);
      bayes.hill((u) => f(u) / top, style);
      bayes.curve((u) => f(u) / top, style);
    }
    const top = maths.normal(0, 0, b);
    bayes.curve((u) => likelihood(u) / top, "blue");

    zoom.x = [centre - 3.5 * spread, centre + 3.5 * spread];
    zoom.xTicks = [-2, 0, 2].map((k) => centre + k * spread).map((u) => [u, figure.number(u, 2)]);
    const scale = Math.max(highest(zoom, p), highest(zoom, q)) / 1.15;
    zoom.hill((u) => p(u) / scale, "orange");
    zoom.curve((u) => p(u) / scale, "orange");
    zoom.curve((u) => q(u) / scale, "ink dashed");

    const sizes = maths.range(45, -2.52, -0.046);
    distance.line(
      sizes.map((s) => [s, Math.log10(Math.max(1e-14, stepBack(10 ** s, x).kl))]),
      "grey",
    );
    distance.dots([[Math.log10(b), Math.log10(Math.max(1e-14, kl))]], "orange big");
    let verdict = "The step back is not Gaussian.";
    if (kl < 0.02) verdict = "The step back is nearly Gaussian.";
    if (kl < 1e-4) verdict = "The eye cannot tell the two apart.";
    figure.say(`A step with <i>β</i> = ${b.toPrecision(2)}, seen from <i>x</i><sub>t</sub> = ${figure.number(x, 2)}:
      its standard deviation is ${spread.toPrecision(2)}, and its divergence from the Gaussian is
      ${kl.toPrecision(1)} nats. ${verdict}`);
  };
});
