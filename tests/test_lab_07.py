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
from dgm_helpers.evaluation import CLUSTERS, copying
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.networks import PCAGaussian
from dgm_helpers.samplers import epsilon_scaled, sample_ddim, sample_es_ddpm
from dgm_helpers.schedules import SPACINGS, NoiseSchedule, timesteps
from dgm_helpers.sprites import load_sprites, split_by_group

ROOT = Path(__file__).parent.parent
STOPS = (50, 100, 150, 200, 300, 400, 600, 1000)
SCHEDULE = NoiseSchedule.linear()


def signs(one, other, n=2000):
    """For each feature set: + if the row one is closer to the data, - if the other is, . if that cannot be said."""
    said = results.verdict(one, other, n, 1000)
    return "".join({one: "+", other: "-", None: "."}[said[kind]] for kind in results.KINDS)


def distances(row):
    """The distances of a row with 2,000 pictures, in the order of the signs."""
    return [results.estimate(results.load_row(row, 2000), kind)[0] for kind in results.KINDS]


def kid_leads(one, other):
    """By how many joint standard errors KID puts the row one ahead, in the order of the signs."""
    found = [results.load_row(row, 2000)["features"] for row in (one, other)]
    pairs = [[features[kind] for features in found] for kind in results.KINDS]
    joint = [math.hypot(x["kid_standard_error"], y["kid_standard_error"]) for x, y in pairs]
    return [(y["kid"] - x["kid"]) / error for (x, y), error in zip(pairs, joint)]


def test_ten_evaluations_are_enough_for_all_but_ddpm():
    for sampler in ("ddim", "quadratic-ddim", "multistep", "es-vae-600-ddim", "es-pca-600-ddim"):
        for steps in (10, 20):
            assert signs("ddpm-1000", f"{sampler}-{steps}") == "..."
    plain = [f"{sampler}-{k}" for sampler in ("ddim", "quadratic-ddim", "ddpm") for k in (50, 100)]
    for row in ("ddpm-20", *plain):
        assert signs("ddpm-1000", row) == "..."
    assert signs("ddpm-1000", "ddpm-10") == "..+"
    assert [signs("ddpm-1000", f"karras-ddim-{steps}") for steps in (10, 20)] == [".++", "..."]


def test_that_two_samplers_cannot_be_told_apart_does_not_make_them_equal():
    assert signs("ddpm-1000", "ddim-5")[0] == "."
    assert 3.7 < distances("ddim-5")[0] / distances("ddpm-1000")[0] < 4
    leads = kid_leads("ddpm-1000", "ddim-10")
    assert [round(lead, 1) for lead in leads[::2]] == [2.3, 2.3]
    assert all(0 < lead < 1 for lead in kid_leads("es-clusters-400-ddim-10", "ddpm-1000")[::2])


def test_from_a_weak_generator_early_stopping_is_ahead_nowhere():
    for proposer in ("vae", "pca"):
        for stop in STOPS:
            for rival in ("ddim-20", "quadratic-ddim-20", "ddpm-1000"):
                assert "+" not in signs(f"es-{proposer}-{stop}-ddim-20", rival)
        for rival in ("ddim-20", "quadratic-ddim-20"):
            assert signs(f"es-{proposer}-600-ddim-20", rival) == "..."


def test_a_stop_that_is_too_small_spoils_the_result():
    for stop in (50, 100, 150, 200, 300, 400):
        assert signs(f"es-vae-{stop}-ddim-20", "ddpm-1000") == "---"
        said = signs(f"es-pca-{stop}-ddim-20", "ddpm-1000")
        assert said == ("---" if stop == 50 else ".-.")
        if stop < 400:
            assert signs(f"es-vae-{stop}-ddim-20", "ddim-20") == "---"
            assert signs(f"es-pca-{stop}-ddim-20", "ddim-20")[1] == "-"
    for stop in (50, 100):
        assert signs(f"es-clusters-{stop}-ddim-20", "ddim-20") == ".-."


def test_from_the_clusters_the_distances_are_smaller_and_the_signs_are_silent():
    classifier, components = [], []
    for stop in (150, 200, 300, 400):
        row = f"es-clusters-{stop}-ddim-20"
        for rival in ("ddim-20", "quadratic-ddim-20", "ddpm-1000"):
            assert signs(row, rival) == "..."
            smaller = [x < y for x, y in zip(distances(row), distances(rival))]
            assert smaller[0] and smaller[2]
        leads = kid_leads(row, "ddim-20")
        classifier.append(round(leads[0], 1))
        components.append(round(leads[2], 1))
    assert (min(classifier), max(classifier)) == (2.4, 3.1)
    assert (min(components), max(components)) == (1.7, 2.4)
    assert round(kid_leads("es-clusters-150-ddim-20", "ddim-20")[1], 1) == -3.3
    assert abs(kid_leads("es-clusters-400-ddim-20", "ddim-20")[1]) < 0.1
    for stop in STOPS:
        assert "-" not in signs(f"es-clusters-{stop}-ddim-20", "quadratic-ddim-20")
        if stop > 100:
            assert "-" not in signs(f"es-clusters-{stop}-ddim-20", "ddim-20")


def test_taken_alone_the_classifier_puts_the_clusters_ahead_of_ddim():
    row, leads = "es-clusters-400-ddim-20", []
    rivals = [f"{s}-{steps}" for s in ("ddim", "quadratic-ddim") for steps in (10, 20, 50, 100)]
    for rival in [*rivals, "multistep-10", "multistep-20"]:
        assert results.verdict(row, rival, 2000)["classifier"] == row
        assert results.verdict(row, rival, 2000, 1000)["classifier"] is None
        leads.append(round(kid_leads(row, rival)[0], 1))
    assert (min(leads), max(leads)) == (2.8, 3.5)


def test_ten_evaluations_from_the_clusters_have_the_smallest_distances():
    ten, twenty = (f"es-clusters-400-ddim-{steps}" for steps in (10, 20))
    rows = results.load_rows(2000)
    plain = [
        name
        for name in rows
        if name.startswith(("ddim", "ddpm", "quadratic", "karras", "multistep"))
    ]
    assert len(plain) == 22
    for rival in plain:
        assert all(x < y for x, y in zip(distances(ten), distances(rival)))
    assert signs(ten, "ddpm-1000") == signs(ten, twenty) == "..."
    for rival in ("quadratic-ddim-10", "multistep-10"):
        assert signs(ten, rival) == "..."
    best = min(STOPS, key=lambda stop: distances(f"es-clusters-{stop}-ddim-20")[1])
    assert best == 400


def test_with_more_pictures_the_clusters_are_ahead_at_equal_cost():
    ten, twenty = (f"es-clusters-400-ddim-{steps}" for steps in (10, 20))
    said = {
        "ddim-10": ("+++", "+.+"),
        "ddim-20": ("+++", "+.+"),
        "ddim-50": ("+++", "+++"),
        "ddim-100": ("+++", "+++"),
        "quadratic-ddim-10": ("+++", "+++"),
        "quadratic-ddim-20": ("+++", "+++"),
        "quadratic-ddim-50": ("+++", "+++"),
        "quadratic-ddim-100": ("+++", "+++"),
        "multistep-10": ("+.+", "+.+"),
        "multistep-20": ("+.+", "+.+"),
        "ddpm-10": ("+++", "+.+"),
        "ddpm-20": ("+.+", "+.+"),
        "ddpm-50": ("..+", "..+"),
        "ddpm-100": ("..+", "..+"),
    }
    for rival, both in said.items():
        assert tuple(signs(row, rival, 10_000) for row in (ten, twenty)) == both
    assert signs(ten, twenty, 10_000) == "..."
    assert signs("ddim-10", "ddim-20", 10_000) == "..-"
    for row in (ten, twenty):
        one, other = (
            results.estimate(results.load_row(name, 10_000), "classifier")[0]
            for name in (row, "ddim-100")
        )
        assert one < other / 3


def test_at_equal_cost_the_generator_decides():
    """Against DDIM and DPM-Solver++ with as many steps, from the VAE, the PCA-Gaussian and the clusters."""
    said = {
        (100, 10): "--- .-. +-+  --- .-- +-+",
        (200, 10): "--- .-. +.+  --- .-- +-+",
        (400, 10): ".-- .-. +++  --- .-- +.+",
        (600, 10): "... ... ..+  .-- .-. ...",
        (100, 20): "--- .-- +-+  --- .-- +-+",
        (200, 20): "--- .-- +.+  --- .-- +-+",
        (400, 20): "--- .-. +.+  --- .-- +.+",
        (600, 20): ".-. ... ...  .-- .-. ...",
    }
    for (stop, steps), expected in said.items():
        found = [
            " ".join(
                signs(f"es-{p}-{stop}-ddim-{steps}", f"{rival}-{steps}", 10_000)
                for p in ("vae", "pca", "clusters")
            )
            for rival in ("ddim", "multistep")
        ]
        assert "  ".join(found) == expected, (stop, steps)


def test_of_the_plain_samplers_the_second_order_one_is_the_best_at_ten_evaluations():
    for steps in (50, 100):
        assert signs("multistep-10", f"ddpm-{steps}", 10_000) == "..."
    for sampler, said in (("ddim", "..+"), ("ddpm", "..+"), ("quadratic-ddim", ".++")):
        assert signs("multistep-10", f"{sampler}-10", 10_000) == said
    rows = results.load_rows(10_000)

    def needed(sampler, target):
        own = [row for name, row in rows.items() if name.rpartition("-")[0] == sampler]
        own = [row for row in own if row["row"] != target]
        found = results.fewest_evaluations(own, rows[target], rows["real"], 1000)
        return [found[kind] and results.evaluations(found[kind]) for kind in results.KINDS]

    assert needed("ddpm", "ddpm-100") == [20, 10, 50]
    for spacing in ("", "quadratic-"):
        assert needed(f"{spacing}ddim", "ddpm-100") == [10, None, 20]
    assert needed("es-clusters-400-ddim", "ddpm-100") == [10, 10, 10]
    assert needed("es-vae-600-ddim", "ddpm-100") == [10, None, 20]
    assert needed("es-pca-600-ddim", "ddpm-100") == [10, None, 10]
    assert needed("multistep", "ddpm-100") == [10, 10, 10]
    assert signs("multistep-5", "ddpm-100", 10_000) == "---"
    assert needed("multistep", "es-clusters-400-ddim-10") == [None, 10, None]
    for sampler, calls in {
        "ddpm": [50, 20, None],
        "ddim": [None] * 3,
        "quadratic-ddim": [None] * 3,
    }.items():
        assert needed(sampler, "es-clusters-400-ddim-10") == calls


def test_quadratic_steps_are_no_lead_here():
    assert signs("quadratic-ddim-20", "ddim-20") == "..."
    assert distances("quadratic-ddim-20")[1] > distances("ddim-20")[1]
    for steps, said in ((10, ".-."), (20, ".-."), (50, "..."), (100, "...")):
        assert signs(f"quadratic-ddim-{steps}", f"ddim-{steps}", 10_000) == said
    for steps in (50, 100):
        assert signs("ddim-20", f"ddim-{steps}", 10_000) == "..."


def test_short_steps_near_the_data_give_clean_colours():
    clean = {
        name: row["on_palette"] for name, row in results.load_rows(2000).items() if name != "real"
    }
    for steps in (10, 20, 50):
        assert clean[f"quadratic-ddim-{steps}"] > clean[f"ddim-{steps}"] + 0.05
        assert clean[f"karras-ddim-{steps}"] > 0.99 > 0.95 > clean[f"ddim-{steps}"]
    assert clean["ddpm-1000"] > 0.9998 and clean["ddpm-100"] > clean["ddim-100"] > 0.98


def test_few_steps_of_karras_are_behind_uniform_ones():
    assert [signs(f"karras-ddim-{k}", f"ddim-{k}") for k in (5, 10, 20)] == [".--", ".-.", "..."]
    for steps in (10, 20, 50):  # what lies below t = 20, in shares of the steps
        counted = [timesteps(1000, steps, s, schedule=SCHEDULE) < 20 for s in SPACINGS]
        uniform, quadratic, karras = (c.sum().item() for c in counted)
        assert uniform <= quadratic <= karras
    assert timesteps(1000, 10, "karras", schedule=SCHEDULE)[-4:].tolist() == [103, 19, 1, 0]


def test_the_clusters_alone_are_the_best_of_the_generators_and_not_enough():
    for other in ("vae", "pca"):
        assert signs("es-clusters-0", f"es-{other}-0") == "+++"
    for rival in ("ddim-20", "quadratic-ddim-20"):
        assert signs("es-clusters-0", rival) == ".-."
    for sampler, counts in {
        "ddim": (5, 10, 20, 50, 100),
        "quadratic-ddim": (5, 10, 20, 50, 100),
        "karras-ddim": (10, 20, 50),
        "multistep": (5, 10, 20),
        "ddpm": (10, 20, 50, 100, 1000),
    }.items():
        for steps in counts:
            assert signs("es-clusters-0", f"{sampler}-{steps}")[1] == "-"
            assert kid_leads(f"{sampler}-{steps}", "es-clusters-0")[1] > 6


def test_the_clusters_hand_out_no_copies():
    for stop in (100, 200):
        record = results.load(f"copies-sprites-generated-es-clusters-{stop}-ddim-20")
        share, below = copying(*(torch.tensor(record[key]) for key in ("samples", "held_out")))
        assert share < 0.5 and below < 0.05


def test_a_cluster_holds_about_25_pictures_and_at_least_four():
    train, _ = split_by_group(load_sprites("generated"))
    clusters = PCAGaussian(*train.tensors(), n_clusters=CLUSTERS["clusters"]).clusters
    counts = [gaussian.count for gaussians in clusters for gaussian in gaussians]
    assert sum(counts) == len(train) and min(counts) >= 4
    assert sum(counts) / len(counts) == pytest.approx(25, abs=1)


def test_the_labs_compare_no_more_often_than_they_say():
    """Three signs in a cell of their tables, and three for each row that a price was asked of."""
    count = 0
    for name in ("06_fid", "07_early_stopping"):
        lab = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        outputs = [output for cell in lab["cells"] for output in cell.get("outputs", ())]
        tables = ["".join(o.get("data", {}).get("text/markdown", "")) for o in outputs]
        count += sum(3 * len(re.findall(r"\| `[+−·](\s[+−·]){2}` (?=\|)", t)) for t in tables)
    assert 500 < count + 3 * 40 <= 1000


def test_at_the_last_timestep_nothing_can_be_told_from_the_plain_sampler():
    for proposer in ("vae", "pca", "clusters"):
        assert signs(f"es-{proposer}-1000-ddim-20", "ddim-20") == "..."


RIVALS = ("ddpm-50", "ddpm-100", "ddpm-1000", "ddim-50", "ddim-100", "quadratic-ddim-50")


def test_from_the_vae_the_published_algorithm_loses():
    for stop in (50, 100):
        for rival in RIVALS:
            assert signs(f"es-vae-{stop}-ddpm-{stop}", rival) == "---"


def test_from_the_clusters_the_published_algorithm_is_behind_in_one_set():
    for rival in RIVALS:
        assert signs("es-clusters-50-ddpm-50", rival) == ".-."
        behind = ".-." if rival.startswith("ddpm") else "..."
        assert signs("es-clusters-100-ddpm-100", rival) == behind
    assert signs("es-clusters-400-ddim-10", "es-clusters-100-ddpm-100") == ".+."


def test_the_generators_against_each_other():
    for stop in (50, 100, 150, 200, 300, 400):
        vae, pca, clusters = (f"es-{g}-{stop}-ddim-20" for g in ("vae", "pca", "clusters"))
        said = signs(vae, pca)
        assert said[0] == "-"
        assert (said[1] == "+") == (stop <= 150) and (said[2] == "-") == (stop <= 200)
        said = signs(clusters, pca)
        assert said[1] == "+" and "-" not in said


def test_scaling_makes_no_difference_that_can_be_told():
    for steps in (20, 50):
        plain, scaled = f"ddim-{steps}", f"scaled-1.005-ddim-{steps}"
        assert signs(scaled, plain) == "..."
        smaller = [x < y for x, y in zip(distances(plain), distances(scaled))]
        assert smaller == [True, True, False]
        assert all(abs(lead) < 0.5 for lead in kid_leads(plain, scaled))


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
