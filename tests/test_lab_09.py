"""Lab 9 holds for every student number: the cells whose claims depend on it, without those that train."""

import json
import random
from pathlib import Path

import pytest
import torch

from dgm_helpers import GaussianMixture, homework

LAB = Path(__file__).parent.parent / "notebooks" / "09_mixture_scores.ipynb"
CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads(LAB.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
}
BOOK = "NUMBER = dgm.homework.student_number()"
NUMBERS = random.Random(0).sample(range(810_100_000, 810_200_000), 60)


@pytest.fixture(autouse=True)
def threads_as_they_were():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_number_is_read_once_from_where_the_student_set_it():
    assert "\n".join(CELLS.values()).count(BOOK) == 1
    assert "8101" not in "".join(CELLS.values()) and homework.student_number() == 810_100_007


@pytest.mark.parametrize("number", NUMBERS)
def test_claims_hold_for_every_number(number, capsys):
    names = {}
    for cell in (
        "c001",
        "c003",
        "c074",
        "c008",
        "c075",
        "c018",
        "c020",
        "c078",
        "c081",
        "c026",
        "c030",
        "c087",
        "c049",
        "c014",
    ):
        text = CELLS[cell].replace(BOOK, f"NUMBER = {number}")
        text = text.replace("401", "101").replace("100_000", "20_000")  # coarser, and fast
        exec(text, names)  # each asserts its claim
    mixture, modes = names["mixture"], names["modes"]
    assert torch.equal(mixture.variances, GaussianMixture.from_student_number(number).variances)
    assert 0.15 <= mixture.weights.min() <= 0.25
    assert torch.allclose(
        mixture.means[names["heavy"]] + names["way"], -mixture.means[names["heavy"]]
    )
    assert modes(mixture, 1.0) == 2 and modes(mixture, 7.0) == 1
    assert 2 < names["merge"] < 6.9
    assert "agree with the convolution" in capsys.readouterr().out
