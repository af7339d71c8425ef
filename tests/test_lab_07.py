"""What lab 7 says in words about the recorded rows holds for the records, and two of its closed forms."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

from dgm_helpers import results
from dgm_helpers.arguments import seeded
from dgm_helpers.bound import elbo_terms, gaussian_kl, reverse_variances
from dgm_helpers.evaluation import copying
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.samplers import epsilon_scaled, sample_ddim, sample_es_ddpm
from dgm_helpers.schedules import NoiseSchedule, timesteps

ROOT = Path(__file__).parent.parent
STOPS = (50, 100, 150, 200, 300, 400, 600, 1000)
SCHEDULE = NoiseSchedule.linear()


def signs(one, other, n=2000):
    """For each feature set: + if the row one is closer to the data, - if the other is, . if that cannot be said."""
    said = results.verdict(one, other, n, 1000)
    return "".join({one: "+", other: "-", None: "."}[said[kind]] for kind in results.KINDS)


def test_from_a_weak_generator_early_stopping_is_ahead_of_badly_placed_steps_only():
    for proposer in ("vae", "pca"):
        for stop in STOPS:
            assert "+" not in signs(f"es-{proposer}-{stop}-ddim-20", "quadratic-ddim-20")
    for row in ("es-vae-600-ddim-20", "es-pca-600-ddim-20"):
        assert signs(row, "quadratic-ddim-20", 10_000) == ".-+"


def test_from_the_clusters_it_is_ahead_of_well_placed_steps_too():
    assert signs("es-clusters-200-ddim-20", "ddim-20") == "+++"
    for steps in (10, 20):
        assert signs(f"es-clusters-200-ddim-{steps}", "quadratic-ddim-20") == "+.+"
        assert signs(f"es-clusters-200-ddim-{steps}", "ddpm-1000") == "..."
    one, other = (
        results.load_row(row, 2000)["features"]["imagenet"]
        for row in ("es-clusters-200-ddim-20", "ddpm-1000")
    )
    error = math.hypot(one["kid_standard_error"], other["kid_standard_error"])
    assert other["kid"] - one["kid"] > 5 * error
    for stop in (100, 200):
        for steps in (50, 100):
            assert signs(f"es-clusters-{stop}-ddim-20", f"ddim-{steps}", 10_000) == "+++"
    assert signs("es-clusters-100-ddim-10", "quadratic-ddim-20", 10_000) == "+.+"
    assert signs("es-clusters-200-ddim-10", "quadratic-ddim-20", 10_000) == "+-+"
    for stop in (100, 150, 200, 300, 400):
        said = signs(f"es-clusters-{stop}-ddim-20", "quadratic-ddim-20")
        assert "+" in said and "-" not in said
    assert signs("es-clusters-600-ddim-20", "quadratic-ddim-20")[1] == "-"
    for stop in (100, 200):
        assert signs(f"es-clusters-{stop}-ddim-20", f"es-pca-{stop}-ddim-20") == ".++"


def test_the_clusters_alone_are_the_best_of_the_generators_and_not_enough():
    for kind in results.KINDS:
        distances = [
            results.estimate(results.load_row(f"es-{g}-0", 2000), kind)[0]
            for g in ("clusters", "vae", "pca")
        ]
        assert min(distances) == distances[0]
    assert signs("es-clusters-0", "ddim-20") == "..."
    for rival in ("quadratic-ddim-20", "ddim-100", "ddpm-100", "ddpm-1000"):
        assert signs("es-clusters-0", rival)[1] == "-"


def test_the_clusters_hand_out_no_copies():
    for stop in (100, 200):
        record = results.load(f"copies-sprites-generated-es-clusters-{stop}-ddim-20")
        share, below = copying(*(torch.tensor(record[key]) for key in ("samples", "held_out")))
        assert share < 0.5 and below < 0.05


def test_the_labs_compare_no_more_often_than_they_say():
    """Three signs in a cell of their tables, and three for each row that a price was asked of."""
    count = 0
    for name in ("06_fid", "07_early_stopping"):
        lab = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        outputs = [output for cell in lab["cells"] for output in cell.get("outputs", ())]
        tables = ["".join(o.get("data", {}).get("text/markdown", "")) for o in outputs]
        count += sum(3 * len(re.findall(r"\| [+−·](\s[+−·]){2} (?=\|)", t)) for t in tables)
    assert 500 < count + 3 * 40 <= 1000


def test_a_stop_that_is_too_small_spoils_the_result():
    for row in ("es-pca-50-ddim-20", "es-vae-50-ddim-20", "es-vae-100-ddim-20"):
        assert signs(row, "ddpm-1000") == "---"


def test_at_the_last_timestep_nothing_can_be_told_from_the_plain_sampler():
    for way in ("ddim-20", "ddpm-50"):
        for proposer in ("vae", "pca"):
            assert signs(f"es-{proposer}-1000-{way}", way) == "..."
    assert signs("es-clusters-1000-ddim-20", "ddim-20") == "..."


def test_in_between_early_stopping_is_ahead_of_uniform_ddim_for_one_set_and_behind_for_none():
    for proposer in ("vae", "pca"):
        for stop in (300, 400, 600):
            assert signs(f"es-{proposer}-{stop}-ddim-20", "ddim-20") == ".+."
    for row in ("es-pca-600-ddim-20", "es-vae-600-ddim-20"):
        assert signs(row, "ddim-20", 10_000) == ".++"
    assert signs("es-pca-400-ddim-20", "ddim-50", 10_000) == "..."


def test_against_ddpm_twenty_evaluations_save_less():
    for rival, said in {"ddpm-20": ".++", "ddpm-50": "...", "ddpm-100": ".-."}.items():
        assert signs("es-pca-600-ddim-20", rival, 10_000) == said


def test_with_more_evaluations_less_is_won():
    for proposer in ("vae", "pca"):
        for stop in STOPS:
            assert "+" not in signs(f"es-{proposer}-{stop}-ddpm-50", "ddpm-50")[::2]
    for row in ("es-vae-600-ddim-20", "es-pca-400-ddim-20", "es-pca-600-ddim-20"):
        assert "+" not in signs(row, "ddpm-100", 10_000)


@pytest.mark.parametrize("stop", (50, 100, 200))
def test_from_the_vae_the_published_algorithm_loses(stop):
    for sampler in ("ddpm", "ddim"):
        said = signs(f"es-vae-{stop}-ddpm-{stop}", f"{sampler}-{min(stop, 100)}")
        assert said in ("-.-", "---") if stop < 200 else "+" not in said and "-" in said


def test_from_the_clusters_the_published_algorithm_is_behind_nothing():
    for rival in ("ddpm-100", "ddpm-1000", "ddim-100", "quadratic-ddim-100"):
        assert "-" not in signs("es-clusters-50-ddpm-50", rival)
        ahead = "+.+" if rival.endswith("ddim-100") else "..."
        assert signs("es-clusters-100-ddpm-100", rival) == ahead


@pytest.mark.parametrize("way", ("ddim-20", "ddpm-50"))
def test_from_100_to_200_the_classifier_puts_the_gaussian_ahead_of_the_vae(way):
    said = [signs(f"es-vae-{stop}-{way}", f"es-pca-{stop}-{way}") for stop in STOPS]
    assert all(cell[0] == "-" for cell in said[1:4]) and said[-1] == "..."
    assert not any(cell[0] == "+" for cell in said)


def test_scaling_makes_no_difference_that_can_be_told():
    for steps in (20, 50, 100):
        plain, scaled = f"ddim-{steps}", f"scaled-1.005-ddim-{steps}"
        assert signs(scaled, plain) == "..."
        for kind in results.KINDS:
            distances = [
                results.load_row(row, 2000)["features"][kind]["fid"] for row in (plain, scaled)
            ]
            assert distances[0] < distances[1]


def test_a_shift_is_forgotten_as_the_chapter_says():
    a, v, shift = SCHEDULE.alpha_bar[:, None], 0.25, 0.5
    v_t = a * v + 1 - a
    kl = gaussian_kl(0 * a, v_t, a.sqrt() * shift, v_t)
    nodes = torch.linspace(-8, 8, 1601, dtype=torch.float64)

    def density(mean):
        return torch.exp(-((nodes - mean) ** 2) / (2 * v_t)) / (2 * math.pi * v_t).sqrt()

    tv = (density(0 * a) - density(a.sqrt() * shift)).abs().sum(1) * 0.01 / 2
    half = (a.sqrt() * shift / 2 / v_t.sqrt())[:, 0]
    assert torch.allclose(tv, torch.special.erf(half / math.sqrt(2)), atol=1e-5)
    assert (kl[1:] <= SCHEDULE.snr[1:] * shift**2 / 2).all()
    assert (tv <= (kl / 2).sqrt() + 1e-12).all() and (kl.diff() < 1e-12).all()


def test_one_long_round_or_two_short_ones_depends_on_the_stop():
    """c(200) < c(100)² for data of variance 0.25, and the other way round for narrow data."""

    def left(v, t):
        return v * SCHEDULE.alpha_bar[t] / (SCHEDULE.alpha_bar[t] * v + 1 - SCHEDULE.alpha_bar[t])

    assert left(0.25, 200) < left(0.25, 100) ** 2
    assert left(0.01, 200) > left(0.01, 100) ** 2


def test_the_recursion_of_the_trade_agrees_with_samples():
    v, mu, u, n = 0.01, 0.05, 0.02, 40_000
    ab, taus = SCHEDULE.alpha_bar, timesteps(100, 5).tolist()
    x_mean, x_var = ab[100].sqrt() * mu, ab[100] * u + 1 - ab[100]
    for t, s in zip(taus[:-1], taus[1:]):
        a_t, a_s = ab[t], ab[s]
        sigma2 = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        slope = (1 - a_t).sqrt() / (a_t * v + 1 - a_t)
        gain = (a_s / a_t).sqrt() * (1 - (1 - a_t).sqrt() * slope) + (
            1 - a_s - sigma2
        ).sqrt() * slope
        x_mean, x_var = gain * x_mean, gain**2 * x_var + sigma2
    drawn = mu + math.sqrt(u) * torch.randn(n, 1, generator=seeded(8), dtype=torch.float64)
    exact = GaussianMixture([1.0], [[0.0]], [v]).eps_model(SCHEDULE)
    x = sample_es_ddpm(exact, SCHEDULE, drawn, stop_at=100, steps=5, generator=seeded(9))
    assert abs(x.mean() - x_mean) < 4 * (x_var / n).sqrt()
    assert abs(x.var() / x_var - 1) < 4 * math.sqrt(2 / n)


def test_the_terms_above_the_stop_are_the_information_that_the_state_carries():
    few, v = NoiseSchedule.linear(50, 0.1 / 50, 20 / 50), 0.25
    a, beta = few.alpha_bar, few.beta
    v_t = a * v + 1 - a
    ratio = beta[1:] * v_t[:-1] / v_t[1:] / reverse_variances(few, "large")[1:]
    exact_steps = (ratio - 1 - ratio.log()) / 2
    gauss = GaussianMixture([1.0], [[0.0]], [v])
    x0 = gauss.sample(5_000, generator=seeded(6))
    eps_model = gauss.eps_model(few)
    terms = elbo_terms(eps_model, few, x0, generator=seeded(7), variance="large") * math.log(2)
    last = (v_t[50] - 1 - v_t[50].log()) / 2
    for stop in (5, 15, 30):
        above = terms[:, stop:].sum(1)
        known = torch.log(v_t[stop] / (1 - a[stop])) / 2  # I(x_0; x_T')
        right = known + last + exact_steps[stop:].sum()
        assert abs(above.mean() - right) < 4 * above.std() / math.sqrt(len(x0))


def test_scaling_gives_the_variance_back_that_long_steps_lose():
    v, b, ab = 0.25, 1.02, SCHEDULE.alpha_bar
    taus, x_var = timesteps(1000, 200).tolist(), 1.0
    for t, s in zip(taus[:-1], taus[1:]):
        slope = (1 - ab[t]).sqrt() / (ab[t] * v + 1 - ab[t]) / b
        gain = (ab[s] / ab[t]).sqrt() * (1 - (1 - ab[t]).sqrt() * slope) + (
            1 - ab[s]
        ).sqrt() * slope
        x_var = gain**2 * x_var
    model = epsilon_scaled(GaussianMixture([1.0], [[0.0]], [v]).eps_model(SCHEDULE), b)
    x_T = torch.randn(5_000, 1, generator=seeded(40), dtype=torch.float64)
    x = sample_ddim(model, SCHEDULE, x_T, steps=200)
    assert abs(x.var() / x_T.var() / x_var - 1) < 1e-3
