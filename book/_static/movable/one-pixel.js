/* Chapter 4: a pixel of two colours under noise, the best answer for the noise and the best straight line. */
movable.register("one-pixel", (figure, maths, data, alphaBar) => {
  const T = alphaBar.length - 1;
  const time = figure.slider("timestep <i>t</i>", { min: 1, max: T, step: 1, value: 150, show: (t) => `${t} of ${T}` });
  const ticks = [-2, -1, 0, 1, 2];
  const seen = figure.plot({
    title: "what is seen",
    below: "<i>x</i><sub>t</sub>",
    x: [-2.6, 2.6],
    y: [0, 1.1],
    xTicks: ticks,
  });
  const answer = figure.plot({
    title: "the answer for the noise",
    below: "<i>x</i><sub>t</sub>",
    x: [-2.6, 2.6],
    y: [-3, 3],
    xTicks: ticks,
    yTicks: ticks,
  });
  const loss = figure.plot({
    title: "mean squared error",
    below: "<i>t</i>",
    x: [0, T],
    y: [0, 1.02],
    xTicks: [
      [0, "0"],
      [T / 2, T / 2],
      [T, T],
    ],
    yTicks: [0, 0.5, 1],
  });
  figure.key([
    ["grey filled", "density of <i>x</i><sub>t</sub>"],
    ["blue", "best answer"],
    ["orange", "best straight line"],
  ]);

  const times = maths.range(101, 0, T).map((t) => Math.max(1, t));
  const [best, line] = [maths.noiseLoss, maths.lineLoss].map((f) => times.map((t) => [t, f(data, alphaBar[t])]));

  figure.draw = () => {
    const [t, a] = [time.value, alphaBar[time.value]];
    const law = maths.diffused(data, a);
    const density = (x) => maths.density(law, x);
    const top = Math.max(...seen.graph(density).map((point) => point[1]), density(law.means[1]));
    seen.hill((x) => density(x) / top, "grey");
    answer.curve((x) => (Math.sqrt(1 - a) * x) / (a * maths.variance(data) + 1 - a), "orange");
    answer.curve(maths.epsModel(data, a), "blue");
    loss.line(line, "orange");
    loss.line(best, "blue");
    const [least, straight] = [maths.noiseLoss(data, a), maths.lineLoss(data, a)];
    loss.dots([[t, straight]], "orange big");
    loss.dots([[t, least]], "blue big");
    const apart = (law.means[1] - law.means[0]) / Math.sqrt(1 - a);
    figure.say(`At <i>t</i> = ${t} the two colours lie ${figure.number(apart, apart < 10 ? 1 : 0)} standard deviations of the
      noise apart. The best answer has the mean squared error ${figure.number(Math.max(0, least), 3)}, the best straight
      line ${figure.number(straight, 3)}.`);
  };
});
