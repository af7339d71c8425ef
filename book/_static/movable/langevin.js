/* Chapters 10 and 11: Langevin dynamics in the plane, plain or annealed, and the chains' share in the light mode. */
movable.register("langevin", (figure, maths, data) => {
  const CHAINS = 400;
  const LEVELS = maths.levels(20, 1, 12); // of the annealing; 25 steps at each
  const light = data.weights[0] < data.weights[1] ? 0 : 1;
  const size = figure.slider("step size <i>α</i>", {
    min: 0.02,
    max: 8,
    step: 0.02,
    value: 0.1,
    log: true,
    show: (a) => a.toPrecision(2),
  });
  const annealed = figure.tick("annealing, <i>σ</i> 20 → 1", restart);
  figure.play(() => step());
  figure.button("50 steps", () => {
    for (let i = 0; i < 50; i++) step();
  });
  figure.button("Restart", restart);
  const ticks = [-10, -5, 0, 5, 10];
  const plane = figure.plot({
    title: `${CHAINS} chains`,
    x: [-12, 12],
    y: [-12, 12],
    xTicks: ticks,
    yTicks: ticks,
    square: true,
  });
  const shares = figure.plot({
    title: "share in the light mode",
    below: "steps",
    x: [0, 300],
    y: [0, 1],
    yTicks: [
      [0, "0"],
      [0.5, "50%"],
      [1, "100%"],
    ],
    height: 240,
    wide: 1.2,
  });
  figure.key([
    ["blue filled", "density"],
    ["orange", "chains, and their share"],
    ["ink dashed", "true share"],
  ]);

  let normal, chains, history;
  function restart() {
    normal = maths.normals(3);
    const uniform = maths.uniforms(4);
    chains = Array.from({ length: CHAINS }, () => [16 * uniform() - 8, 16 * uniform() - 8]);
    history = [[0, share()]];
  }
  restart();

  /** The share of the chains that are nearer to the light mode. */
  function share() {
    const distance = ([x, y], k) => Math.hypot(x - data.means[k][0], y - data.means[k][1]);
    return chains.filter((chain) => distance(chain, light) < distance(chain, 1 - light)).length / CHAINS;
  }
  /** The level of annealing at a step; 0 without. */
  function level(i) {
    return annealed.checked ? LEVELS[Math.min(LEVELS.length - 1, Math.floor(i / 25))] : 0;
  }
  function step() {
    if (history.length > 3000) return;
    const sigma = level(history.length - 1);
    const alpha = size.value * (annealed.checked ? (sigma / LEVELS[LEVELS.length - 1]) ** 2 : 1);
    chains = chains.map(([x, y]) => {
      const s = maths.score2(data, x, y, sigma);
      return [maths.langevinStep(x, s[0], alpha, normal()), maths.langevinStep(y, s[1], alpha, normal())];
    });
    history.push([history.length, share()]);
  }

  figure.draw = () => {
    const done = history.length - 1;
    const sigma = level(Math.max(0, done - 1));
    plane.cloud((x, y) => maths.density2(data, x, y, sigma), sigma);
    const inside = chains.filter(([x, y]) => Math.abs(x) < 12 && Math.abs(y) < 12);
    plane.dots(inside, "orange");
    shares.x = [0, Math.max(300, done)];
    shares.xTicks = shares.x;
    const truth = data.weights[light];
    shares.line(
      [
        [0, truth],
        [shares.x[1], truth],
      ],
      "ink dashed",
    );
    shares.line(history, "orange");
    const percent = (v) => `${(100 * v).toFixed(0)}%`;
    const lost = CHAINS - inside.length > CHAINS / 10 ? ` ${CHAINS - inside.length} chains are out of sight.` : "";
    const now = annealed.checked ? `, now at <i>σ</i> = ${sigma.toFixed(1)}` : "";
    const walked = done ? `${done} steps of size ${size.value.toPrecision(2)}${now}` : "At the start, evenly spread";
    figure.say(`${walked}: ${percent(history[done][1])} of the chains are on the light mode's side;
      its true share is ${percent(truth)}.${lost}`);
  };
});
