/* The mathematics of the movable figures: pure functions, the same in the browser (movableMaths) and in
   Node (module.exports). tests/test_movable.py compares them with the package.

   A mixture on the line is { weights, means, variances }, three lists of numbers; in the plane its means are
   pairs [x, y], its variances isotropic. aT and aS are alpha-bar at t and at an earlier s; t = 0 is clean data. */
(function () {
  "use strict";
  const { sqrt, exp, log, max, PI } = Math;
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const range = (n, from = 0, to = n - 1) => Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));

  /** A generator of uniform numbers in [0, 1) (mulberry32). */
  function uniforms(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** A generator of standard normal numbers (Box–Muller, without its second number). */
  function normals(seed) {
    const uniform = uniforms(seed);
    return () => sqrt(-2 * log(1 - uniform())) * Math.cos(2 * PI * uniform());
  }

  /** alpha-bar at 0…T for variances that grow linearly. */
  function linearSchedule(T, beta1, betaT) {
    const alphaBar = [1];
    for (const beta of range(T, beta1, betaT)) alphaBar.push(alphaBar[alphaBar.length - 1] * (1 - beta));
    return alphaBar;
  }

  const snr = (a) => a / (1 - a);
  /** T = tau_n > … > tau_0 = 0, evenly spaced; a half is rounded to the even neighbour, as in the package. */
  function timesteps(T, n) {
    const round = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
    return range(n + 1, n, 0).map((i) => round(T * (i / n)));
  }

  /** One-shot noising of a list of numbers. */
  const oneShot = (x0, noise, aT) => x0.map((x, i) => sqrt(aT) * x + sqrt(1 - aT) * noise[i]);

  const normal = (x, mean, variance) => exp(-((x - mean) ** 2) / (2 * variance)) / sqrt(2 * PI * variance);
  const density = (m, x) => sum(m.weights.map((w, k) => w * normal(x, m.means[k], m.variances[k])));
  const mean = (m) => sum(m.weights.map((w, k) => w * m.means[k]));
  const variance = (m) => sum(m.weights.map((w, k) => w * (m.variances[k] + (m.means[k] - mean(m)) ** 2)));

  /** The Gaussian with the mean and the variance of a mixture, as a mixture of one. */
  const bestGaussian = (m) => ({ weights: [1], means: [mean(m)], variances: [variance(m)] });
  /** The law of x_t, if x_0 has the law m. */
  const diffused = (m, aT) =>
    ({ ...m, means: m.means.map((mu) => sqrt(aT) * mu), variances: m.variances.map((v) => aT * v + 1 - aT) });

  function softmax(logs) {
    let [most, total] = [-Infinity, 0];
    for (const l of logs) most = max(most, l);
    for (const l of logs) total += exp(l - most);
    return logs.map((l) => exp(l - most) / total);
  }

  /** The logs of the weighted components at x, up to a constant. */
  const logParts = ({ weights, means, variances: v }, x) =>
    weights.map((w, k) => log(w) - log(v[k]) / 2 - (x - means[k]) ** 2 / (2 * v[k]));

  /** The gradient of the log density at x. */
  function score(m, x) {
    const shares = softmax(logParts(m, x));
    let pull = 0;
    for (let k = 0; k < shares.length; k++) pull += (shares[k] * (m.means[k] - x)) / m.variances[k];
    return pull;
  }

  /** The exact noise predictor at t of data with the law m: a function of x_t. */
  function epsModel(m, aT) {
    const q = diffused(m, aT);
    return (x) => -sqrt(1 - aT) * score(q, x);
  }

  /** The law of x_s given x_t = x, for data with the law m: a mixture again. */
  function reverseKernel(m, aT, aS, x) {
    const [a, before, after] = [aT / aS, diffused(m, aS), diffused(m, aT)];
    const gains = before.variances.map((v, k) => (sqrt(a) * v) / after.variances[k]);
    return {
      weights: softmax(logParts(after, x)),
      means: before.means.map((mu, k) => mu + gains[k] * (x - after.means[k])),
      variances: before.variances.map((v, k) => (v * (1 - a)) / after.variances[k]),
    };
  }

  /** One DDPM step with noise z, from the posterior of x_s given x_t and x_0 (the small variance). */
  function ddpmStep(x, eps, aT, aS, z) {
    const [a, x0] = [aT / aS, (x - sqrt(1 - aT) * eps) / sqrt(aT)];
    const middle = (sqrt(aS) * (1 - a) * x0 + sqrt(a) * (1 - aS) * x) / (1 - aT);
    return middle + sqrt(((1 - aS) / (1 - aT)) * (1 - a)) * z;
  }

  /** One DDIM step with noise z; eta = 0 uses none, eta = 1 is DDPM. */
  function ddimStep(x, eps, aT, aS, eta, z) {
    const x0 = (x - sqrt(1 - aT) * eps) / sqrt(aT);
    const sigma2 = ((eta ** 2 * (1 - aS)) / (1 - aT)) * (1 - aT / aS);
    return sqrt(aS) * x0 + sqrt(1 - aS - sigma2) * eps + sqrt(sigma2) * z;
  }

  /** A short step back of the family of flow (eta = 0) and reverse SDE (eta = 1), from the score s of x_t at x. */
  function flowStep(x, s, aT, aS, eta, z) {
    const noise = log(aS / aT); // the integral of beta(t) over the step
    return x + noise * (x / 2 + ((1 + eta ** 2) / 2) * s) + eta * sqrt(noise) * z;
  }

  /** One Langevin step of size alpha, from the score s at x. */
  const langevinStep = (x, s, alpha, z) => x + (alpha / 2) * s + sqrt(alpha) * z;
  /** n noise levels with one ratio, from the first down to the last. */
  const levels = (first, last, n) => range(n, log(first), log(last)).map(exp);

  /** The squared distances of (x, y) to the means of a mixture in the plane, with weights and noised variances. */
  const parts = (m, x, y, sigma) =>
    m.weights.map((w, k) => [w, (x - m.means[k][0]) ** 2 + (y - m.means[k][1]) ** 2, m.variances[k] + sigma ** 2]);
  const density2 = (m, x, y, sigma) =>
    sum(parts(m, x, y, sigma).map(([w, d2, v]) => (w * exp(-d2 / (2 * v))) / (2 * PI * v)));

  /** The score, a pair, of a mixture in the plane after noise of standard deviation sigma. */
  function score2(m, x, y, sigma) {
    const each = parts(m, x, y, sigma);
    const pulls = softmax(each.map(([w, d2, v]) => log(w) - log(v) - d2 / (2 * v))).map((r, k) => r / each[k][2]);
    return [x, y].map((u, i) => sum(pulls.map((pull, k) => pull * (m.means[k][i] - u))));
  }

  /** The integral of f over an evenly spaced grid, at whose ends f has vanished. */
  const integral = (f, grid) => sum(grid.map(f)) * (grid[1] - grid[0]);
  const overlap = (p, q, grid) => integral((x) => Math.min(p(x), q(x)), grid);
  const excess = (p, q) => (x) => ((y) => (y > 0 ? y * log(y / q(x)) : 0))(p(x)); // the integrand of the divergence
  const divergence = (p, q, grid) => integral(excess(p, q), grid);
  /** The divergence of N(m1, v1) from N(m2, v2) in its two parts: the cost of the variance, the cost of the mean. */
  const gaussianKl = (m1, v1, m2, v2) => [(v1 / v2 - 1 - log(v1 / v2)) / 2, (m1 - m2) ** 2 / (2 * v2)];

  /** The score matching loss of s(x) = -(x - mu) / c in its two parts: the means over the data of s^2 / 2 and of s'. */
  const squareAbout = (data, mu) => sum(data.map((x) => (x - mu) ** 2)) / data.length;
  const scoreMatching = (data, mu, c) => [squareAbout(data, mu) / (2 * c ** 2), -1 / c];

  /** The least mean squared error at t of an estimate of the noise, for data with the law m, t >= 1. */
  function noiseLoss(m, aT) {
    const [q, eps, grid] = [diffused(m, aT), epsModel(m, aT), range(321, -8, 8)];
    const at = (k) => (z) => normal(z, 0, 1) * eps(q.means[k] + sqrt(q.variances[k]) * z) ** 2;
    return 1 - sum(q.weights.map((w, k) => w * integral(at(k), grid)));
  }
  /** The same, if the estimate must be a straight line in x_t. */
  const lineLoss = (m, aT) => (aT * variance(m)) / (aT * variance(m) + 1 - aT);

  /** The Fréchet distance of N(0, 1) from N(shift, spread^2), and the mean of its estimate from n draws of each. */
  const frechet = (shift, spread) => shift ** 2 + (1 - spread) ** 2;
  function meanEstimate(shift, spread, n) {
    let factor = sqrt(2 / PI); // the mean of the sample standard deviation over the true one, for 2, 3, … draws
    for (let k = 2; k < n; k++) factor = sqrt((k - 1) / k) / factor;
    return shift ** 2 + (1 + spread ** 2) * (1 + 1 / n) - 2 * spread * factor ** 2;
  }

  /** Heights of the bins between from and to, as a density; values outside count in the total only. */
  function histogram(values, from, to, bins) {
    const [width, counts] = [(to - from) / bins, Array(bins).fill(0)];
    for (const v of values) if (v >= from && v < to) counts[Math.floor((v - from) / width)] += 1;
    return counts.map((n) => n / (values.length * width));
  }

  const maths = {
    sum, range, uniforms, normals, linearSchedule, snr, timesteps, oneShot, normal, density, mean, variance,
    bestGaussian, diffused, score, epsModel, reverseKernel, ddpmStep, ddimStep, flowStep, langevinStep, levels, density2,
    score2, integral, overlap, excess, divergence, gaussianKl, squareAbout, scoreMatching, noiseLoss, lineLoss, frechet,
    meanEstimate, histogram,
  };
  if (typeof module !== "undefined") module.exports = maths;
  else globalThis.movableMaths = maths;
})();
