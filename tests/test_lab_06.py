"""What lab 6 says in words about the recorded distances, and a claim that its pictures rest on."""

import itertools
import math

import pytest
import torch

from dgm_helpers import results
from dgm_helpers.arguments import seeded
from dgm_helpers.evaluation import copying
from dgm_helpers.fid import fid_at_infinity, kid

COUNTS = (10, 20, 50, 100)
SWEEP = [f"{sampler}-{k}" for sampler in ("ddpm", "ddim") for k in COUNTS] + ["ddpm-1000"]
SIGNS = 1000  # in the tables of labs 6 and 7
ENOUGH = 4.06  # joint standard errors, for as many comparisons
NOTHING = dict.fromkeys((*results.KINDS, "all"))


def kid_difference(one, other, kind, n):
    """Of two rows, in joint standard errors."""
    rows = [results.load_row(row, n)["features"][kind] for row in (one, other)]
    error = math.hypot(*[row["kid_standard_error"] for row in rows])
    return (rows[0]["kid"] - rows[1]["kid"]) / error


def test_with_2000_pictures_only_one_pair_of_the_sweep_is_told_apart():
    for one, other in itertools.combinations(SWEEP, 2):
        if (one, other) != ("ddpm-10", "ddpm-1000"):
            assert results.verdict(one, other, 2000) == NOTHING, (one, other)
    said = results.verdict("ddpm-10", "ddpm-1000", 2000, SIGNS)
    assert said == {**NOTHING, "pca": "ddpm-1000"}


def test_five_steps_of_ddim_are_behind_twenty_in_the_components():
    assert results.verdict("ddim-5", "ddim-20", 2000, SIGNS) == {**NOTHING, "pca": "ddim-20"}


def test_with_10000_pictures_the_components_tell_10_from_20_steps():
    for one, other in (("ddpm-10", "ddpm-20"), ("ddim-10", "ddim-20"), ("ddpm-10", "ddim-10")):
        assert results.verdict(one, other, 10_000, SIGNS) == {**NOTHING, "pca": other}
    assert results.verdict("ddpm-20", "ddim-20", 10_000, SIGNS) == NOTHING
    assert results.verdict("ddpm-20", "ddim-20", 10_000) == {**NOTHING, "pca": "ddim-20"}
    for steps in (10, 20):
        assert kid_difference(f"ddpm-{steps}", f"ddim-{steps}", "pca", 10_000) > ENOUGH


def test_with_10000_pictures_and_more_steps_two_sets_contradict_each_other():
    for steps in (50, 100):
        one, other = f"ddpm-{steps}", f"ddim-{steps}"
        assert results.verdict(one, other, 10_000, SIGNS) == {**NOTHING, "imagenet": one}
    for sampler in ("ddpm", "ddim"):
        said = results.verdict(f"{sampler}-100", f"{sampler}-50", 10_000, SIGNS)
        assert said == NOTHING
    said = {"imagenet": "ddpm-20", "pca": "ddim-50"}
    assert results.verdict("ddpm-20", "ddim-50", 10_000, SIGNS) == {**NOTHING, **said}
    assert kid_difference("ddpm-20", "ddim-50", "imagenet", 10_000) < -ENOUGH
    assert kid_difference("ddpm-20", "ddim-50", "pca", 10_000) > ENOUGH
    assert kid_difference("ddpm-50", "ddim-50", "imagenet", 10_000) < -ENOUGH
    for one, other in itertools.combinations(SWEEP[:-1], 2):
        agreed = results.verdict(one, other, 10_000, SIGNS)["all"]
        assert agreed == ("ddpm-50" if (one, other) == ("ddpm-10", "ddpm-50") else None)


def test_of_the_samplers_of_lab_5_ddpm_has_the_smaller_distance_and_no_set_can_tell():
    floor, ddpm, ddim = (results.load_row(row, 2000) for row in ("real", "ddpm-1000", "ddim-50"))
    for kind in results.KINDS:
        (near, _, high), (far, low, _) = (results.estimate(row, kind) for row in (ddpm, ddim))
        assert near < far and low < high
        below = far - near < floor["features"][kind]["fid"]
        assert below == (kind != "classifier")
        assert abs(kid_difference("ddpm-1000", "ddim-50", kind, 2000)) < 1.96


@pytest.mark.parametrize("scale, behind", [(2, ()), (4, ("classifier", "pca"))])
def test_guidance_gains_nothing_and_a_large_scale_loses(scale, behind):
    said = results.verdict(f"guided-{scale}-ddim-20", "ddim-20", 2000, SIGNS)
    assert said == {**NOTHING, **dict.fromkeys(behind, "ddim-20")}


def test_guidance_makes_pictures_more_like_their_class():
    rows = (results.load_row(f"{scale}ddim-20", 2000) for scale in ("", "guided-2-", "guided-4-"))
    shares = [row["in_class"] for row in rows]
    assert shares == sorted(shares) and shares[-1] - shares[0] > 0.08


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_quadratic_steps_and_as_many_uniform_ones_cannot_be_told_apart(steps):
    assert results.verdict(f"quadratic-ddim-{steps}", f"ddim-{steps}", 2000) == NOTHING


def test_training_pictures_are_closer_than_ddim_in_two_sets():
    for steps in (10, 20, 50):
        said = results.verdict("train", f"ddim-{steps}", 2000, SIGNS)
        assert said == {**NOTHING, "imagenet": "train", "pca": "train"}


def test_training_pictures_and_ddpm_differ_by_less_than_the_floor_but_by_kid_they_are_told_apart():
    floor, train, ddpm = (results.load_row(row, 2000) for row in ("real", "train", "ddpm-1000"))
    for kind in results.KINDS:
        difference = results.estimate(ddpm, kind)[0] - results.estimate(train, kind)[0]
        assert 0 < difference < floor["features"][kind]["fid"]
    for sampler in ("ddpm-1000", "ddim-50"):
        assert kid_difference("train", sampler, "imagenet", 2000) < -ENOUGH


def test_every_sampler_lies_above_the_noise_floor_and_above_the_training_pictures():
    for n, levels in ((10_000, ["real"]), (2000, ["real", "train"])):
        rows = SWEEP if n == 2000 else SWEEP[:-1]
        for row, level in itertools.product(rows, levels):
            one, other = (results.load_row(name, n) for name in (row, level))
            for kind in results.KINDS:
                assert results.estimate(one, kind)[0] > results.estimate(other, kind)[0]


@pytest.mark.parametrize("n, low, high", [(2000, 1 / 3, 3 / 5), (10_000, 0, 0.22)])
def test_in_two_sets_2000_pictures_have_a_floor_of_half_the_distance_10000_a_fifth(n, low, high):
    floor = results.load_row("real", n)["features"]
    for row in (f"{sampler}-{k}" for sampler in ("ddpm", "ddim") for k in COUNTS):
        for kind in ("imagenet", "pca"):
            distance = results.estimate(results.load_row(row, n), kind)[0]
            assert low < floor[kind]["fid"] / distance < high


def test_splits_and_dimensions_are_those_the_lab_names():
    features = results.load_row("ddim-100", 2000)["features"]
    found = {kind: (values["dimensions"], values["splits"]) for kind, values in features.items()}
    assert found == {"classifier": (64, 50), "imagenet": (1280, 10), "pca": (64, 50)}


def test_fresh_pictures_are_at_distance_0_at_infinity_where_2000_are_many_against_the_features():
    """The line through 2,000 and 10,000 pictures; for EfficientNet with its 1,280 features it misses 0."""
    for kind in results.KINDS:
        floors = [results.load_row("real", n)["features"][kind] for n in (2000, 10_000)]
        distances, spreads = ([floor[key] for floor in floors] for key in ("fid", "spread"))
        distance, error = fid_at_infinity((2000, 10_000), distances, spreads)
        assert abs(distance) < 2 * error if kind != "imagenet" else distance > 3 * error


def test_a_network_that_saw_few_pictures_copies_and_one_that_saw_many_does_not():
    share, tail = {}, {}
    for name in ("distinct-100", "distinct-3576", "sprites-generated"):
        record = results.load(f"copies-{name}")
        distances = (torch.tensor(record[key]) for key in ("samples", "held_out"))
        share[name], tail[name] = copying(*distances)
    assert share["distinct-100"] > 0.9 and tail["distinct-100"] > 0.5
    for name in ("distinct-3576", "sprites-generated"):
        assert share[name] < 0.2 and tail[name] < 0.005


def test_the_kernel_sees_the_first_three_moments():
    x, y = (torch.randn(n, 4, generator=seeded(n), dtype=torch.float64) for n in (6, 5))
    y = y + 0.3
    k = [((a @ b.T / 4 + 1) ** 3).mean() for a, b in ((x, x), (y, y), (x, y))]
    by_moments = 0.0
    for order, what in enumerate(("ni->i", "ni,nj->ij", "ni,nj,nk->ijk"), 1):
        one, other = (torch.einsum(what, *[z] * order) / len(z) for z in (x, y))
        by_moments += math.comb(3, order) * 4.0**-order * (one - other).square().sum().item()
    assert math.isclose((k[0] + k[1] - 2 * k[2]).item(), by_moments, rel_tol=1e-9)


def test_kid_of_equal_laws_is_0_in_the_mean():
    g = seeded(1)
    pairs = [torch.randn(2, 60, 10, generator=g, dtype=torch.float64) for _ in range(100)]
    values = torch.tensor([kid(x, y, features=None)[0] for x, y in pairs])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
