"""The student's side of the homework: its 22 questions, the student's number, and what is still to do.

Wrong type or range raises TypeError or ValueError naming the argument.
"""

import json
from pathlib import Path

from .arguments import require_int

BOOKS_NUMBER = 810_100_007
NUMBER_FILE = "student_number.txt"
QUESTIONS = {  # the lab of each question, and the cells in it that give its points
    "1.1": ("01_forward", ["why-one-shot"]),
    "1.2": ("02_reverse", ["reverse-gaussian"]),
    "1.3": ("03_elbo", ["three-terms"]),
    "1.4": ("05_sampling", ["when-ddpm"]),
    "1.5": ("07_early_stopping", ["es-how"]),
    "I1.1": ("01_forward", ["linear-schedule-test"]),
    "I1.2": ("01_forward", ["perturb-input-test"]),
    "I1.3": ("04_training", ["batch-loss-test", "training-run-test"]),
    "I1.4": ("05_sampling", ["ddpm-step-test", "ddpm-pictures-test", "why-noise"]),
    "I1.5": ("05_sampling", ["ddim-step-test", "ddim-pictures-test"]),
    "I1.6": ("05_sampling", ["count-evaluations-test", "timings-test"]),
    "I1.7": ("06_fid", ["frechet-distance-test", "both-distances-test"]),
    "2.1": ("08_scores", ["scores-partition"]),
    "2.2": ("08_scores", ["scores-slicing"]),
    "2.3": ("09_mixture_scores", ["mixture-noise"]),
    "2.4": ("10_langevin", ["langevin-why"]),
    "2.5": ("11_annealing", ["why-anneal"]),
    "I2.1": ("09_mixture_scores", ["mixture-score-test", "mixture-field-test"]),
    "I2.2": ("09_mixture_scores", ["mixture-dsm-test", "learned-fields-test", "mixture-compare"]),
    "I2.3": ("10_langevin", ["langevin-walks-test", "langevin-paths-test"]),
    "I2.4": ("10_langevin", ["langevin-thousand-test", "langevin-scatter-test"]),
    "I2.5": (
        "11_annealing",
        [
            "noise-conditional-loss-test",
            "conditional-fields-test",
            "annealed-langevin-test",
            "annealed-samples-test",
        ],
    ),
}


def set_student_number(number):
    """Keep your student number for the labs, in a file beside them; an int in 0…2⁶³ − 1, or the same in digits."""
    if isinstance(number, str) and number.strip().isdecimal():
        number = int(number)  # Persian digits, too
    number = require_int("number", number, 0, 2**63 - 1)
    if number == BOOKS_NUMBER:
        Path(NUMBER_FILE).unlink(missing_ok=True)
        print(f"the labs use the number {number}, which is the book's: put in your own")
    else:
        Path(NUMBER_FILE).write_text(f"{number}\n", encoding="utf-8")
        print(f"the labs use your number {number}")


def student_number():
    """The number kept by :func:`set_student_number` in the current folder; without it the book's, 810100007."""
    file = Path(NUMBER_FILE)
    if not file.exists():
        return BOOKS_NUMBER
    text = file.read_text(encoding="utf-8").strip()
    if not text.isdecimal():
        raise ValueError(f"{NUMBER_FILE} must hold a student number in digits, got {text[:40]!r}")
    return require_int(NUMBER_FILE, int(text), 0, 2**63 - 1)


def progress(folder="."):
    """Print what each of the 22 questions still lacks, from the labs in a folder as they were last saved."""
    folder, done = Path(folder), 0
    print(f"{'':6}{'points':>6}  {'lab':20}")
    for question, (lab, cells) in QUESTIONS.items():
        marks = _marks(folder / f"{lab}.ipynb")
        points = sum(marks[name]["points"] for name in cells if name in marks)
        open_ = [f"{name.removesuffix('-test')} {_state(marks, name)}" for name in cells]
        open_ = [text for text in open_ if not text.endswith(" answered")]
        done += not open_
        print(f"{question:6}{points:6}  {lab:20}{'; '.join(open_) or 'answered'}")
    print(f"{done} of {len(QUESTIONS)} questions are answered")


def _marks(path):
    """The cells of a lab that nbgrader knows: points, text, and whether the last run of the cell failed."""
    if not path.exists():
        return {}
    marks = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if mark := cell["metadata"].get("nbgrader"):
            kinds = {output["output_type"] for output in cell.get("outputs", ())}
            marks[mark["grade_id"]] = {
                "points": mark.get("points", 0),
                "text": "".join(cell["source"]),
                "ran": "stream" in kinds,
                "failed": "error" in kinds,
            }
    return marks


def _state(marks, name):
    answer, check = marks.get(name.removesuffix("-test")), marks.get(name)
    if answer is None or check is None:
        return "is not there"
    if any(mark in answer["text"] for mark in ("YOUR CODE HERE", "YOUR ANSWER HERE")):
        return "is empty"
    if not name.endswith("-test"):
        return "answered"
    return (
        "fails its check" if check["failed"] else "answered" if check["ran"] else "was not checked"
    )
