"""What lab 3 says in words about the recorded bounds."""

import pytest
import torch

from dgm_helpers import results

SETS = ("generated", "dawnlike")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("variance", ("small", "large"))
def test_a_recorded_bound_is_the_sum_of_its_terms(name, variance):
    bound = results.load(f"elbo-sprites-{name}")[variance]
    assert len(bound["terms"]) == 1001
    assert sum(bound["terms"]) == pytest.approx(bound["bits_per_value"], rel=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_the_small_variance_gives_the_lower_bound(name):
    record = results.load(f"elbo-sprites-{name}")
    assert record["small"]["bits_per_value"] < record["large"]["bits_per_value"]


@pytest.mark.parametrize("name", SETS)
def test_most_of_the_bound_is_the_decoder_and_the_rest_is_not_at_the_faintest_noise(name):
    bound = results.load(f"elbo-sprites-{name}")["small"]
    first, *between, _ = bound["terms"]  # between[i] is L_{t-1} with t = i + 2
    assert 2 / 3 < first / bound["bits_per_value"] < 3 / 4
    assert 45 <= between.index(max(between)) + 2 <= 55
    assert sum(between[28:499]) > 0.85 * sum(between)  # t = 30 to 500


def test_between_distant_colours_the_network_rounds():
    generated, dawnlike = (results.load(f"elbo-sprites-{name}")["small"]["terms"] for name in SETS)
    assert max(dawnlike[1:11]) < 1e-8  # t = 2 to 11
    assert min(generated[1:11]) > 1e-4


def test_training_with_the_weights_of_the_bound_loses_at_every_noise_level():
    simple, weighted = (
        results.load(f"elbo-weighting-{name}")["small"] for name in ("simple", "elbo")
    )
    runs = [results.load(f"train-weighting-{name}") for name in ("simple", "elbo")]
    assert [run["settings"]["weighting"] for run in runs] == ["simple", "elbo"]
    assert runs[0]["steps"] == runs[1]["steps"]
    more = torch.tensor(weighted["pictures"]) - torch.tensor(simple["pictures"])
    assert more.mean() > 5 * more.std() / len(more) ** 0.5
    ratio = torch.tensor(weighted["terms"]) / torch.tensor(simple["terms"])
    assert (ratio[1:-1].unfold(0, 15, 1).mean(1) > 1).all()
