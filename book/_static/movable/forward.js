/* Chapter 1: a sprite, the density of a two-valued pixel and the signal-to-noise ratio at timestep t. */
movable.register("forward", (figure, maths, data, alphaBar) => {
  const T = alphaBar.length - 1;
  const sprite = Array.from(atob(data.sprite), (c) => c.charCodeAt(0) / 127.5 - 1);
  let seed = 1;
  const draw = () => sprite.map(maths.normals(seed));
  let noise = draw();

  const time = figure.slider("timestep <i>t</i>", { min: 0, max: T, step: 1, value: 100, show: (t) => `${t} of ${T}` });
  figure.button("Other noise", () => {
    seed += 1;
    noise = draw();
  });
  const picture = document.createElement("div");
  picture.className = "picture";
  picture.innerHTML = `<div class="title">a sprite, <b>x</b><sub>t</sub></div><canvas aria-hidden="true"></canvas>`;
  figure.panels.append(picture);
  const density = figure.plot({
    title: "density of a pixel, <i>x</i><sub>t</sub>",
    below: "value of the pixel",
    x: [-3, 3],
    y: [0, 1.25],
    xTicks: [-2, -1, 0, 1, 2],
    wide: 1.6,
  });
  const ratio = figure.plot({
    title: "signal-to-noise ratio",
    below: "<i>t</i>",
    x: [0, T],
    y: [-5, 4.5],
    xTicks: [
      [0, "0"],
      [T / 2, T / 2],
      [T, T],
    ],
    yTicks: [
      [-4, "10⁻⁴"],
      [-2, "0.01"],
      [0, "1"],
      [2, "100"],
      [4, "10⁴"],
    ],
  });
  const snr = alphaBar.map((a, t) => [t, Math.log10(maths.snr(a))]).slice(1);

  figure.draw = () => {
    const a = alphaBar[time.value];
    const values = maths.oneShot(sprite, noise, a).map((x) => 127.5 * (x + 1));
    const colours = Array.from({ length: 256 }, (_, i) => [...values.slice(3 * i, 3 * i + 3), 255]);
    movablePaint(picture.querySelector("canvas"), 16, 16, colours.flat());

    const q = maths.diffused(data.pixel, a);
    const end = { weights: [1], means: [0], variances: [1] };
    density.curve((x) => maths.density(end, x), "grey dashed");
    if (a < 1) {
      density.hill((x) => maths.density(q, x), "blue");
      density.curve((x) => maths.density(q, x), "blue");
    } else
      density.lines(
        data.pixel.means.map((m) => [
          [m, 0],
          [m, 2],
        ]),
        "blue",
      );
    ratio.line(snr, "grey");
    if (a < 1) ratio.dots([snr[time.value - 1]], "blue big");
    figure.say(words(a, q));
  };

  function words(a, q) {
    if (a === 1) return "<i>t</i> = 0: the clean picture. The pixel is −1 or 1, and nothing else.";
    const peaks = density.graph((x) => maths.density(q, x)).map((p) => p[1]);
    const bumps = peaks.filter((p, i) => p > (peaks[i - 1] ?? p) && p >= (peaks[i + 1] ?? p)).length;
    const apart = maths.density(q, 0) < 0.05;
    const shape =
      bumps < 2
        ? "The two values have run into one bump"
        : apart
          ? "The two values are still apart"
          : "The two values overlap";
    const close = maths.snr(a) < 0.01 ? ", which is nearly the standard normal bell (dashed)." : ".";
    const [signal, spread, ratio] = [Math.sqrt(a), Math.sqrt(1 - a), maths.snr(a)].map((v) => Number(v.toPrecision(2)));
    return `<i>t</i> = ${time.value}: ${signal} times the picture plus ${spread} times the noise,
      a signal-to-noise ratio of ${ratio}.
      ${shape}${close}`;
  }
  figure.key([
    ["blue", "density at <i>t</i>"],
    ["grey dashed", "standard normal"],
  ]);
});
