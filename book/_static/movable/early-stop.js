/* Chapter 7: a poor proposal and the data, both noised to T': their overlap, and what an exact way back makes of it. */
movable.register("early-stop", (figure, maths, { truth, proposal }, alphaBar) => {
  const T = alphaBar.length - 1;
  const stop = figure.slider("stop at <i>T</i>′", { min: 0, max: T, step: 5, value: 100, show: (t) => `${t} of ${T}` });
  const ticks = [-2, -1, 0, 1, 2];
  const clean = figure.plot({
    title: "at <i>t</i> = 0",
    below: "<i>x</i><sub>0</sub>",
    x: [-2.4, 2.4],
    y: [0, 1.5],
    xTicks: ticks,
    wide: 1.3,
  });
  const noised = figure.plot({
    title: "noised to <i>T</i>′",
    below: "<i>x</i><sub>T′</sub>",
    x: [-2.4, 2.4],
    y: [0, 1.5],
    xTicks: ticks,
    wide: 1.3,
  });
  const shared = figure.plot({
    title: "overlap, 1 − TV",
    below: "<i>T</i>′",
    x: [0, T],
    y: [0.5, 1.02],
    xTicks: [
      [0, "0"],
      [T / 2, T / 2],
      [T, T],
    ],
    yTicks: [
      [0.5, "50%"],
      [0.75, "75%"],
      [1, "100%"],
    ],
  });
  figure.key([
    ["grey filled", "data"],
    ["orange", "proposal"],
    ["blue", "after the way back"],
  ]);

  const grid = maths.range(301, -5, 5);
  const law = (m, t) => (x) => maths.density(maths.diffused(m, alphaBar[t]), x);
  const overlap = (t) => maths.overlap(law(truth, t), law(proposal, t), grid);
  const curve = maths.range(51, 0, T).map((t) => [t, overlap(t)]);

  /** The law of the result on a grid: the exact steps back from all noised proposals. */
  function returned(t) {
    const [xs, ys] = [maths.range(121, -5, 5), maths.range(161, -2.4, 2.4)];
    if (t === 0) return ys.map((y) => [y, law(proposal, 0)(y)]);
    const kernels = xs.map((x) => [
      law(proposal, t)(x) * (xs[1] - xs[0]),
      maths.reverseKernel(truth, alphaBar[t], 1, x),
    ]);
    return ys.map((y) => [y, maths.sum(kernels.map(([mass, kernel]) => mass * maths.density(kernel, y)))]);
  }

  figure.draw = () => {
    const t = stop.value;
    clean.hill(law(truth, 0), "grey");
    clean.curve(law(proposal, 0), "orange thin");
    const result = returned(t);
    clean.line(result, "blue");
    noised.hill(law(truth, t), "grey");
    noised.curve(law(proposal, t), "orange");
    shared.line(curve, "grey");
    shared.dots([[t, overlap(t)]], "orange big");
    const same = maths.sum(result.map(([y, p]) => Math.min(p, law(truth, 0)(y)))) * (result[1][0] - result[0][0]);
    const percent = (v) => `${(100 * v).toFixed(v > 0.995 ? 1 : 0)}%`;
    figure.say(`<i>T</i>′ = ${t}, ${percent(t / T)} of the steps: noised, proposal and data share ${percent(overlap(t))}
      of their mass. After an exact way back from there the result shares ${percent(same)} with the data;
      the proposal shares ${percent(overlap(0))}.`);
  };
});
