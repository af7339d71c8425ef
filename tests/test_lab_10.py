"""Lab 10 holds for every student number, and what its crossing times promise."""

import json
import math
import random
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from dgm_helpers import GaussianMixture, homework, langevin, seeded

matplotlib.use("Agg")
LAB = Path(__file__).parent.parent / "notebooks" / "10_langevin.ipynb"
CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads(LAB.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
}
BOOK = "NUMBER = dgm.homework.student_number()"
PATHS = ("langevin-paths-4", "langevin-paths-6", "langevin-paths-ends")  # the check passes, too
ENDS = ("langevin-scatter-4", "langevin-scatter-6")
NUMBERS = random.Random(1).sample(range(810_100_000, 810_200_000), 60)


def run(*cells, number=810_100_007):
    names = {}
    for cell in cells:
        exec(CELLS[cell].replace(BOOK, f"NUMBER = {number}"), names)
    plt.close("all")
    return names


def test_the_number_is_read_once_from_where_the_student_set_it():
    assert "\n".join(CELLS.values()).count(BOOK) == 1
    assert "8101" not in "".join(CELLS.values()) and homework.student_number() == 810_100_007


@pytest.mark.parametrize("number", NUMBERS)
def test_paths_without_noise_climb_to_a_mode_for_every_number(number):
    names = run("c001", "c053", "c006", "c055", *PATHS, "c083", number=number)
    mixture, path = names["mixture"], names["paths"]["without noise"]
    assert torch.equal(mixture.variances, GaussianMixture.from_student_number(number).variances)
    assert torch.cdist(path[-1], mixture.means).amin(1).max() < 0.1
    gain = torch.stack([mixture.log_prob(x) for x in path]).diff(dim=0)
    length = torch.stack([mixture.score(x).norm(dim=1) for x in path[:-1]])
    L = 1 / mixture.variances.min()  # each step climbs at least as much as promised
    assert (gain > 0.05 * (1 - 0.1 * L / 4) * length**2 - 1e-12).all()
    assert names["far_steps"] > 1e4 * names["near_steps"]


@pytest.mark.parametrize("number", NUMBERS[:6])
def test_a_thousand_chains_keep_the_shares_of_their_starts_for_every_number(number):
    names = run("c001", "c053", "c006", "c014", "c016", "c018", *ENDS, "c058", number=number)
    share, error = names["share"](names["walked"])
    assert abs(share - names["basin"]) < 4.5 * error


@pytest.mark.parametrize("number", NUMBERS[6:8])
def test_walks_on_scores_of_noised_data_fail_in_two_ways_for_every_number(number, capsys):
    names = run("c001", "c053", "c006", "c055", "c014", "c016", number=number)
    mixture, threads = names["mixture"], torch.get_num_threads()
    names["train_score"] = lambda points, sigma: [  # networks that have learned all
        None,
        lambda x: mixture.score(x.double(), sigma).float(),
    ]
    for cell in ("learned-1", "learned-3", "learned-6", "learned-8"):
        exec(CELLS[cell].replace("step, 1000", "step, 300"), names)
    torch.set_num_threads(threads)
    off = {sigma: names["share"](x)[0] - names["truth"] for sigma, x in names["moved"].items()}
    assert off[1.0] > 0.1 and abs(off[3.0]) < off[1.0] / 2
    assert names["still"][7.0].var(0).max() < 1e-6  # a single mode
    assert names["still"][1.0].var(0).max() > 10
    assert capsys.readouterr().out.count(" ± ") == 3


def by_integral(m, v, alpha):
    """As by_crossing_time, with the integral of 1/p over the whole way."""
    u = torch.linspace(-m, m, 20_001, dtype=torch.float64)
    density = GaussianMixture([0.5, 0.5], [[-m], [m]], [v, v])
    crossing = torch.trapezoid(1 / density.log_prob(u[:, None]).exp(), u).item()
    return math.log(2) * crossing / (2 * alpha)


def test_eigenvalue_integral_formula_and_simulation_agree_where_they_should():
    names = run("c001", "c078", "c079")
    v, alpha = names["v"], names["alpha"]
    for m in (2.5, 4.0, 5.5):
        assert by_integral(m, v, alpha) == pytest.approx(names["by_eigenvalue"](m), rel=0.2)
    assert names["by_crossing_time"](5.5) == pytest.approx(names["by_eigenvalue"](5.5), rel=0.15)
    assert names["by_crossing_time"](12.0) == pytest.approx(by_integral(12.0, v, alpha), rel=0.01)
    assert names["by_simulation"](2.0) == pytest.approx(names["by_eigenvalue"](2.0), rel=0.2)


def test_fewer_chains_pass_than_the_bottleneck_allows():
    names = run("c001", "c078")
    v, alpha, m, delta, n = names["v"], names["alpha"], 4.0, 0.5, 50
    edge = m * math.tanh(m * delta / v)
    start = torch.full((20_000, 1), -edge, dtype=torch.float64)
    chain = {"step_size": alpha, "steps": n, "generator": seeded(18), "trajectory": True}
    passed = (langevin(names["two_bumps"](m), start, **chain).amax(0) > -delta).double().mean()
    assert 0 < passed < n / 2 * math.exp(-((edge - delta) ** 2) / (2 * v) * (1 - alpha / (4 * v)))
