"""The movable figures: their mathematics is the package's, and each one runs or shows its still."""

import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dgm_helpers as dgm
from dgm_helpers.fid import frechet_distance
from tools.drawings import movable_data

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "book" / "_static" / "movable"
NAMES = [
    "forward",
    "step-back",
    "gaussian-divergence",
    "one-pixel",
    "reverse",
    "one-feature",
    "early-stop",
    "fit-gaussian",
    "score-field",
    "langevin",
    "flow-sde",
]
FRAME = ["maths", "data", "plot", "movable"]
NODE = shutil.which("node")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

needs_node = pytest.mark.skipif(not NODE, reason="needs Node, to run JavaScript outside a browser")
needs_browser = pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome")

SCHEDULE = dgm.NoiseSchedule.linear()
LINE = movable_data.LINE
MIXTURE = dgm.GaussianMixture(LINE["weights"], [[m] for m in LINE["means"]], LINE["variances"])
PLANE = movable_data.plane()
POINTS = [-2.5, -1.1, -0.3, 0.0, 0.4, 1.0, 2.2]


def node(expression, **values):
    """The value of a JavaScript expression, in which m is the mathematics and v.name is a value given here."""
    script = (
        f"const m = require({json.dumps(str(FOLDER / 'maths.js'))});"
        f"const v = {json.dumps(values)}; console.log(JSON.stringify({expression}))"
    )
    run = subprocess.run(
        [NODE, "-e", script], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert run.returncode == 0, run.stderr
    return torch.tensor(json.loads(run.stdout), dtype=torch.float64)


def same(actual, expected):
    torch.testing.assert_close(actual, expected.to(torch.float64), rtol=1e-9, atol=1e-9)


def column(values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@needs_node
def test_schedule_and_timesteps():
    same(node("m.linearSchedule(1000, 1e-4, 0.02)"), SCHEDULE.alpha_bar)
    same(node("m.linearSchedule(1000, 1e-4, 0.02).slice(1).map(m.snr)"), SCHEDULE.snr[1:])
    for T, n in ((1000, 7), (1000, 200), (1000, 16), (50, 20), (9, 2)):
        assert node("m.timesteps(v.T, v.n)", T=T, n=n).tolist() == dgm.timesteps(T, n).tolist()


@needs_node
def test_one_shot_noising():
    x0, noise = column(POINTS), torch.randn(7, 1, generator=dgm.seeded(0), dtype=torch.float64)
    for t in (0, 1, 350, 1000):
        a = SCHEDULE.alpha_bar[t].item()
        ours = node("m.oneShot(v.x0, v.noise, v.a)", x0=POINTS, noise=noise[:, 0].tolist(), a=a)
        same(ours, dgm.perturb_input(SCHEDULE, x0, t, noise)[:, 0])


@needs_node
def test_densities_of_diffused_mixtures():
    """Of a mixture of Gaussians, and of two points, which is the limit of narrow ones."""
    for t in (0, 20, 300, 1000):
        ours = node(
            "v.x.map((x) => m.density(m.diffused(v.q, v.a), x))",
            x=POINTS,
            q=LINE,
            a=SCHEDULE.alpha_bar[t].item(),
        )
        same(ours, MIXTURE.diffused(SCHEDULE, t).log_prob(column(POINTS)).exp())
    pixel = movable_data.PIXEL
    narrow = dgm.GaussianMixture(pixel["weights"], [[-1.0], [1.0]], [1e-14, 1e-14])
    for t in (20, 300, 1000):
        ours = node(
            "v.x.map((x) => m.density(m.diffused(v.q, v.a), x))",
            x=POINTS,
            q=pixel,
            a=SCHEDULE.alpha_bar[t].item(),
        )
        same(ours, narrow.diffused(SCHEDULE, t).log_prob(column(POINTS)).exp())


@needs_node
def test_score_and_noise_predictor():
    for t in (1, 100, 1000):
        values = {"x": POINTS, "q": LINE, "a": SCHEDULE.alpha_bar[t].item()}
        x = column(POINTS)
        same(
            node("v.x.map((x) => m.score(m.diffused(v.q, v.a), x))", **values),
            MIXTURE.diffused(SCHEDULE, t).score(x)[:, 0],
        )
        eps = MIXTURE.eps_model(SCHEDULE)(x, torch.full((7,), t))
        same(node("v.x.map(m.epsModel(v.q, v.a))", **values), eps[:, 0])


@needs_node
@pytest.mark.parametrize("s", [0, 1, 250])
def test_reverse_kernel_is_prior_times_likelihood_and_the_package_has_the_same(s):
    t, x_t = 400, 0.35
    a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[s].item()
    grid = [i / 250 - 8 for i in range(4001)]
    ours = node(
        "v.u.map((u) => m.density(m.reverseKernel(v.q, v.aT, v.aS, v.x), u))",
        u=grid,
        q=LINE,
        aT=a_t,
        aS=a_s,
        x=x_t,
    )
    kernel = MIXTURE.reverse_kernel(SCHEDULE, torch.tensor([x_t], dtype=torch.float64), t, s)
    same(ours, kernel.log_prob(column(grid)).exp())
    prior = node("v.u.map((u) => m.density(m.diffused(v.q, v.aS), u))", u=grid, q=LINE, aS=a_s)
    a = a_t / a_s
    likelihood = node(
        "v.u.map((u) => m.normal(v.x, Math.sqrt(v.a) * u, 1 - v.a))", u=grid, a=a, x=x_t
    )
    product = prior * likelihood
    same(ours, product / (product.sum() / 250))
    gaussian = node(
        "[m.bestGaussian(v.k).means[0], m.bestGaussian(v.k).variances[0]]", k=as_lists(kernel)
    )
    same(gaussian, torch.stack([kernel.mean[0], kernel.covariance[0, 0]]))


def as_lists(mixture):
    return {
        "weights": mixture.weights.tolist(),
        "means": mixture.means[:, 0].tolist(),
        "variances": mixture.variances.tolist(),
    }


@needs_node
def test_divergence_and_overlap():
    one, other = (
        {"weights": [1], "means": [0.3], "variances": [0.5]},
        {"weights": [1], "means": [-0.4], "variances": [0.8]},
    )
    values = {"p": one, "q": other}
    laws = "...[v.p, v.q].map((l) => (x) => m.density(l, x)), m.range(4001, -9, 9)"
    expected = dgm.gaussian_kl(*(column([y]) for y in (0.3, 0.5, -0.4, 0.8)))
    same(node(f"m.divergence({laws})", **values), expected.sum())
    values["q"] = one | {"means": [1.3]}  # equal variances: the overlap is 2 Phi(-distance / 2)
    expected = math.erfc(1 / math.sqrt(0.5) / 2 / math.sqrt(2))
    assert node(f"m.overlap({laws})", **values).item() == pytest.approx(
        expected, abs=1e-5
    )  # the minimum has a kink


@needs_node
@pytest.mark.parametrize(("shift", "variance"), [(1.0, 0.5), (-1.5, 0.25), (0.0, 4.0), (0.7, 1.0)])
def test_divergence_of_two_gaussians_is_the_area_and_has_two_parts(shift, variance):
    """The parts by the package: with the same means only the variance costs, with the same variances the mean."""

    def package(*moments):
        return dgm.gaussian_kl(*(column([y]) for y in moments))

    of_variance, of_mean = (package(0, 1, *p)[0] for p in ((0, variance), (shift, 1)))
    parts = node("m.gaussianKl(0, 1, v.m, v.v)", m=shift, v=variance)
    same(parts, torch.stack([of_variance, of_mean / variance]))
    same(parts.sum(), package(0, 1, shift, variance)[0])
    back = node("m.gaussianKl(v.m, v.v, 0, 1)", m=shift, v=variance)
    same(back.sum(), package(shift, variance, 0, 1)[0])
    laws = "(x) => m.normal(x, 0, 1), (x) => m.normal(x, v.m, v.v)"
    area = node(f"m.integral(m.excess({laws}), m.range(4001, -10, 10))", m=shift, v=variance)
    same(area, parts.sum())


@needs_node
def test_score_matching_loss_of_a_gaussian_and_its_minimum():
    points = movable_data.FIT_GAUSSIAN["points"]
    x = column(points)
    for mu, c in ((2.0, 3.0), (3.0, 14 / 3), (4.5, 2.0)):
        parts = node("m.scoreMatching(v.x, v.mu, v.c)", x=points, mu=mu, c=c)
        loss = dgm.exact_score_matching(lambda x, mu=mu, c=c: -(x - mu) / c, x).mean()
        same(parts.sum(), loss)
        same(parts[0], ((x - mu) / c).square().mean() / 2)
    mu, c = x.mean(), x.var(correction=0)
    least = node("m.squareAbout(v.x, v.mu)", x=points, mu=mu.item())
    same(least, c)
    for variable in (mu, c):
        variable.requires_grad_()
    dgm.exact_score_matching(lambda x: -(x - mu) / c, x).mean().backward()
    same(torch.stack([mu.grad, c.grad]), torch.zeros(2))


@needs_node
def test_least_loss_of_a_noise_estimate():
    """Of the package's exact predictor, by an integral; on Gaussian data the straight line is the best answer."""
    z = torch.linspace(-9, 9, 3601, dtype=torch.float64)[:, None]
    for t in (1, 150, 600, 1000):
        a = SCHEDULE.alpha_bar[t].item()
        expected = 0
        for k in range(2):  # the conditional mean has E[eps eps_hat] = E[eps_hat^2]
            mean, variance = (v[k].item() for v in (MIXTURE.means[:, 0], MIXTURE.variances))
            x = math.sqrt(a) * mean + math.sqrt(a * variance + 1 - a) * z
            eps = MIXTURE.eps_model(SCHEDULE)(x, torch.full((len(x),), t))
            weight = MIXTURE.weights[k] / math.sqrt(2 * math.pi) * 0.005
            expected += weight * (eps**2 * (-(z**2) / 2).exp()).sum()
        loss = node("m.noiseLoss(v.q, v.a)", q=LINE, a=a)
        torch.testing.assert_close(loss, 1 - expected, rtol=1e-6, atol=1e-9)
        gauss = {"weights": [1], "means": [0.3], "variances": [0.5]}
        same(
            node("m.noiseLoss(v.q, v.a)", q=gauss, a=a), node("m.lineLoss(v.q, v.a)", q=gauss, a=a)
        )


@needs_node
def test_frechet_distance_of_two_bell_curves_and_its_mean_estimate():
    moments = [column([0.0])[0], column([1.0]), column([0.3])[0], column([0.36])]
    same(node("m.frechet(0.3, 0.6)"), torch.tensor(frechet_distance(*moments)))
    n = 12
    draws = torch.randn(20_000, 2, n, generator=dgm.seeded(6), dtype=torch.float64)
    real, fake = draws[:, 0], 0.3 + 0.6 * draws[:, 1]
    estimates = (real.mean(1) - fake.mean(1)) ** 2 + (real.std(1) - fake.std(1)) ** 2
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(node("m.meanEstimate(0.3, 0.6, 12)") - estimates.mean()) < 4 * error


@needs_node
@pytest.mark.parametrize(("t", "s"), [(1000, 999), (1000, 0), (300, 100), (1, 0)])
def test_ddpm_and_ddim_steps(t, s):
    x = column(POINTS)
    eps, z = torch.randn(2, 7, 1, generator=dgm.seeded(1), dtype=torch.float64)
    values = {"x": POINTS, "eps": eps[:, 0].tolist(), "z": z[:, 0].tolist()}
    values |= {"aT": SCHEDULE.alpha_bar[t].item(), "aS": SCHEDULE.alpha_bar[s].item()}
    ours = node("v.x.map((x, i) => m.ddpmStep(x, v.eps[i], v.aT, v.aS, v.z[i]))", **values)
    same(ours, dgm.ddpm_step(SCHEDULE, x, eps, t, s, z)[:, 0])
    for eta in (0.0, 0.4, 1.0):
        ours = node(
            "v.x.map((x, i) => m.ddimStep(x, v.eps[i], v.aT, v.aS, v.eta, v.z[i]))",
            eta=eta,
            **values,
        )
        same(ours, dgm.ddim_step(SCHEDULE, x, eps, t, s, z, eta)[:, 0])


@needs_node
def test_a_whole_ddim_walk():
    taus = dgm.timesteps(1000, 20).tolist()
    walk = """{ let x = v.x; const a = m.linearSchedule(1000, 1e-4, 0.02);
        for (let i = 1; i < v.taus.length; i++) { const [aT, aS] = [a[v.taus[i - 1]], a[v.taus[i]]];
            const eps = m.epsModel(v.q, aT); x = x.map((u) => m.ddimStep(u, eps(u), aT, aS, 0, 0)); } return x; }"""
    ours = node(f"(() => {walk})()", taus=taus, q=LINE, x=POINTS)
    same(
        ours, dgm.sample_ddim(MIXTURE.eps_model(SCHEDULE), SCHEDULE, column(POINTS), steps=20)[:, 0]
    )


@needs_node
def test_flow_and_sde_steps():
    """One step is the book's short step with the package's score; the flow carries quantiles to quantiles."""
    x, z = column(POINTS), torch.randn(7, 1, generator=dgm.seeded(2), dtype=torch.float64)
    a_t, a_s = SCHEDULE.alpha_bar[500], SCHEDULE.alpha_bar[496]
    beta_h = (a_s / a_t).log()
    for eta in (0.0, 0.5, 1.0):
        score = MIXTURE.diffused(SCHEDULE, 500).score(x)
        expected = x + beta_h * (x / 2 + (1 + eta**2) / 2 * score) + eta * beta_h.sqrt() * z
        ours = node(
            "v.x.map((x, i) => m.flowStep(x, m.score(m.diffused(v.q, v.aT), x), v.aT, v.aS, v.eta, v.z[i]))",
            x=POINTS, q=LINE, aT=a_t.item(), aS=a_s.item(), eta=eta, z=z[:, 0].tolist(),
        )  # fmt: skip
        same(ours, expected[:, 0])
    walk = """{ let x = v.x; const a = m.linearSchedule(1000, 1e-4, 0.02);
        for (let t = 1000; t > 0; t--) { const q = m.diffused(v.q, a[t]);
            x = x.map((u) => m.flowStep(u, m.score(q, u), a[t], a[t - 1], 0, 0)); } return x; }"""
    starts = [-1.5, -0.8, -0.1, 0.6, 1.5]
    ends = node(f"(() => {walk})()", x=starts, q=LINE)[:, None]
    normal = torch.distributions.Normal(MIXTURE.means[:, 0], MIXTURE.variances.sqrt())
    below = (normal.cdf(ends) * MIXTURE.weights).sum(1)
    expected = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(starts, dtype=torch.float64))
    torch.testing.assert_close(below, expected, rtol=0, atol=0.01)  # Euler steps


@needs_node
def test_density_and_score_in_the_plane():
    mixture = dgm.GaussianMixture(**PLANE)
    points = 8 * torch.randn(9, 2, generator=dgm.seeded(3), dtype=torch.float64)
    for sigma in (0.0, 1.0, 7.0):
        values = {"x": points.tolist(), "q": PLANE, "s": sigma}
        same(
            node("v.x.map(([x, y]) => m.score2(v.q, x, y, v.s))", **values),
            mixture.score(points, sigma),
        )
        same(
            node("v.x.map(([x, y]) => m.density2(v.q, x, y, v.s))", **values),
            mixture.log_prob(points, sigma).exp(),
        )


@needs_node
def test_langevin_steps_and_levels():
    mixture = dgm.GaussianMixture(**PLANE)
    x = 5 * torch.randn(6, 2, generator=dgm.seeded(4), dtype=torch.float64)
    z = torch.randn(6, 2, generator=dgm.seeded(5), dtype=torch.float64)
    step = "v.x.map((x, i) => x.map((u, j) => m.langevinStep(u, m.score2(v.q, ...x, v.s)[j], v.alpha, v.z[i][j])))"
    values = {"x": x.tolist(), "z": z.tolist(), "q": PLANE}
    expected = dgm.langevin(mixture.score, x, step_size=0.3, steps=1, generator=dgm.seeded(5))
    same(node(step, alpha=0.3, s=0.0, **values), expected)
    expected = dgm.annealed_langevin(
        mixture.score,
        x,
        [4.0, 1.0],
        step_size=0.1,
        steps_per_level=1,
        generator=dgm.seeded(5),
        trajectory=True,
    )
    same(node(step, alpha=0.1 * 16, s=4.0, **values), expected[1])
    same(node("m.levels(20, 1, 12)"), torch.logspace(math.log10(20), 0, 12, dtype=torch.float64))


@needs_node
def test_histogram_is_a_density():
    heights = node("m.histogram([-2.9, 0.1, 0.2, 5, -7], -3, 3, 6)")
    assert heights.tolist() == [0.2, 0, 0, 0.4, 0, 0]


@needs_node
def test_random_numbers_come_from_a_seed_and_are_standard_normal():
    draw = "((n) => Array.from({ length: 100000 }, n))(m.normals(v.seed))"
    x = node(draw, seed=1)
    assert torch.equal(x, node(draw, seed=1)) and not torch.equal(x, node(draw, seed=2))
    scale = len(x) ** -0.5
    assert abs(x.mean()) < 5 * scale and abs(x.var() - 1) < 5 * scale * 2**0.5
    assert abs((x**4).mean() - 3) < 5 * scale * 96**0.5
    assert abs((x[1:] * x[:-1]).mean()) < 5 * scale
    # the first numbers of mulberry32, from its published code
    same(
        node("((u) => [u(), u(), u()])(m.uniforms(1))"),
        column([0.6270739405881613, 0.002735721180215478, 0.5274470399599522])[:, 0],
    )


def test_the_data_are_those_of_the_package():
    assert (FOLDER / "data.js").read_text(encoding="utf-8") == movable_data.script(), (
        "run python -m tools.drawings.movable_data"
    )


def test_the_scripts_are_small_and_stay_in_the_book():
    files = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert files.keys() == {f"{name}.js" for name in FRAME + NAMES}
    assert sum(len(text.encode("utf-8")) for text in files.values()) < 120_000
    assert len(files["data.js"]) < 60_000
    for name, text in files.items():
        assert text.count("\n") <= 180, name
        assert not re.search(
            r"https?://(?!www\.w3\.org/)|fetch\(|import\s|XMLHttpRequest|eval\(", text
        ), name


@pytest.mark.parametrize("name", NAMES)
def test_each_figure_has_a_still(name):
    assert (ROOT / "book" / "drawings" / f"{name}.svg").exists()
    assert f'movable.register("{name}"' in (FOLDER / f"{name}.js").read_text(encoding="utf-8")


TRY_ALL = """addEventListener("load", async () => {
  const rest = () => new Promise((done) => setTimeout(done, 40));
  for (const control of document.querySelectorAll(".live input, .live button"))
    for (const end of control.type === "range" ? [control.min, control.max] : [0, 0]) {
      if (control.type === "range") {
        control.value = end;
        control.dispatchEvent(new Event("input"));
      } else control.click();
      await rest();
    }
  await new Promise((done) => setTimeout(done, 800));
  document.title = "all tried";
});"""


def page(folder, missing=(), width=None):
    """The page with all figures as a browser leaves it after every slider, box and button was used twice."""
    boxes = "".join(
        f'<div class="movable" data-movable="{name}"><div class="still"><svg aria-label="A still"></svg></div></div>'
        for name in NAMES
    )
    scripts = "".join(
        f'<script defer src="{(FOLDER / name).as_uri()}.js"></script>'
        for name in FRAME + NAMES
        if name not in missing
    )
    style = f'<link rel="stylesheet" href="{(FOLDER.parent / "movable.css").as_uri()}">'
    box = f'<div style="width: {width or 700}px">{boxes}</div>'
    file = folder / "page.html"
    file.write_text(
        f"<!doctype html><meta charset=utf-8>{style}{box}{scripts}<script>{TRY_ALL}</script>",
        encoding="utf-8",
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--dump-dom",
        file.as_uri(),
    ]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=180)
    assert "<title>all tried</title>" in run.stdout, run.stderr[-2000:]
    parts = re.split(r'(?=<div class="movable)', run.stdout)[1:]
    return {re.search(r'data-movable="([\w-]+)"', part)[1]: part for part in parts}


@needs_browser
@pytest.mark.parametrize("width", [320, 700])
def test_every_figure_runs_at_both_ends_of_every_control(tmp_path, width):
    for name, part in page(tmp_path, width=width).items():
        assert part.startswith('<div class="movable moves"'), name
        assert 'aria-label="A still"' in part and 'role="group"' in part
        (words,) = re.findall(r'<p class="sentence" aria-live="polite">(.*?)</p>', part, re.S)
        words = html.unescape(re.sub(r"<.*?>", "", words))
        assert len(words) > 40 and not re.search("NaN|undefined|Infinity", part), (name, words)
        assert (
            max(float(w) for w in re.findall(r'<svg aria-hidden="true" width="([\d.]+)"', part))
            <= width
        )
        assert len(re.findall(r'<label for="movable-\d+">', part)) == part.count('type="range"')


@needs_browser
@pytest.mark.parametrize("missing", ["data", "maths", "plot", "movable"])
def test_a_figure_that_lacks_a_file_shows_its_still(tmp_path, missing):
    for name, part in page(tmp_path, missing={missing}).items():
        assert part.startswith('<div class="movable" '), name
        assert 'class="live"' not in part


def test_the_scripts_are_loaded_on_the_pages_that_need_them(tmp_path):
    """A small book with one page that has a movable figure and one that has a drawing only."""
    for folder in ("drawings", "_static"):
        shutil.copytree(ROOT / "book" / folder, tmp_path / "book" / folder)
    figure = "```{{drawing}} {}\n:alt: Said in words\nA caption.\n```\n"
    for page_name, drawn in (("index", "forward"), ("other", "two-steps")):
        text = f"# {page_name}\n\n{figure.format(drawn)}"
        (tmp_path / f"{page_name}.md").write_text(text, encoding="utf-8")
    settings = [
        "extensions=myst_parser,figures",
        "html_static_path=book/_static",
        "html_theme=basic",
    ]
    options = [part for setting in settings for part in ("-D", setting)]
    command = [sys.executable, "-m", "sphinx", "-q", "-C", *options, tmp_path, tmp_path / "html"]
    paths = os.pathsep.join([str(ROOT / "book" / "_ext"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert run.returncode == 0, run.stderr
    index, other = (
        (tmp_path / "html" / f"{n}.html").read_text(encoding="utf-8") for n in ("index", "other")
    )
    loaded = re.findall(r'<script defer="defer" src="(_static/movable/[\w-]+\.js)', index)
    assert loaded == [f"_static/movable/{name}.js" for name in [*FRAME, "forward"]]
    assert all((tmp_path / "html" / path).exists() for path in loaded)
    assert re.search(
        r'data-movable="forward"><div class="still"><svg role="img" aria-label="Said in words"',
        index,
    )
    assert "movable" not in other and 'aria-label="Said in words"' in other
