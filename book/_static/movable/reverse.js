/* Chapter 5: points on the line go back from noise to data, by DDPM and by DDIM, with the exact noise predictor. */
movable.register("reverse", (figure, maths, data, alphaBar) => {
  const [POINTS, SHOWN, T] = [800, 24, alphaBar.length - 1];
  const COUNTS = [2, 3, 5, 10, 20, 50, 100, 200];
  const count = figure.slider("number of steps", { min: 0, max: 7, step: 1, value: 4, show: (i) => String(COUNTS[i]) });
  const eta = figure.slider("<i>η</i> of DDIM", { min: 0, max: 1, step: 0.05, value: 0, show: (e) => e.toFixed(2) });
  const place = figure.slider("place on the way back", {
    min: 0,
    max: 1,
    step: 0.005,
    value: 1,
    show: (share) => `t = ${moment(share).t}`,
  });
  const silent = figure.tick("DDPM without its noise");
  const options = {
    below: "<i>t</i>",
    x: [0, 1.36],
    y: [-3, 3],
    xTicks: [
      [0, T],
      [0.5, T / 2],
      [1, "0"],
    ],
    yTicks: [-2, -1, 0, 1, 2],
    height: 230,
  };
  const left = figure.plot({ title: "DDPM", ...options });
  const right = figure.plot({ title: "DDIM", ...options });
  figure.key([
    ["grey", `paths of ${SHOWN} points`],
    ["blue filled", `all ${POINTS} points at <i>t</i>`],
    ["ink", "their exact density"],
  ]);

  const normal = maths.normals(7);
  const starts = Array.from({ length: POINTS }, normal);
  let [run, made] = [null, ""];

  /** The timesteps of a run, and where in them a share of the way back is. */
  function moment(share) {
    const taus = maths.timesteps(T, COUNTS[count.value]);
    const k = Math.round(share * (taus.length - 1));
    return { taus, k, t: taus[k] };
  }

  /** All states of all points: a list for each timestep. */
  function walk(taus, step) {
    const z = maths.normals(8);
    const states = [starts];
    for (let i = 1; i < taus.length; i++) {
      const [aT, aS] = [alphaBar[taus[i - 1]], alphaBar[taus[i]]];
      const eps = maths.epsModel(data, aT);
      states.push(states[i - 1].map((x) => step(x, eps(x), aT, aS, z())));
    }
    return states;
  }

  function show(plot, states, { taus, k, t }) {
    const paths = starts.slice(0, SHOWN).map((_, j) => states.slice(0, k + 1).map((xs, i) => [1 - taus[i] / T, xs[j]]));
    plot.lines(
      paths.filter((path) => path.length > 1),
      "grey faint",
    );
    plot.dots(
      paths.map((path) => path[k]),
      "blue",
    );
    const at = 1 - t / T;
    const q = maths.diffused(data, alphaBar[t]);
    plot.bars(
      maths.histogram(states[k], -3, 3, 60).map((h) => 0.2 * h),
      at + 0.02,
      -3,
      3,
      "blue",
    );
    plot.line(
      maths.range(241, -3, 3).map((x) => [at + 0.02 + 0.2 * maths.density(q, x), x]),
      "ink thin",
    );
  }

  figure.draw = () => {
    const here = moment(place.value);
    place.value = place.value; // its words depend on the number of steps
    const wanted = [count.value, eta.value, silent.checked].join();
    if (wanted !== made) {
      const quiet = silent.checked ? 0 : 1;
      run = [
        walk(here.taus, (x, eps, aT, aS, z) => maths.ddpmStep(x, eps, aT, aS, quiet * z)),
        walk(here.taus, (x, eps, aT, aS, z) => maths.ddimStep(x, eps, aT, aS, eta.value, z)),
      ];
      made = wanted;
    }
    show(left, run[0], here);
    show(right, run[1], here);
    const q = maths.diffused(data, alphaBar[here.t]);
    const spread = (xs) =>
      Math.sqrt(maths.sum(xs.map((x) => x * x)) / POINTS - (maths.sum(xs) / POINTS) ** 2).toFixed(2);
    const [one, other] = run.map((states) => spread(states[here.k]));
    const same = eta.value === 1 && !silent.checked ? " With <i>η</i> = 1 the two are the same." : "";
    figure.say(`${here.taus.length - 1} steps, at <i>t</i> = ${here.t}: the standard deviation of DDPM's points
      ${silent.checked ? "without noise " : ""}is ${one}, that of DDIM's with <i>η</i> = ${eta.value.toFixed(2)}
      is ${other}; exact is ${Math.sqrt(maths.variance(q)).toFixed(2)}.${same}`);
  };
});
