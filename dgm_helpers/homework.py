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
    """Keep your student number for the labs, in a file beside them; an int in 1…2⁶³ − 1, or the same in digits."""
    if isinstance(number, str) and number.strip().isdecimal():
        number = int(number)  # Persian digits, too
    number = require_int("number", number, 1, 2**63 - 1)
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
    return require_int(NUMBER_FILE, int(text), 1, 2**63 - 1)


def progress(folder="."):
    """Print what each of the 22 questions still lacks, and the points of the checks that passed when they last ran.

    It reads the labs in a folder as they were last saved, and runs nothing. So an answer that was changed and not run
    again counts as it ran.
    """
    folder, done, total, earned, by_hand = Path(folder), 0, 0, 0, 0
    print(f"{'':6}{'points':>6}  {'passed':>7}  {'by hand':>7}  {'lab':20}")
    for question, (lab, cells) in QUESTIONS.items():
        marks = _marks(folder / f"{lab}.ipynb")
        points = {name: marks[name]["points"] for name in cells if name in marks}
        states = {name: _state(marks, name) for name in cells}
        checks = [name for name in points if name.endswith("-test")]
        checkable = sum(points[name] for name in checks)
        passed = sum(points[name] for name in checks if states[name] == "answered")
        lacks = [
            f"{name.removesuffix('-test')} {s}" for name, s in states.items() if s != "answered"
        ]
        of_checks = f"{passed} of {checkable}" if checkable else ""
        hand = sum(points.values()) - checkable
        text = "; ".join(lacks) or "answered"
        print(
            f"{question:6}{sum(points.values()):6}  {of_checks:>7}  {hand or '':>7}  {lab:20}{text}"
        )
        done += not lacks
        total, earned, by_hand = total + checkable, earned + passed, by_hand + hand
    print(f"{'total':6}{total + by_hand:6}  {f'{earned} of {total}':>7}  {by_hand:7}")
    print(
        "Points are as of the last run of each check: an answer changed since then must run again."
    )
    print(f"{done} of {len(QUESTIONS)} questions are answered")


def _marks(path):
    """The cells of a lab that nbgrader knows: points, text, and when and how the cell last ran."""
    if not path.exists():
        return {}
    marks = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if mark := cell["metadata"].get("nbgrader"):
            kinds = {output["output_type"] for output in cell.get("outputs", ())}
            marks[mark["grade_id"]] = {
                "points": mark.get("points", 0),
                "text": "".join(cell["source"]),
                "count": cell.get("execution_count"),
                "ran": bool(kinds & {"stream", "error"}),
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
    if not check["ran"]:
        return "was not checked"
    if not answer["count"] or not check["count"] or answer["count"] > check["count"]:
        return "must run again, then its check"
    return "fails its check" if check["failed"] else "answered"
