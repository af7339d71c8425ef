"""The checks of finished work: right work passes, and what is missing or wrong is named."""

import math
from inspect import signature

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import dgm_helpers as dgm
from dgm_helpers import work
from dgm_helpers.fid import frechet_distance
from dgm_helpers.networks import UNet

MIXTURE = dgm.GaussianMixture.from_student_number(810_100_007)
LINE = torch.linspace(-9, 9, 15, dtype=torch.float64)
GRID = torch.cartesian_prod(LINE, LINE)


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def refused(message, check, *work):
    with pytest.raises(AssertionError, match=message):
        check(*work)


def panels(n):
    axes = [Figure().add_subplot() for _ in range(n)]
    for ax in axes:
        ax.set(title="one", xlabel="x", ylabel="y")
    return axes if n > 1 else axes[0]


def field(score, x=GRID, n=1):
    axes = panels(n)
    for ax in axes if n > 1 else [axes]:
        ax.quiver(*x.T, *score(x).T)
    return axes


def test_a_training_run(capsys):
    ema = dgm.load_pretrained("sprites-generated")
    losses = [0.1 + 0.9 * math.exp(-i / 20) for i in range(192)]

    def curve(values, first=1):
        ax = panels(1)
        ax.semilogy(range(first, first + len(values)), values)
        return ax

    for first in (0, 1):
        work.check_training_run(ema, losses, curve(losses, first))
    assert "192 steps" in capsys.readouterr().out
    bare = Figure().add_subplot()
    bare.plot(losses)
    untrained = UNet(channels=(8, 8, 8))
    for message, answer in (
        ("losses must be a list of numbers.*got Tensor", (ema, torch.zeros(192), bare)),
        ("at least 150 steps, got 10", (ema, losses[:10], curve(losses))),
        ("costs about 1, yours 0.10", (ema, [0.1] * 192, curve(losses))),
        ("should fall below 0.3", (ema, [1.0] * 192, curve(losses))),
        ("ema must be the average network, got list", ([], losses, curve(losses))),
        (r"costs 1\.\d+ on 100 pictures", (untrained, losses, curve(losses))),
        ("needs a label at each axis", (ema, losses, bare)),
        ("the axes must be those", (ema, losses, None)),
        ("is not losses against the step", (ema, losses, curve(losses[::-1]))),
    ):
        refused(message, work.check_training_run, *answer)


def test_fifty_pictures(capsys):
    pictures = dgm.load_sprites("generated").tensors()[0][::80][:50].clone()
    figure = dgm.plot_samples(pictures)
    work.check_ddpm_pictures(pictures, figure)
    noise = torch.randn(50, 3, 16, 16, generator=dgm.seeded(0))
    for message, answer in (
        ("the shape \\(50, 3, 16, 16\\), got Tensor \\(10, ", (pictures[:10], figure)),
        ("hold NaN", (pictures * math.nan, figure)),
        ("yours reaches .*run to t = 0", (noise, figure)),
        ("is white, its border is 1; yours is", (noise.tanh() / 2, figure)),
        ("two of the pictures are the same", (pictures[9:10].expand(50, -1, -1, -1), figure)),
        ("what dgm.plot_samples returns, got NoneType", (pictures, None)),
        ("does not show fifty", (pictures, dgm.plot_samples(pictures[:10]))),
    ):
        refused(message, work.check_ddpm_pictures, *answer)

    refused("start decides", work.check_ddim_pictures, pictures, figure)
    schedule, network = dgm.NoiseSchedule.linear(), dgm.load_pretrained("sprites-generated")
    eps_model = dgm.clipped(network.for_labels(torch.zeros(5, dtype=torch.int64)), schedule)
    x_T = torch.randn(50, 3, 16, 16, generator=dgm.seeded(2))[:5]
    pictures[:5] = dgm.sample_ddim(eps_model, schedule, x_T, steps=50)
    work.check_ddim_pictures(pictures, figure)
    assert capsys.readouterr().out == "fifty pictures by DDPM\nfifty pictures by DDIM\n"


def test_timings():
    right = {"DDPM": (250, 20.0), "DDIM": (50, 4.2)}
    work.check_timings(right)
    work.check_timings(right | {"DDPM": (1000, 79)})
    for message, answer in (
        ("the keys .DDPM. and .DDIM., got None", None),
        ("evaluations and seconds, got 40.0", right | {"DDPM": 40.0}),
        ("evaluations and seconds, got .*0.0", right | {"DDIM": (50, 0.0)}),
        ("DDIM has 50 steps here, got 20", right | {"DDIM": (20, 2.0)}),
        ("250 or 1,000 evaluations here, got 50", right | {"DDPM": (50, 4.0)}),
        ("cannot take 8.4e-08", right | {"DDIM": (50, 4.2e-6)}),
        ("is all of a run measured", right | {"DDPM": (250, 4.0)}),
    ):
        refused(message, work.check_timings, answer)


def test_distances_of_both():
    g = dgm.seeded(0)
    real, one, two = torch.randn(3, 40, 5, generator=g, dtype=torch.float64)
    fakes = {"one": one, "two": two + 1}

    def distance(x, y):
        return frechet_distance(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())

    right = {name: distance(real, fake) for name, fake in fakes.items()}
    work.check_both_distances(right, real, fakes)
    for message, answer in (
        ("with the keys .*'one', 'two'", {"one": 1.0}),
        ("one: the distance must be a number, got None", right | {"one": None}),
        ("two: got .*, expected .*means and covariances", right | {"two": right["one"]}),
    ):
        refused(message, work.check_both_distances, answer, real, fakes)


def test_the_field_of_the_mixture():
    work.check_mixture_field(field(MIXTURE.score), MIXTURE)
    work.check_mixture_field(
        field(lambda x: torch.nn.functional.normalize(MIXTURE.score(x))), MIXTURE
    )
    unnamed = Figure().add_subplot()
    unnamed.quiver(*GRID.T, *MIXTURE.score(GRID).T)
    for message, ax in (
        ("no arrows are drawn", panels(1)),
        ("needs a label at each axis", unnamed),
        ("at least 49 arrows, over both modes", field(MIXTURE.score, GRID / 4)),
        ("at least 49 arrows", field(MIXTURE.score, GRID[:9])),
        ("arrows do not point along", field(lambda x: -MIXTURE.score(x))),
        ("arrows do not point along", field(lambda x: MIXTURE.score(x, 7.0))),
        ("arrows do not point along", field(lambda x: 0 * x)),
    ):
        refused(message, work.check_mixture_field, ax, MIXTURE)


def test_learned_fields():
    nets = {
        sigma: lambda x, sigma=sigma: MIXTURE.score(x.double(), sigma).float()
        for sigma in (1.0, 3.0, 7.0)
    }

    def drawn(nets):
        axes = panels(3)
        for ax, net in zip(axes, nets.values()):
            ax.quiver(*GRID.T, *net(GRID.float()).T)
        return axes

    work.check_learned_fields(nets, drawn(nets), MIXTURE)
    work.check_learned_fields(nets | {0.5: None}, np.array(drawn(nets)), MIXTURE)
    wrong = nets | {3.0: nets[7.0]}
    for message, answer in (
        ("with the keys 1.0, 3.0 and 7.0", ({1.0: nets[1.0]}, drawn(nets))),
        ("sigma = 3: .*the network is .*% wrong", (wrong, drawn(wrong))),
        ("3 panels are needed, got 1", (nets, drawn(nets)[0])),
        ("sigma = 3: .*do not point along", (nets, drawn(wrong))),
    ):
        refused(message, work.check_learned_fields, *answer, MIXTURE)
    untitled = drawn(nets)
    untitled[1].set_title("")
    refused("panel 2 needs a title", work.check_learned_fields, nets, untitled, MIXTURE)


def test_paths_and_ends_of_langevin_dynamics():
    starts = torch.tensor([[-8.0, 2.0], [-3.0, -8.5], [1.5, 0.5], [8.5, 0.0]]).double()
    options = {"step_size": 0.1, "steps": 300, "trajectory": True}
    paths = {
        "without noise": dgm.gradient_ascent(MIXTURE.score, starts, **options),
        "Langevin": dgm.langevin(MIXTURE.score, starts, **options, generator=dgm.seeded(4)),
    }

    def drawn(paths):
        axes = panels(2)
        for ax, path in zip(axes, paths.values()):
            for i in range(path.shape[1]):
                ax.plot(*path[:, i].T)
        return axes

    check, axes = work.check_langevin_paths, drawn(paths)
    check(paths, axes, MIXTURE)
    still, noisy = paths.values()
    for message, answer, where in (
        ("with the keys .*in this order", {"Langevin": noisy}, axes),
        ("without noise: .*needs \\(steps \\+ 1", paths | {"without noise": still[:50]}, axes),
        ("the same starts", paths | {"Langevin": noisy[10:]}, axes),
        ("without noise the ends are modes", paths | {"without noise": noisy}, axes),
        ("the last steps do not move", paths | {"Langevin": still}, axes),
        ("without noise: its panel does not show", paths, axes[::-1]),
        ("Langevin: its panel does not show", paths, [axes[0], panels(1)]),
    ):
        refused(message, check, answer, where, MIXTURE)

    ends = panels(2)
    ends[0].scatter(*still[-1].T)
    ends[1].plot(*noisy[-1][:2].T, "o")
    refused("Langevin: .*all ends", work.check_langevin_scatter, ends, still[-1], noisy[-1])
    ends[1].scatter(*noisy[-1][2:].T)
    work.check_langevin_scatter(ends, still[-1], noisy[-1])


def test_fields_at_several_levels():
    def score(x, sigma):
        return MIXTURE.score(x.double(), sigma).float()

    def drawn(levels):
        axes = panels(len(levels))
        for ax, sigma in zip(axes, levels):
            ax.quiver(*GRID.T, *score(GRID, sigma).T)
        return axes

    check = work.check_conditional_fields
    check(drawn([20.0, 7.0, 1.0]), [20.0, 7.0, 1.0], score)
    refused("must be a list of levels", check, drawn([20.0, 7.0, 1.0]), None, score)
    refused("at least three levels", check, drawn([7.0, 3.0, 1.0]), [7.0, 3.0, 1.0], score)
    refused("sigma = 7: .*do not", check, drawn([20.0, 1.0, 1.0]), [20.0, 7.0, 1.0], score)


@pytest.mark.parametrize("number", range(810_100_000, 810_100_060))
def test_plain_against_annealed_for_every_number(number):
    mixture = dgm.GaussianMixture.from_student_number(number)
    equal = dgm.GaussianMixture([0.5, 0.5], mixture.means, mixture.variances)
    samples = {}
    for i, score in enumerate(("exact", "learned")):
        for kind, law in (("plain", equal), ("annealed", mixture)):
            g = dgm.seeded(number + 10 * i)
            x = law.sample(1000, generator=g)
            noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
            samples[kind, score] = (x + noise).float()

    def drawn(samples):
        axes = panels(4)
        for ax, x in zip(axes, samples.values()):
            ax.scatter(*x.T)
        return axes

    axes, check = drawn(samples), work.check_annealed_samples
    check(samples, axes, mixture)
    if number % 20:
        return
    swapped = samples | {("annealed", "exact"): samples["plain", "exact"]}
    wide = samples | {("plain", "learned"): 2 * samples["plain", "learned"]}
    for message, answer, where in (
        ("with the keys", {}, axes),
        ("1,000 points of the plane", samples | {("plain", "exact"): None}, axes),
        ("that is v \\+ 1", wide, axes),
        ("of the annealed ones; its weight is", swapped, axes),
        ("does not show all ends", samples, axes[::-1]),
    ):
        refused(message, check, answer, where, mixture)


def test_every_check_says_what_is_wrong_with_any_work():
    checks = {name: check for name, check in vars(work).items() if name.startswith("check_")}
    assert len(checks) == 11
    for check in checks.values():
        for value in (None, 3, "text", [], {}, torch.zeros(3), math.nan):
            others = {"mixture": MIXTURE, "score": MIXTURE.score, "real": None, "fakes": {"a": 1}}
            work_ = [others.get(name, value) for name in signature(check).parameters]
            with pytest.raises(AssertionError) as caught:
                check(*work_)
            assert len(str(caught.value)) < 600
