/* Chapter 8: a score that is a line at three points, and the loss of score matching along its two numbers. */
movable.register("fit-gaussian", (figure, maths, { points, mu, c }) => {
  const [two, three] = [2, 3].map((digits) => (v) => figure.number(v, digits));
  const centre = figure.slider("mean <i>μ</i>", { min: 1.5, max: 4.5, step: 0.1, value: mu, show: two });
  const width = figure.slider("variance <i>c</i>", { min: 2, max: 14, step: 1 / 3, value: c, show: two });
  const lineAt = figure.plot({
    title: "the score <i>s</i>(<i>x</i>) = −(<i>x</i> − <i>μ</i>)/<i>c</i>",
    below: "<i>x</i>",
    x: [-0.5, 7.5],
    y: [-2.6, 2.6],
    xTicks: [0, 2, 4, 6],
    yTicks: [-2, 0, 2],
    wide: 1.4,
  });
  const losses = { y: [-0.15, 0.4], yTicks: [-0.1, 0, 0.1, 0.2, 0.3] };
  const alongMu = figure.plot({
    title: "loss along <i>μ</i>",
    below: "<i>μ</i>",
    x: [1.4, 4.6],
    xTicks: [2, 3, 4],
    ...losses,
  });
  const alongC = figure.plot({
    title: "loss along <i>c</i>",
    below: "<i>c</i>",
    x: [1, 15],
    xTicks: [2, 6, 10, 14],
    ...losses,
  });
  figure.key([
    ["blue", "data 1, 2, 6"],
    ["orange", "<i>s</i>(<i>x</i>), and its loss"],
    ["grey dashed", "the score of least loss"],
    ["grey", "dots: the least loss on each curve"],
  ]);
  const mean = maths.sum(points) / points.length;
  const [least, loss] = [maths.squareAbout(points, mean), (m, v) => maths.sum(maths.scoreMatching(points, m, v))];

  figure.draw = () => {
    const [m, v] = [centre.value, width.value];
    const s = (x) => -(x - m) / v;
    lineAt.line([[-0.5, 0], [7.5, 0]], "grey thin");
    lineAt.curve((x) => -(x - mean) / least, "grey dashed");
    lineAt.lines(points.map((x) => [[x, 0], [x, s(x)]]), "blue thin");
    lineAt.curve(s, "orange");
    lineAt.dots(points.map((x) => [x, 0]), "blue big");

    alongMu.curve((u) => loss(u, v), "orange");
    alongC.curve((u) => loss(m, u), "orange");
    const lowest = maths.squareAbout(points, m);
    alongMu.dots([[mean, loss(mean, v)]], "grey big");
    alongC.dots([[lowest, loss(m, lowest)]], "grey big");
    alongMu.dots([[m, loss(m, v)]], "orange big");
    alongC.dots([[v, loss(m, v)]], "orange big");

    const [square, slope] = maths.scoreMatching(points, m, v);
    figure.say(`The mean of ½<i>s</i>² at the data is ${three(square)}, <i>s</i>′ is ${three(slope)}, and the loss is their
      sum, ${three(square + slope)}. Its least value, ${three(loss(mean, least))}, is at the mean of the data,
      <i>μ</i> = ${two(mean)}, and their variance, <i>c</i> = ${two(least)}.`);
  };
});
