"""The stills of the movable figures; that of the forward process is among its chapter's drawings."""

import math
from functools import partial

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, drawing
from .movable_data import (
    EARLY_STOP,
    FIT_GAUSSIAN,
    GAUSSIAN_DIVERGENCE,
    LINE,
    ONE_FEATURE,
    ONE_PIXEL,
    SCHEDULE,
    STEP_BACK,
    plane,
)

schedule = dgm.NoiseSchedule.linear(*SCHEDULE.values())  # T, beta_1 and beta_T


def line_mixture(weights, means, variances):
    return dgm.GaussianMixture(weights, [[m] for m in means], variances)


def density(mixture, grid):
    return mixture.log_prob(grid[:, None]).exp()


def grid(start, stop, n=201):
    return torch.linspace(start, stop, n, dtype=torch.float64)


def hill(ax, x, y, color, **options):
    ax.fill_between(x, y, color=color, alpha=0.35, linewidth=0)
    ax.plot(x, y, color=color, **options)


def panels(*widths, height=2.2, **options):
    figure, axes = plt.subplots(
        1, len(widths), figsize=(6.7, height), width_ratios=widths, layout="constrained", **options
    )
    return figure, axes


@drawing
def step_back():
    """Prior, likelihood and step back for a large step, and how far steps of any size are from Gaussian."""
    data, x_t, beta = line_mixture(**STEP_BACK), 0.35, 0.5
    x = torch.linspace(-8, 8, 1601, dtype=torch.float64)

    def kernel_and_gaussian(beta):
        schedule = dgm.NoiseSchedule(torch.tensor([1, 1 - beta], dtype=torch.float64))
        kernel = data.reverse_kernel(schedule, torch.tensor([x_t], dtype=torch.float64), 1)
        return kernel, dgm.GaussianMixture([1.0], kernel.mean[None], kernel.covariance[None])

    def divergence(beta):
        p, q = (m.log_prob(x[:, None]) for m in kernel_and_gaussian(beta))
        return (p.exp() * (p - q)).sum() * (x[1] - x[0])

    figure, (ax, right) = panels(1.8, 1, height=2.4)
    near = x[600:1001]
    back, gaussian = (density(m, near) for m in kernel_and_gaussian(beta))
    prior, likelihood = (
        density(data, near),
        torch.exp(-((x_t - math.sqrt(1 - beta) * near) ** 2) / (2 * beta)),
    )
    hill(ax, near, prior / prior.max(), GREY, label="prior")
    ax.plot(near, likelihood, color=BLUE, label="likelihood")
    hill(ax, near, back / back.max(), ORANGE, label="true step back")
    ax.plot(near, gaussian / back.max(), "--", color=INK, linewidth=1.2, label="its Gaussian")
    ax.set(
        title=rf"$\beta$ = {beta}",
        xlabel="$x_{t-1}$",
        yticks=[],
        ylim=(0, 1.1),
        xlim=(-2, 2),
        xticks=range(-2, 3),
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=8.5)
    betas = [10 ** (e / 10) for e in range(-20, 0)]
    right.loglog(betas, [divergence(b) for b in betas], color=GREY)
    right.loglog(beta, divergence(beta), "o", color=ORANGE)
    right.set(title="divergence, nats", xlabel=r"$\beta$")
    right.minorticks_off()
    return figure


@drawing
def gaussian_divergence():
    """Two Gaussians, the integrand of their divergence, and the divergence against the variance of p."""
    shift, variance = GAUSSIAN_DIVERGENCE.values()
    x = grid(-4, 4)
    q, p = (
        line_mixture([1.0], [m], [v]).log_prob(x[:, None]) for m, v in ((0, 1), (shift, variance))
    )
    figure, (bells, integrand, nats) = panels(1.2, 1.2, 1, height=2.5)
    bells.plot(x, q.exp(), color=BLUE, label="$q$")
    bells.plot(x, p.exp(), color=ORANGE, label="$p$")
    bells.set(title="the densities", xlabel="$x$", xticks=range(-4, 5, 2), ylim=(0, None))
    excess = q.exp() * (q - p)
    for part, color in ((excess.clamp(min=0), BLUE), (excess.clamp(max=0), ORANGE)):
        integrand.fill_between(x, part, color=color, alpha=0.35, linewidth=0)
    integrand.plot(x, excess, color=INK, linewidth=1.2)
    integrand.axhline(0, color=GREY, linewidth=0.8)
    integrand.set(title=r"$q\,\log(q/p)$", xlabel="$x$", xticks=range(-4, 5, 2))

    def divergence(m1, v1, m2, v2):
        item = (
            torch.as_tensor(y, dtype=torch.float64).expand(101)[:, None] for y in (m1, v1, m2, v2)
        )
        return dgm.gaussian_kl(*item)

    variances = torch.logspace(-2, 2, 101, base=2, dtype=torch.float64)
    of_mean = shift**2 / (2 * variances)
    forward = divergence(0, 1, shift, variances)
    nats.fill_between(variances, of_mean, color=GREY, alpha=0.4, linewidth=0, label="for the mean")
    nats.plot(variances, forward, color=INK, label=r"KL$(q\,\Vert\,p)$")
    nats.plot(
        variances,
        divergence(shift, variances, 0, 1),
        "--",
        color=INK,
        linewidth=1.2,
        label=r"KL$(p\,\Vert\,q)$",
    )
    nats.plot(variance, divergence(0, 1, shift, variance)[0], "o", color=ORANGE)
    nats.set(title="divergence, nats", xlabel="$v_2/v_1$", xscale="log", ylim=(0, 3))
    nats.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    nats.minorticks_off()
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5)
    return figure


def ways_back(ax, states, times, shown, end, title):
    """Paths from left to right, and beside them the histogram of the ends with the exact density."""
    ax.plot(times, states[:, :shown], color=GREY, linewidth=0.6, alpha=0.6)
    heights, edges = torch.histogram(states[-1], bins=50, range=(-2.5, 2.5), density=True)
    ax.stairs(
        1.02 + 0.2 * heights,
        edges,
        baseline=1.02,
        orientation="horizontal",
        fill=True,
        color=BLUE,
        alpha=0.45,
    )
    y = grid(-2.5, 2.5)
    ax.plot(1.02 + 0.2 * density(end, y), y, color=INK, linewidth=1)
    ax.set(title=title, xlabel="$t$", xlim=(0, 1.36), ylim=(-2.7, 2.7))
    ax.set_xticks([0, 0.5, 1], ["1000", "500", "0"])


@drawing
def reverse():
    """Twenty steps back by DDPM and by DDIM, with the exact noise predictor."""
    data = line_mixture(**LINE)
    x_T = torch.randn(1000, 1, generator=dgm.seeded(0), dtype=torch.float64)
    taus = dgm.timesteps(schedule.T, 20)
    figure, axes = panels(1, 1, height=2.5, sharey=True)
    for ax, title, step in zip(
        axes, ("DDPM", r"DDIM, $\eta$ = 0"), (dgm.ddpm_step, dgm.ddim_step), strict=True
    ):
        walk = dgm.reverse_process(
            data.eps_model(schedule), schedule, x_T, taus, step, generator=dgm.seeded(1)
        )
        states = torch.stack([x_T, *(state.x for state in walk)])[:, :, 0]
        ways_back(ax, states, 1 - taus / schedule.T, 24, data, title)
    return figure


@drawing
def one_pixel():
    """A pixel of two colours under noise: its density, two answers for the noise, and their losses."""
    t = 150
    a = schedule.alpha_bar
    spread = torch.tensor(ONE_PIXEL["means"]).var(correction=0)
    narrow = line_mixture(ONE_PIXEL["weights"], ONE_PIXEL["means"], [1e-12, 1e-12])
    eps_model = narrow.eps_model(schedule)
    x = grid(-2.6, 2.6)
    figure, (seen, answer, loss) = panels(1, 1, 1.1, height=2.4)
    hill(seen, x, density(narrow.diffused(schedule, t), x), GREY)
    seen.set(title=f"what is seen, $t$ = {t}", xlabel="$x_t$", yticks=[], ylim=(0, None))
    best = eps_model(x[:, None], torch.full((len(x),), t))[:, 0]
    line = (1 - a[t]).sqrt() * x / (a[t] * spread + 1 - a[t])
    answer.plot(x, line, color=ORANGE, label="best line")
    answer.plot(x, best, color=BLUE, label="best answer")
    answer.set(title="the answer", xlabel="$x_t$", ylim=(-3, 3), yticks=range(-2, 3))

    def least(
        t,
    ):  # E[noise^2] minus the mean square of the best answer; by symmetry from one colour
        z = grid(-8, 8, 1601)
        states = a[t].sqrt() + (1 - a[t]).sqrt() * z
        squares = eps_model(states[:, None], torch.full((len(z),), t))[:, 0] ** 2
        return 1 - (squares * torch.exp(-(z**2) / 2)).sum() * 0.01 / math.sqrt(2 * math.pi)

    times = [1, *range(10, 1001, 10)]
    loss.plot(times, a[times], color=ORANGE)
    loss.plot(times, [least(u) for u in times], color=BLUE)
    loss.plot(t, a[t], "o", color=ORANGE)
    loss.plot(t, least(t), "o", color=BLUE)
    loss.set(title="squared error", xlabel="$t$", xticks=[0, 500, 1000], ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    return figure


@drawing
def one_feature():
    """Two bell curves, and the mean estimate of their Fréchet distance against the number of pictures."""
    shift, spread, n = ONE_FEATURE.values()
    counts = torch.logspace(math.log10(3), math.log10(3000), 31, dtype=torch.float64).round()

    def mean_estimate(shift, spread, n):
        n = torch.as_tensor(n, dtype=torch.float64)
        factor = (2 / (n - 1)).sqrt() * torch.exp(torch.lgamma(n / 2) - torch.lgamma((n - 1) / 2))
        return shift**2 + (1 + spread**2) * (1 + 1 / n) - 2 * spread * factor**2

    figure, (bells, estimates) = panels(1, 1.3, height=2.4)
    x = grid(-5, 5)
    real, generated = line_mixture([1.0], [0.0], [1.0]), line_mixture([1.0], [shift], [spread**2])
    hill(bells, x, density(real, x), BLUE)
    bells.plot(x, density(generated, x), color=ORANGE)
    bells.text(-4.6, 0.3, "real", color=BLUE)
    bells.text(1.3, 0.45, "generated", color=ORANGE)
    bells.set(title="the feature", yticks=[], ylim=(0, None), xticks=range(-4, 5, 2))
    estimates.axhline(shift**2 + (1 - spread) ** 2, color=ORANGE, linewidth=1, linestyle="--")
    for one, other, color in ((0, 1, BLUE), (shift, spread, ORANGE)):
        estimates.loglog(counts, mean_estimate(one, other, counts), color=color)
        estimates.plot(n, mean_estimate(one, other, n), "o", color=color)
    estimates.text(60, 0.13, "true distance", color=ORANGE, fontsize=9)
    estimates.text(50, 0.012, "a perfect generator", color=BLUE, fontsize=9, ha="right")
    estimates.set(title="mean estimate of the distance", xlabel="pictures a side, $n$")
    estimates.set_xticks([10, 100, 1000], ["10", "100", "1,000"])
    estimates.set_yticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    estimates.minorticks_off()
    return figure


@drawing
def early_stop():
    """Data and a poor proposal, clean and noised, and their overlap against the stop."""
    truth, proposal = (line_mixture(**EARLY_STOP[name]) for name in ("truth", "proposal"))
    x = grid(-5, 5, 1001)
    near = x[x.abs() <= 2.4]

    def overlap(t):
        return torch.minimum(
            *(density(m.diffused(schedule, t), x) for m in (truth, proposal))
        ).sum() * (x[1] - x[0])

    figure, axes = panels(1.3, 1.3, 1)
    for ax, t, title in zip(axes, (0, 100), ("$t$ = 0", "$T'$ = 100"), strict=False):
        ax.fill_between(
            near,
            density(truth.diffused(schedule, t), near),
            color=GREY,
            alpha=0.4,
            linewidth=0,
            label="data",
        )
        ax.plot(near, density(proposal.diffused(schedule, t), near), color=ORANGE, label="proposal")
        ax.set(title=title, yticks=[], ylim=(0, 1.5))
    axes[0].legend(fontsize=8, loc="upper left", handlelength=1.2, borderaxespad=0)
    times = range(0, schedule.T + 1, 20)
    axes[2].plot(times, [100 * overlap(t) for t in times], color=GREY)
    axes[2].plot(100, 100 * overlap(100), "o", color=ORANGE)
    axes[2].set(
        title="overlap, %",
        xlabel="$T'$",
        ylim=(50, 102),
        yticks=[50, 75, 100],
        xticks=[0, 500, 1000],
    )
    return figure


@drawing
def fit_gaussian():
    """A score that is a line at three points, and the loss of score matching along each of its two numbers."""
    points, mu, c = FIT_GAUSSIAN.values()
    data = torch.tensor(points, dtype=torch.float64)[:, None]
    middle, spread = data.mean().item(), data.var(correction=0).item()

    def loss(mu, c):
        return dgm.exact_score_matching(lambda x: -(x - mu) / c, data).mean().item()

    x = grid(-0.5, 7.5)
    figure, (line, along_mu, along_c) = panels(1.3, 1, 1, height=2.5)
    line.axhline(0, color=GREY, linewidth=0.8)
    line.plot(x, -(x - middle) / spread, "--", color=GREY, label="least loss")
    line.plot(x, -(x - mu) / c, color=ORANGE, label="$s(x)$")
    line.vlines(data[:, 0], 0, -(data[:, 0] - mu) / c, color=BLUE, linewidth=1)
    line.plot(data, 0 * data, "o", color=BLUE, label="data")
    line.set(title="the score", xlabel="$x$", xticks=range(0, 8, 2), yticks=[-2, 0, 2])
    line.set(xlim=(-0.5, 7.5), ylim=(-2.6, 2.6))
    mus, cs = grid(1.5, 4.5).tolist(), grid(2, 14).tolist()
    best_c = (data - mu).square().mean().item()
    for ax, name, places, losses, best, here in (
        (along_mu, r"$\mu$", mus, [loss(m, c) for m in mus], (middle, loss(middle, c)), mu),
        (along_c, "$c$", cs, [loss(mu, v) for v in cs], (best_c, loss(mu, best_c)), c),
    ):
        ax.plot(places, losses, color=ORANGE)
        ax.plot(*best, "o", color=GREY)
        ax.plot(here, loss(mu, c), "o", color=ORANGE)
        ax.set(title=f"loss along {name}", xlabel=name, ylim=(-0.15, 0.4))
    along_mu.set(xticks=[2, 3, 4])
    along_c.set(xticks=[2, 6, 10, 14])
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def cloud(ax, mixture, sigma):
    side = grid(-12, 12, 64)
    points = torch.cartesian_prod(side, side)
    p = mixture.log_prob(points, sigma).exp().reshape(64, 64).T
    rgb = torch.tensor([59, 142, 216]).expand(64, 64, 3)
    colors = torch.cat([rgb / 255, 0.75 * (p / p.max())[..., None]], dim=2)
    ax.imshow(colors, extent=(-12, 12, -12, 12), origin="lower", interpolation="bilinear")
    ax.set(xlim=(-12, 12), ylim=(-12, 12), aspect="equal", xticks=[-10, 0, 10], yticks=[-10, 0, 10])


@drawing
def score_field():
    """Density and score of the mixture in the plane at three noise levels."""
    mixture = dgm.GaussianMixture(**plane())
    side = grid(-10.5, 10.5, 8)
    points = torch.cartesian_prod(side, side)
    figure, axes = panels(1, 1, 1, height=2.5, sharey=True)
    for ax, sigma in zip(axes, (1.0, 3.0, 7.0), strict=True):
        cloud(ax, mixture, sigma)
        score = mixture.score(points, sigma)
        size = score.norm(dim=1, keepdim=True)
        arrows = 2.7 * score / size * (size / (size + 1)).sqrt()
        ax.quiver(
            *points.T,
            *arrows.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            pivot="mid",
            color=INK,
            width=0.007,
            headwidth=5,
        )
        ax.set(title=rf"$\sigma$ = {sigma:g}")
    return figure


@drawing
def langevin():
    """Where 300 steps of plain and of annealed Langevin dynamics lead the same starts."""
    mixture = dgm.GaussianMixture(**plane())
    light = int(mixture.weights.argmin())
    starts = 16 * torch.rand(200, 2, generator=dgm.seeded(0), dtype=torch.float64) - 8
    sigmas = torch.logspace(math.log10(20), 0, 12, dtype=torch.float64)
    walks = {
        "plain": partial(dgm.langevin, mixture.score, starts, steps=300),
        "annealed": partial(
            dgm.annealed_langevin, mixture.score, starts, sigmas, steps_per_level=25
        ),
    }
    figure, axes = panels(1, 1, 1.1, height=2.5)
    for ax, color, (title, walk) in zip(axes, (ORANGE, BLUE), walks.items(), strict=False):
        path = walk(step_size=0.1, generator=dgm.seeded(1), trajectory=True)
        cloud(ax, mixture, 0.0 if title == "plain" else 1.0)
        ax.plot(*path[-1].T, ".", color=ORANGE, markersize=2.5)
        ax.set(title=title)
        in_light = torch.cdist(path, mixture.means.expand(len(path), -1, -1)).argmin(2) == light
        axes[2].plot(100 * in_light.double().mean(1), color=color, label=title)
    axes[2].axhline(100 * mixture.weights[light].item(), color=INK, linestyle="--", linewidth=1.2)
    axes[2].set(
        title="in the light mode, %",
        xlabel="steps",
        ylim=(0, 100),
        yticks=[0, 50, 100],
        xticks=[0, 150, 300],
    )
    axes[2].legend(fontsize=8, loc="upper right", handlelength=1.2)
    return figure


@drawing
def flow_sde():
    """The probability flow and the reverse SDE from the same starts."""
    data = line_mixture(**LINE)
    starts = torch.randn(1000, 1, generator=dgm.seeded(0), dtype=torch.float64)
    starts[:16] = starts[:16].sort(0).values
    times = range(schedule.T, -1, -4)
    figure, axes = panels(1, 1, height=2.5, sharey=True)
    for ax, title, eta in zip(axes, ("probability flow", "reverse SDE"), (0.0, 1.0), strict=True):
        generator = dgm.seeded(1)
        states = [starts]
        for t, s in zip(times, times[1:], strict=False):
            x = states[-1]
            noise = (schedule.alpha_bar[s] / schedule.alpha_bar[t]).log()
            drift = x / 2 + (1 + eta**2) / 2 * data.diffused(schedule, t).score(x)
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            states.append(x + noise * drift + eta * noise.sqrt() * z)
        states = torch.stack(states)[:, :, 0]
        seen = slice(None, None, 5)
        ways_back(ax, states[seen], 1 - torch.tensor(times)[seen] / schedule.T, 16, data, title)
        ax.plot(1 - torch.tensor(times)[seen] / schedule.T, states[seen, 10], color=ORANGE)
    return figure
