"""Lab 11 holds for every student number: the cells whose claims depend on it, without those that train."""

import json
import math
import random
from pathlib import Path

import pytest
import torch

import dgm_helpers as dgm
from dgm_helpers import homework, results

LAB = Path(__file__).parent.parent / "notebooks" / "11_annealing.ipynb"
CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads(LAB.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
}
BOOK = "NUMBER = dgm.homework.student_number()"
NUMBERS = random.Random(2).sample(range(810_100_000, 810_200_000), 60)
SETUP = ("c001", "c071", "c017", "c011", "c026")  # imports, mixture, share, and the solutions
LINE = ("c003", "c080")  # the line through the means, and the crossing of the valley


def run(*cells, number=810_100_007):
    names = {"r": 0.1}
    for cell in (*SETUP, *cells):
        exec(CELLS[cell].replace(BOOK, f"NUMBER = {number}"), names)
    return names


def test_the_number_is_read_once_from_where_the_student_set_it():
    assert "\n".join(CELLS.values()).count(BOOK) == 1
    assert "8101" not in "".join(CELLS.values()) and homework.student_number() == 810_100_007


@pytest.mark.parametrize("number", NUMBERS)
def test_claims_hold_for_every_number(number):
    names = run(*LINE, "c006", "c050", "c043", "c083", "c045", "c048", number=number)
    mixture, ladders = names["mixture"], names["ladders"]
    assert mixture.weights[0] > mixture.weights[1]  # heavy first
    _, geometric, bounds = ladders["geometric"]
    assert max(ladders["linear"][1]) > 2 * max(geometric)
    assert bounds == pytest.approx([bounds[0]] * 19)
    assert names["hills"](20.0) == 1 and names["hills"](1.0) == 2
    for sigma in (1.0, 3.0, 7.0):  # the formula of the light side against the density on the line
        _, y, _, p, _ = names["crossing"](sigma)
        right = (p[y > 0].sum() + p[y == 0].sum() / 2).item() * 0.005
        assert right == pytest.approx(names["exact_share"](sigma), abs=5e-4)
    equal = dgm.GaussianMixture([0.5, 0.5], [[-names["a"]], [names["a"]]], [names["v_heavy"]] * 2)
    names["line"] = equal
    merge = names["merge"]
    assert names["hills"](1.01 * merge) == 1 and names["hills"](0.99 * merge) == 2


@pytest.mark.parametrize("number", [810_100_007, NUMBERS[0]])
def test_two_states_give_the_rate_and_the_bias_halves_with_the_work(number):
    names = run(*LINE, "c045", "c048", number=number)
    grid = torch.arange(-45, 45.1, 0.3, dtype=torch.float64)
    for sigma, low, high in ((1.25, 0.95, 1.05), (4.5, 0.7, 1.05)):
        values = torch.linalg.eigvals(names["kernel"](sigma, 0.1, grid)).abs().sort().values
        ratio = names["crossing_rate"](sigma, 0.1 * sigma**2) / -math.log(values[-2])
        assert low < ratio < high
    w, sigmas = names["w"], names["sigmas"]
    for K in (100, 200):  # at 100 the prediction's own error is about a tenth
        predicted = 2 / (0.05 * K * 19 / math.log(20)) * w * (1 - w) * math.log((1 - w) / w)
        assert names["push"](sigmas, 0.05, K)[-1] - w == pytest.approx(predicted, rel=0.2)


def test_levels_further_down_repair_the_width_of_the_modes():
    names = run()
    mixture, sample = names["mixture"], names["my_annealed_langevin"]
    start = 20 * torch.randn(4000, 2, generator=dgm.seeded(0))
    v = names["v_heavy"]
    for last, levels, expected in ((1.0, 20, v + 1), (0.1, 35, v)):
        sigmas = torch.logspace(math.log10(20), math.log10(last), levels, dtype=torch.float64)
        x = sample(mixture.score, start, sigmas, 0.1 * last**2, 50, dgm.seeded(1))
        heavy = x[(x.double() - names["middle"]) @ names["axis"] < 0]
        assert heavy.var(0).mean().item() == pytest.approx(expected, rel=0.1)


def test_the_written_out_score_is_that_of_the_mixture():
    names = run()
    names |= {"start": 20 * torch.randn(1000, 2, generator=dgm.seeded(0))}
    exec(CELLS["c086"], names)  # asserts it


def test_the_recorded_shares_scatter_by_two_hundredths_and_long_ladders_take_1995_steps():
    """What chapters 10 and 11 say of the record in words."""
    record = results.load("scores-mixture")
    annealed = [row for row in record["rows"] if row["chain"] == "annealed"]
    for score in ("learned", "learned, last weights"):
        shares = [
            row["light_share"] for row in annealed if row["score"] == score and row["levels"] == 20
        ]
        assert len(shares) == 3 and 0.015 < torch.tensor(shares).std() < 0.03
    steps = {levels * (record["steps"] // levels) for levels in (row["levels"] for row in annealed)}
    assert steps == {2000, 1995}
