/* Chapter 3: the divergence of two Gaussians, as an area with a sign and in its two parts. */
movable.register("gaussian-divergence", (figure, maths, data) => {
  const [two, three] = [2, 3].map((digits) => (v) => figure.number(v, digits));
  const shift = figure.slider("shift of the mean <i>μ</i><sub>2</sub> − <i>μ</i><sub>1</sub>", {
    min: -1.5,
    max: 1.5,
    step: 0.05,
    value: data.shift,
    show: two,
  });
  const variance = figure.slider("ratio of the variances <i>v</i><sub>2</sub> / <i>v</i><sub>1</sub>", {
    min: 0.25,
    max: 4,
    step: Math.log10(2) / 10, // so that 1 and its neighbours 1/2 and 2 are among the values
    value: data.variance,
    log: true,
    show: two,
  });
  const ticks = [-4, -2, 0, 2, 4];
  const bells = figure.plot({
    title: "the densities",
    below: "<i>x</i>",
    x: [-4, 4],
    y: [0, 0.84],
    xTicks: ticks,
    wide: 1.2,
  });
  const integrand = figure.plot({
    title: "<i>q</i> log(<i>q</i>/<i>p</i>)",
    below: "<i>x</i>",
    x: [-4, 4],
    y: [-0.4, 0.8],
    xTicks: ticks,
    wide: 1.2,
  });
  const nats = figure.plot({
    title: "divergence in nats",
    below: "<i>v</i><sub>2</sub> / <i>v</i><sub>1</sub>",
    x: [-2.3, 2.3],
    y: [0, 2],
    xTicks: [-2, -1, 0, 1, 2].map((e) => [e, String(2 ** e)]),
  });
  figure.key([
    ["blue", "<i>q</i> = N(0, 1)"],
    ["orange", "<i>p</i>"],
    ["ink", "KL(<i>q</i>‖<i>p</i>)"],
    ["grey filled", "of it for the mean"],
    ["ink dashed", "KL(<i>p</i>‖<i>q</i>)"],
  ]);
  /** The least of some tops that leaves room above a value, so that an axis seldom changes. */
  const room = (tops, value) => tops.find((top) => value < 0.95 * top);

  figure.draw = () => {
    const [m, v] = [shift.value, variance.value];
    const [q, p] = [(x) => maths.normal(x, 0, 1), (x) => maths.normal(x, m, v)];
    bells.curve(q, "blue");
    bells.curve(p, "orange");

    const excess = maths.excess(q, p);
    const top = room([0.5, 1, 2, 4], Math.max(...integrand.graph(excess).map((point) => point[1])));
    Object.assign(integrand, { y: [-0.4, top], yTicks: [0, top / 2, top] });
    integrand.line([[-4, 0], [4, 0]], "grey thin");
    integrand.hill((x) => Math.max(0, excess(x)), "blue");
    integrand.hill((x) => Math.min(0, excess(x)), "orange");
    integrand.curve(excess, "ink");

    const [ofVariance, ofMean] = maths.gaussianKl(0, 1, m, v);
    const back = maths.sum(maths.gaussianKl(m, v, 0, 1));
    nats.y = [0, room([2, 4, 6], Math.max(ofVariance + ofMean, back))];
    nats.yTicks = [0, nats.y[1] / 2, nats.y[1]];
    nats.hill((e) => maths.gaussianKl(0, 1, m, 2 ** e)[1], "grey");
    nats.curve((e) => maths.sum(maths.gaussianKl(m, 2 ** e, 0, 1)), "ink dashed");
    nats.curve((e) => maths.sum(maths.gaussianKl(0, 1, m, 2 ** e)), "ink");
    nats.dots([[Math.log2(v), ofVariance + ofMean]], "orange big");

    const mirrored = maths.gaussianKl(0, 1, m, 1 / v)[0];
    let verdict = `A <i>p</i> that is too ${v < 1 ? "wide" : "narrow"} by the same factor would pay ${three(mirrored)} for its
      variance.`;
    if (Math.abs(Math.log2(v)) < 0.01)
      verdict = "With equal variances it is half the squared shift over the variance, the same in both directions.";
    figure.say(`KL(<i>q</i>‖<i>p</i>) = ${three(ofVariance + ofMean)} nats: ${three(ofMean)} for the mean and
      ${three(ofVariance)} for the variance. KL(<i>p</i>‖<i>q</i>) = ${three(back)}. ${verdict}`);
  };
});
