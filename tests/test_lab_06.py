"""What lab 6 says in words about the recorded distances, and a claim that its pictures rest on."""

import math

import pytest
import torch

from dgm_helpers import results
from dgm_helpers.arguments import seeded
from dgm_helpers.evaluation import copying
from dgm_helpers.fid import fid_at_infinity, kid

COUNTS = {10_000: (10, 20, 50, 100), 2000: (10, 20, 50, 100, 1000)}


SIGNS = 1000  # in the tables of labs 6 and 7


@pytest.mark.parametrize("other", ["ddpm-10", "ddim-20"])
def test_an_ordering_is_claimed_where_all_feature_sets_agree(other):
    assert results.verdict("ddpm-100", other, 10_000, SIGNS)["all"] == "ddpm-100"


@pytest.mark.parametrize("n", COUNTS)
def test_between_the_samplers_with_equal_steps_no_ordering_may_be_claimed(n):
    for steps in COUNTS[n]:
        assert results.verdict(f"ddpm-{steps}", f"ddim-{steps}", n)["all"] is None


def test_the_feature_sets_contradict_each_other():
    said = results.verdict("ddpm-100", "ddim-100", 10_000, SIGNS)
    assert said == {
        "classifier": "ddpm-100",
        "imagenet": "ddim-100",
        "pca": "ddpm-100",
        "all": None,
    }
    for steps in (20, 50):
        ahead = results.verdict(f"ddpm-{steps}", f"ddim-{steps}", 10_000, SIGNS)
        assert ahead["imagenet"] == f"ddim-{steps}" and ahead["classifier"] is None
        assert ahead["pca"] is None


def test_guidance_gains_nothing_and_a_large_scale_loses():
    plain = "ddim-20"
    assert set(results.verdict("guided-2-ddim-20", plain, 2000, SIGNS).values()) == {None}
    said = results.verdict("guided-4-ddim-20", plain, 2000, SIGNS)
    assert said == {"classifier": None, "imagenet": plain, "pca": plain, "all": None}


def test_quadratic_steps_are_ahead_of_as_many_uniform_ones_in_one_set():
    for n in (2000, 10_000):
        said = results.verdict("quadratic-ddim-20", "ddim-20", n, SIGNS)
        ahead = "quadratic-ddim-20"
        assert said == {"classifier": None, "imagenet": ahead, "pca": None, "all": None}


def test_the_samplers_of_lab_5_are_told_apart_by_the_classifier_and_only_one_by_one():
    said = results.verdict("ddpm-1000", "ddim-50", 2000)
    assert said == {"classifier": "ddpm-1000", "imagenet": None, "pca": None, "all": None}
    assert set(results.verdict("ddpm-1000", "ddim-50", 2000, SIGNS).values()) == {None}


def test_training_pictures_are_closer_than_the_samplers():
    for steps in COUNTS[2000]:
        said = results.verdict("train", f"ddim-{steps}", 2000, SIGNS)
        assert said == {"classifier": None, "imagenet": "train", "pca": "train", "all": None}
    said = results.verdict("train", "ddpm-1000", 2000, SIGNS)
    assert said == {"classifier": None, "imagenet": "train", "pca": None, "all": None}


@pytest.mark.parametrize("n", COUNTS)
def test_every_sampler_lies_above_the_noise_floor(n):
    floor = results.load_row("real", n)
    for sampler in ("ddpm", "ddim"):
        for steps in COUNTS[n]:
            row = results.load_row(f"{sampler}-{steps}", n)
            for kind in results.KINDS:
                assert results.estimate(row, kind)[1] > floor["features"][kind]["fid"]


def test_by_kid_the_sets_contradict_each_other_from_20_steps_on():
    for steps in (20, 50, 100):
        one, other = (
            results.load_row(f"{sampler}-{steps}", 10_000)["features"]
            for sampler in ("ddpm", "ddim")
        )
        for kind, sign in {"classifier": -1, "imagenet": 1, "pca": -1}.items():
            error = math.hypot(*[row[kind]["kid_standard_error"] for row in (one, other)])
            assert sign * (one[kind]["kid"] - other[kind]["kid"]) > 3 * error


def test_resamples_and_dimensions_are_those_the_lab_names():
    features = results.load_row("ddim-100", 2000)["features"]
    found = {kind: (values["dimensions"], values["resamples"]) for kind, values in features.items()}
    assert found == {"classifier": (64, 200), "imagenet": (1280, 40), "pca": (64, 200)}
    different = 2000 * (1 - (1 - 1 / 2000) ** 2000)
    assert round(different) == 1264


def test_fresh_pictures_are_at_distance_0_at_infinity_where_2000_are_many_against_the_features():
    """The line through 2,000 and 10,000 pictures; for EfficientNet with its 1,280 features it misses 0."""
    for kind in results.KINDS:
        floors = [results.load_row("real", n)["features"][kind] for n in (2000, 10_000)]
        distances, spreads = ([floor[key] for floor in floors] for key in ("fid", "spread"))
        distance, error = fid_at_infinity((2000, 10_000), distances, spreads)
        assert abs(distance) < 2 * error if kind != "imagenet" else distance > 4 * error


def test_a_network_that_saw_few_pictures_copies_and_the_same_one_on_many_does_not():
    share = {}
    for name in ("distinct-100", "distinct-3576", "sprites-generated"):
        record = results.load(f"copies-{name}")
        distances = (torch.tensor(record[key]) for key in ("samples", "held_out"))
        share[name], _ = copying(*distances)
    assert share["distinct-100"] > 0.9
    assert max(share["distinct-3576"], share["sprites-generated"]) < 0.2


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
