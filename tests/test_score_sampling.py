"""Scores, sampled: the distance in closed form, the training, the record and what is refused."""

import json
import math
from pathlib import Path

import pytest
import torch

from dgm_helpers import GaussianMixture, results, score_sampling, seeded
from dgm_helpers.__main__ import main
from dgm_helpers.score_sampling import energy_distance, record_scores, train_score

POINTS = GaussianMixture([1.0], [[1.0, -2.0]], [0.5]).sample(512, generator=seeded(0))


def test_energy_distance_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    assert energy_distance(x, y) == 2 * (0 + 2 + 1 + 1) / 4 - 1 - 2
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert energy_distance(x, x) == 2 * 10 / 4 - 5 - 5  # not 0: no point is paired with itself


def test_energy_distance_of_two_gaussians_in_closed_form():
    def mean_size(m, v):  # E|N(m, v)|
        inside = math.erf(m / math.sqrt(2 * v))
        return math.sqrt(2 * v / math.pi) * math.exp(-(m**2) / (2 * v)) + m * inside

    x = torch.randn(3000, 1, generator=seeded(1), dtype=torch.float64)
    y = 1.5 + 2 * torch.randn(3000, 1, generator=seeded(2), dtype=torch.float64)
    exact = 2 * mean_size(1.5, 5) - mean_size(0, 2) - mean_size(0, 8)
    assert energy_distance(x, y) == pytest.approx(exact, abs=0.05)
    values = [
        energy_distance(*(torch.randn(50, 2, generator=seeded(2 * i + k)) for k in (0, 1)))
        for i in range(400)
    ]
    values = torch.tensor(values)
    assert values.mean().abs() < 4 * values.std() / 20  # unbiased: around 0 for equal laws


@pytest.mark.parametrize("sigma", [0.8, [2.0, 0.8]])
def test_a_score_is_trained_and_its_average_is_better(sigma):
    before = torch.get_rng_state()
    last, average = train_score(POINTS, sigma, epochs=200)
    assert torch.equal(torch.get_rng_state(), before)
    x = POINTS + 0.8 * torch.randn(POINTS.shape, generator=seeded(3), dtype=torch.float64)
    exact = -(x - torch.tensor([1.0, -2.0])) / (0.5 + 0.64)
    level = () if isinstance(sigma, float) else (torch.full((512,), 0.8),)
    off = [
        ((net(x.float(), *level) - exact).square().sum() / exact.square().sum()).item()
        for net in (last, average)
    ]
    assert off[1] < 0.1 and off[1] < off[0]
    again, _ = train_score(POINTS, sigma, epochs=1)
    other, _ = train_score(POINTS, sigma, epochs=1, seed=1)
    assert not torch.equal(*(next(net.parameters()) for net in (again, other)))
    assert not any(p.requires_grad for net in (last, average) for p in net.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_distance(POINTS[:1], POINTS), "^x must hold at least two points, .*got"),
        (lambda: energy_distance(POINTS, POINTS[:, :1]), "^y must hold at least two points, of 2 "),
        (lambda: energy_distance(POINTS * math.nan, POINTS), "^x must be finite"),
        (lambda: train_score(POINTS[:, :, None], 1.0), r"^points must be \(n, d\), got a tensor"),
        (lambda: train_score(POINTS, 0.0), "^sigma must be a finite number above 0"),
        (lambda: train_score(POINTS, [1.0, -1.0]), "^sigmas must be positive and finite"),
        (lambda: train_score(POINTS, 1.0, epochs=0), "^epochs must be an int of at least 1"),
        (lambda: train_score(POINTS, 1.0, seed=-1), "^seed must be an int in"),
        (lambda: record_scores(number=-1), "^number must be an int in"),
        (lambda: record_scores(n=99), "^n must be an int in 100…100000, got 99"),
        (lambda: record_scores(seed=-1), "^seed must be an int in"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("option", ["number", "n", "seed"])
def test_the_command_refuses_before_any_work(option, tmp_path):
    with pytest.raises(SystemExit, match=f"^error: --{option} must be an int in "):
        main(["evaluate", "scores", f"--{option}", "-1", "--out", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


def test_the_command_records_every_sampler_and_continues_when_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(score_sampling, "LEVELS", (3.0,))
    monkeypatch.setattr(score_sampling, "LADDERS", ((1.0, 5),))
    monkeypatch.setattr(score_sampling, "STEPS", 50)
    monkeypatch.setattr(score_sampling, "NETWORKS", 2)
    monkeypatch.setattr(score_sampling, "PAIRS", 5)
    train, trained, most = score_sampling.train_score, [], 4

    def short(points, level, *, seed, **_):
        if len(trained) == most:
            raise KeyboardInterrupt
        trained.append(seed)
        return train(points, level, epochs=1, seed=seed)

    def run(name):
        folder = tmp_path / name
        main(["evaluate", "scores", "--number", "5", "--n", "100", "--out", str(folder)])
        return results.load("scores-mixture", folder)

    monkeypatch.setattr(score_sampling, "train_score", short)
    record, most = run("whole"), 3
    trained.clear()
    with pytest.raises(SystemExit) as exit:
        run("killed")
    assert exit.value.code == 130 and results.names(folder=tmp_path / "killed") == []
    trained.clear()
    assert run("killed")["rows"] == record["rows"] and trained == [1]
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["scores-mixture.json"]
    rows = [(row["chain"], row["score"], row["network"]) for row in record["rows"]]
    nets = [("learned", 0), ("exact", 0), ("learned", 1)]
    last = [("annealed", "learned, last weights", i) for i in (0, 1)]
    annealed = [("annealed", *net) for net in nets]
    still = [("without noise", *net) for net in nets[:2]]
    assert sorted(rows) == sorted([("Langevin", *net) for net in nets] + still + annealed + last)
    assert [row["error"] for row in record["rows"] if row["score"] == "exact"] == [0] * 3
    assert [floor["sigma"] for floor in record["floors"]] == [0, 1, 3]
    assert record["light_weight"] == GaussianMixture.from_student_number(5).weights.min()


RECORD = Path(results.FOLDER) / "scores-mixture.json"


def test_the_exact_rows_of_the_record_are_what_the_library_samples():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    mixture = GaussianMixture.from_student_number(record["number"])
    (row,) = (
        row
        for row in record["rows"]
        if (row["chain"], row["score"], row["sigma"]) == ("without noise", "exact", 7.0)
    )
    options = {"network": 0, "seed": 10**6 * (record["seed"] + 1), "noise": False}
    again = score_sampling._walk(mixture, record["n"], "exact", mixture.score, 7.0, **options)
    assert again["light_share"] == pytest.approx(row["light_share"], abs=0.002)
    assert again["distance_to_data"] == pytest.approx(row["distance_to_data"], rel=1e-6)
    floor = next(floor for floor in record["floors"] if floor["sigma"] == 0)
    assert 0.003 < floor["quantile"] < 0.03 and abs(floor["mean"]) < floor["quantile"] / 2
