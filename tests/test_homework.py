"""The student's number, and the list of what is still to do."""

import json
from pathlib import Path

import pytest

from dgm_helpers import homework

LABS = Path(__file__).parent.parent / "notebooks"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_number_is_kept_until_it_is_the_books_again(folder, capsys):
    assert homework.student_number() == 810_100_007
    for given in (810_123_456, "810123456", " ۸۱۰۱۲۳۴۵۶ "):
        homework.set_student_number(given)
        assert homework.student_number() == 810_123_456
    homework.set_student_number(810_100_007)
    assert homework.student_number() == 810_100_007 and not list(folder.iterdir())
    assert "is the book's: put in your own" in capsys.readouterr().out


def test_what_is_no_number_is_refused_and_kept_nowhere(folder):
    for given in (None, "HW_Karimi", 8.1e8, -1, 0, "0", True, 2**63):
        with pytest.raises((TypeError, ValueError), match="^number must be an int"):
            homework.set_student_number(given)
    assert not list(folder.iterdir())
    (folder / "student_number.txt").write_text("Karimi", encoding="utf-8")
    with pytest.raises(ValueError, match="student_number.txt must hold .* got 'Karimi'"):
        homework.student_number()


def rows(capsys):
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line for line in lines[1:-2]}, lines[-1]


def test_the_books_labs_are_answered(capsys):
    homework.progress(LABS)
    lines, last = rows(capsys)
    assert last == "22 of 22 questions are answered"
    assert lines.pop("total").split()[1:] == ["110", "55", "of", "55", "55"]
    assert list(lines) == list(homework.QUESTIONS)
    assert sum(int(line.split()[1]) for line in lines.values()) == 110
    assert lines["I1.4"].split()[1:6] == ["5", "3", "of", "3", "2"]
    assert lines["1.1"].split()[1:4] == ["5", "5", "01_forward"]


def test_what_is_missing_is_named(folder, capsys):
    lab = json.loads((LABS / "01_forward.ipynb").read_text(encoding="utf-8"))
    cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in lab["cells"]}
    cells["why-one-shot"]["source"] = "YOUR ANSWER HERE"
    cells["linear-schedule-test"]["outputs"] = []
    cells["perturb-input-test"]["outputs"] = [{"output_type": "error"}]
    (folder / "01_forward.ipynb").write_text(json.dumps(lab), encoding="utf-8")
    homework.progress()
    lines, last = rows(capsys)
    assert last == "0 of 22 questions are answered"
    assert lines["1.1"].endswith("why-one-shot is empty")
    assert lines["I1.1"].endswith("linear-schedule was not checked")
    assert lines["I1.2"].endswith("perturb-input fails its check")
    assert lines["I1.3"].endswith("batch-loss is not there; training-run is not there")
    cells["perturb-input"]["source"] = "# YOUR CODE HERE"
    (folder / "01_forward.ipynb").write_text(json.dumps(lab), encoding="utf-8")
    homework.progress(str(folder))
    assert rows(capsys)[0]["I1.2"].endswith("perturb-input is empty")


def test_a_check_counts_only_if_it_ran_after_its_answer(folder, capsys):
    lab = json.loads((LABS / "01_forward.ipynb").read_text(encoding="utf-8"))
    cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in lab["cells"]}
    answer, check = cells["perturb-input"], cells["perturb-input-test"]

    def line(answer_count, check_count):
        answer["execution_count"], check["execution_count"] = answer_count, check_count
        (folder / "01_forward.ipynb").write_text(json.dumps(lab), encoding="utf-8")
        homework.progress()
        out = capsys.readouterr().out
        assert "as of the last run of each check" in out
        lines = {line.split()[0]: line for line in out.splitlines()[1:]}
        return lines["I1.2"], lines["total"]

    question, total = line(7, 8)
    assert "5 of 5" in question and question.endswith("answered") and " 7 of 7 " in total
    for counts in ((9, 8), (None, 8), (7, None)):
        question, total = line(*counts)
        assert question.endswith("perturb-input must run again, then its check")
        assert "0 of 5" in question and " 2 of 7 " in total
    check["outputs"] = [{"output_type": "error"}]
    question, total = line(7, 8)
    assert "0 of 5" in question and question.endswith("fails its check") and " 2 of 7 " in total
