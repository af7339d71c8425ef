"""Drawings of the chapter that sees both halves as one."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing
from .movable_data import LINE, SCHEDULE

schedule = dgm.NoiseSchedule.linear(*SCHEDULE.values())  # T, beta_1 and beta_T
T, a = schedule.T, schedule.alpha_bar
level = ((1 - a) / a).sqrt()  # lambda_t
data = dgm.GaussianMixture(LINE["weights"], [[m] for m in LINE["means"]], LINE["variances"])


def states(x, times, step, seed):
    """The walk of the step function through the times, the start included, as a list of (t, x)."""
    chain = dgm.reverse_process(
        data.eps_model(schedule), schedule, x, times, step, generator=dgm.seeded(seed)
    )
    return [(times[0], x), *((s.t, s.x) for s in chain)]


def heun_states(x, times):
    """Heun's method in u and lambda, shown in x and t, and its trial points."""
    u, walk, trials = x / a[times[0]].sqrt(), [(times[0], x)], []
    for t, s in zip(times, times[1:], strict=False):
        h = level[s] - level[t]
        first = -level[t] * data.score(u, level[t].item())
        trial = u + h * first
        if s > 0:  # the last step is Euler's
            second = -level[s] * data.score(trial, level[s].item())
            trials.append((s, a[s].sqrt() * trial))
            u = u + h / 2 * (first + second)
        else:
            u = trial
        walk.append((s, a[s].sqrt() * u))
    return walk, trials


def langevin_states(x, times, steps, ratio, width, seed):
    """Langevin steps at each level in turn, shown in x and t; the steps of a level are spread over a little of t."""
    walk, u, generator = [], x / a[times[0]].sqrt(), dgm.seeded(seed)
    for t in times:
        sigma = level[t].item()
        path = dgm.langevin(
            lambda u, sigma=sigma: data.score(u, sigma),
            u,
            step_size=ratio * sigma**2,
            steps=steps,
            generator=generator,
            trajectory=True,
        )
        walk += [(t + width * (0.5 - i / steps), a[t].sqrt() * path[i]) for i in range(steps + 1)]
        u = path[-1]
    return walk


TOP = 3.2  # of the panels


def show(ax, walk, title, markers=True):
    x = torch.linspace(-TOP, TOP, 129, dtype=torch.float64)[:, None]
    picture = torch.stack(
        [data.diffused(schedule, t).log_prob(x).exp() for t in range(T, -1, -10)], 1
    )
    shade = torch.tensor([138, 143, 152]).expand(*picture.shape, 3) / 255
    rgb = torch.cat([shade, 0.5 * (picture / picture.amax(0))[..., None]], 2)
    ax.imshow(rgb, extent=(0, 1, -TOP, TOP), origin="lower", aspect="auto", interpolation="none")
    times = [1 - float(t) / T for t, _ in walk]
    paths = torch.stack([x for _, x in walk])[:, :, 0]
    for path, color in zip(paths.T, (BLUE, ORANGE), strict=True):
        ax.plot(
            times,
            path,
            "-o" if markers else "-",
            color=color,
            markersize=2.6,
            linewidth=1.1 if markers else 0.8,
        )
        ax.plot(
            times[0], path[0], "o", color=color, markersize=5, markerfacecolor="none", clip_on=False
        )
        ax.plot(times[-1], path[-1], "o", color=color, markersize=5, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(-TOP, TOP), yticks=[], xticks=[])
    ax.text(0, -1.2 * TOP, "noise", fontsize=9.5, color=GREY)
    ax.text(1, -1.2 * TOP, "data", fontsize=9.5, color=GREY, ha="right")
    ax.set_title(title, fontsize=10.5, loc="left", pad=3)
    ax.spines[:].set_visible(False)


@drawing
def sampler_map():
    """The samplers of the book on one mixture: sideways goes the flow, up and down go Langevin steps."""
    figure = plt.figure(figsize=(6.7, 5.75))
    start = torch.tensor([[1.3], [-0.4]], dtype=torch.float64)
    rows = (
        r"Reverse SDE, $\eta = 1$: each step is a piece of the flow and one Langevin step",
        r"Probability flow, $\eta = 0$: each step is a piece of the flow and nothing else",
        "No flow: many Langevin steps, until the points have caught up with the density",
    )
    axes = []
    for i, text in enumerate(rows):
        top = 0.97 - 0.333 * i
        figure.text(0.012, top, text, fontsize=10.5)
        axes += [figure.add_axes((left, top - 0.262, 0.455, 0.208)) for left in (0.02, 0.525)]
    stop = 400
    proposal = data.mean + data.covariance.sqrt() * torch.tensor(
        [[1.3], [-0.9]], dtype=torch.float64
    )
    noise = torch.randn(2, 1, generator=dgm.seeded(4), dtype=torch.float64)
    noised = dgm.perturb_input(schedule, proposal, stop, noise)
    show(
        axes[0],
        states(start, dgm.timesteps(T, 20).tolist(), dgm.ddpm_step, 2),
        r"DDPM; DDIM with $\eta$ = 1",
    )
    show(
        axes[1],
        states(noised, list(range(stop, -1, -50)), dgm.ddpm_step, 6),
        "early stopping: enters on the way",
    )
    axes[1].axvline(1 - stop / T, color=GREY, linewidth=1, linestyle="--")
    axes[1].text(
        0.98 - stop / T,
        -2.0,
        "noised proposals\nof another generator",
        ha="right",
        va="center",
        fontsize=9.5,
        color=INK,
    )
    show(
        axes[2],
        states(start, dgm.timesteps(T, 10).tolist(), dgm.ddim_step, 0),
        r"DDIM, $\eta$ = 0: Euler's steps",
    )
    walk, trials = heun_states(start, dgm.timesteps(T, 5).tolist())
    show(axes[3], walk, "Heun: a trial step first (hollow)")
    for (t, x), (s, trial) in zip(walk, trials, strict=False):
        for j, color in enumerate((BLUE, ORANGE)):
            axes[3].plot(
                [1 - t / T, 1 - s / T], [x[j, 0], trial[j, 0]], ":", color=color, linewidth=1
            )
            axes[3].plot(
                1 - s / T, trial[j, 0], "s", color=color, markersize=3.5, markerfacecolor="none"
            )
    wanted = torch.logspace(2, -0.8, 17, dtype=torch.float64)
    ladder = (level[:, None] - wanted).abs().argmin(0).tolist()
    annealed = langevin_states(start, ladder, 10, 0.25, 36, 1)
    show(axes[4], annealed, "annealed Langevin: level after level", markers=False)
    one = langevin_states(start, ladder[-1:], 150, 0.2, 90, 3)
    show(axes[5], one, "Langevin: one level only", markers=False)
    return figure


@drawing
def noise_or_flow():
    """One density widened by noise, and the same widening by moving the points down its slope."""
    sigma, share = 0.3, torch.linspace(0.02, 0.98, 15, dtype=torch.float64)
    grid = torch.linspace(-2.4, 2.4, 961, dtype=torch.float64)
    before, after = (data.log_prob(grid[:, None], s).exp() for s in (0.0, sigma))

    def quantiles(p):
        distribution = p.cumsum(0) / p.sum()
        return grid[torch.searchsorted(distribution, share)]

    points, moved = quantiles(before), quantiles(after)
    figure, ax = canvas(6.7, 2.75)
    for left, title in ((0.1, "spread by noise"), (3.5, r"carried along $-\nabla\log q$")):
        at = lambda x, left=left: left + 1.55 + 0.64 * x  # noqa: E731
        ax.fill_between(at(grid), 1.15, 1.15 + 0.78 * before, color=GREY, alpha=0.4, linewidth=0)
        ax.plot(at(grid), 1.15 + 0.78 * after, color=ORANGE)
        ax.plot(at(grid[[0, -1]]), [1.15, 1.15], color=INK, linewidth=0.8)
        ax.text(left + 1.55, 0.08, title, ha="center", fontsize=11)
        for i, (x, y) in enumerate(zip(points.tolist(), moved.tolist(), strict=True)):
            height = 0.95 - 0.115 * (i % 5)
            ends = (x - sigma, x + sigma) if left < 1 else (y,)
            for end in ends:
                arrow(ax, (at(x), height), (at(end), height), BLUE, mutation_scale=6, linewidth=1)
            ax.plot(at(x), height, "o", color=INK, markersize=2.8)
    ax.text(0.12, 2.45, "before", color=GREY, fontsize=10)
    ax.text(0.12, 2.2, "after", color=ORANGE, fontsize=10)
    return figure
