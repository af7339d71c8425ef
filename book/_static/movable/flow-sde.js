/* Chapter 12: the probability flow and the reverse SDE carry the same starts to the same law, along other paths. */
movable.register("flow-sde", (figure, maths, data, alphaBar) => {
  const [POINTS, SHOWN, STRIDE, T] = [500, 16, 5, alphaBar.length - 1];
  const start = figure.slider("one start <i>x</i><sub>T</sub>", {
    min: -2.4,
    max: 2.4,
    step: 0.02,
    value: 0.6,
    show: (x) => figure.number(x, 2),
  });
  const eta = figure.slider("noise of the SDE <i>η</i>", {
    min: 0,
    max: 1.5,
    step: 0.05,
    value: 1,
    show: (e) => e.toFixed(2),
  });
  let seed = 5;
  figure.button("Other noise", () => (seed += 1));
  const options = {
    below: "<i>t</i>",
    x: [0, 1.34],
    y: [-3, 3],
    xTicks: [
      [0, T],
      [0.5, T / 2],
      [1, "0"],
    ],
    yTicks: [-2, -1, 0, 1, 2],
    height: 230,
  };
  const left = figure.plot({ title: "probability flow", ...options });
  const right = figure.plot({ title: "reverse SDE", ...options });
  figure.key([
    ["grey", `paths from ${SHOWN} starts`],
    ["orange", "paths from the one start"],
    ["blue filled", `ends of ${POINTS} starts`],
    ["ink", "the data's density"],
  ]);

  const times = maths.range(T / STRIDE + 1, T, 0);
  const starts = Array.from({ length: POINTS }, maths.normals(11));

  /** All states of all points, a list for each time, by short steps with noise eta. */
  function walk(xs, noise, z) {
    const states = [xs];
    for (let i = 1; i < times.length; i++) {
      const [aT, aS] = [alphaBar[times[i - 1]], alphaBar[times[i]]];
      const q = maths.diffused(data, aT);
      states.push(states[i - 1].map((x) => maths.flowStep(x, maths.score(q, x), aT, aS, noise, noise && z())));
    }
    return states;
  }
  const paths = (states, n) => Array.from({ length: n }, (_, j) => states.map((xs, i) => [1 - times[i] / T, xs[j]]));

  function show(plot, all, one) {
    // at most five of the paths from the one start
    plot.lines(paths(all, SHOWN), "grey faint");
    plot.lines(paths(one, Math.min(5, one[0].length)), "orange thin");
    plot.bars(
      maths.histogram(all[all.length - 1], -3, 3, 60).map((h) => 0.2 * h),
      1.02,
      -3,
      3,
      "blue",
    );
    plot.line(
      maths.range(241, -3, 3).map((x) => [1.02 + 0.2 * maths.density(data, x), x]),
      "ink thin",
    );
  }

  const flow = walk(starts, 0);
  let [sde, made] = [null, ""];
  figure.draw = () => {
    const wanted = [eta.value, seed].join();
    if (wanted !== made) sde = walk(starts, eta.value, maths.normals(seed));
    made = wanted;
    const single = walk([start.value], 0);
    const many = walk(Array(200).fill(start.value), eta.value, maths.normals(seed + 1000));
    show(left, flow, single);
    show(right, sde, many);
    const share = (states) =>
      `${((100 * states[states.length - 1].filter((x) => x > 0).length) / states[0].length).toFixed(0)}%`;
    const [from, end] = [start.value, single[single.length - 1][0]].map((x) => figure.number(x, 2));
    figure.say(`From <i>x</i><sub>T</sub> = ${from} the flow has one end, ${end}; of 200 paths with
      <i>η</i> = ${eta.value.toFixed(2)}, ${share(many)} end above 0. Over all starts it is ${share(flow)} with the flow
      and ${share(sde)} with the SDE; the data have ${(100 * data.weights[1]).toFixed(0)}%.`);
  };
});
