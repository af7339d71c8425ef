"""The homework, handed out by an instructor's command; `test_grading` grades what comes back."""

import ast
import builtins
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dgm_helpers import handout
from dgm_helpers.__main__ import main
from dgm_helpers.homework import QUESTIONS

ROOT = Path(__file__).parent.parent
LABS = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
}
FIRST = "01_forward.ipynb"
IMPORTED = {
    "PIL": "pillow",
    "IPython": "ipython",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
}


def source(cell):
    return "".join(cell["source"])


def marked(lab):
    """The cells of a lab that nbgrader knows, by their ``grade_id``."""
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: cell
        for cell in lab["cells"]
        if "nbgrader" in cell["metadata"]
    }


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The book's labs handed out, the first cut off after its exercises, so that it runs in seconds."""
    folder = tmp_path_factory.mktemp("homework")
    labs = folder / "labs"
    shutil.copytree(ROOT / "notebooks", labs, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    cells = LABS[FIRST]["cells"]
    end = cells.index(marked(LABS[FIRST])["perturb-input-test"]) + 1
    (labs / FIRST).write_text(
        json.dumps({**LABS[FIRST], "cells": [*cells[:end], marked(LABS[FIRST])["why-one-shot"]]}),
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handout, "LABS", labs)
        main(["handout", "--out", str(folder / "course")])
    return folder / "course"


def test_every_exercise_has_an_answer_and_a_check():
    for name, lab in LABS.items():
        cells, texts = (
            marked(lab),
            [source(cell) for cell in lab["cells"] if cell["cell_type"] == "markdown"],
        )
        kinds = {
            grade_id: (cell["cell_type"], cell["metadata"]["nbgrader"])
            for grade_id, cell in cells.items()
        }
        code = [
            grade_id
            for grade_id, (kind, data) in kinds.items()
            if kind == "code" and data["solution"]
        ]
        written = [
            grade_id
            for grade_id, (kind, data) in kinds.items()
            if kind == "markdown" and data["solution"] and data["grade"]
        ]
        checks = [
            grade_id
            for grade_id, (kind, data) in kinds.items()
            if kind == "code" and data["grade"] and data["locked"]
        ]
        assert checks == [f"{grade_id}-test" for grade_id in code], name
        assert len(cells) == 2 * len(code) + len(written), name
        assert (
            sum(text.count("{exercise-start}") for text in texts) == len(code) + len(written) > 0
        ), name
        assert all(
            re.search("### BEGIN SOLUTION.*### END SOLUTION", source(cells[grade_id]), re.S)
            for grade_id in code
        ), name


def test_points_are_those_of_the_assignment():
    points = {
        grade_id: cell["metadata"]["nbgrader"].get("points", 0)
        for lab in LABS.values()
        for grade_id, cell in marked(lab).items()
    }
    rows = re.findall(
        r"^\| (I?\d\.\d) \|.*\| (\d) \|",
        (ROOT / "book" / "questions.md").read_text(encoding="utf-8"),
        re.M,
    )
    lists = [(q, int(n)) for q, n in rows]
    assert {
        question: sum(points[grade_id] for grade_id in cells)
        for question, (_, cells) in QUESTIONS.items()
    } == dict(lists)
    for lab, cells in QUESTIONS.values():
        assert set(cells) <= marked(LABS[f"{lab}.ipynb"]).keys()
    start = json.loads((ROOT / "homework" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    text = "\n".join(source(cell) for cell in start["cells"])
    for question, (lab, cells) in QUESTIONS.items():
        (row,) = re.findall(
            rf"^\| {re.escape(question)} \| (\d) \|.*\| `(\w+)` \|.*\| (.*) \|$", text, re.M
        )
        assert row[:2] == (str(dict(lists)[question]), lab)
        each = [str(points[name]) for name in cells]
        assert row[2] == "hand" or re.findall(r"\d", row[2]) == each, question
    for kind, total in (("1.", 25), ("I1.", 30), ("2.", 25), ("I2.", 30)):
        assert sum(int(n) for question, n in rows if question.startswith(kind)) == total
    assert sum(points.values()) == 110


@pytest.fixture(scope="module")
def released(course):
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (course / "release" / "hw3").glob("*.ipynb")
    }


def test_released_labs_hold_no_answer_and_nothing_that_only_the_book_understands(released):
    assert released.keys() == LABS.keys()
    for name, lab in released.items():
        text = "\n".join(source(cell) for cell in lab["cells"])
        prose = "\n".join(source(cell) for cell in lab["cells"] if cell["cell_type"] == "markdown")
        assert "SOLUTION" not in text and "HIDDEN" not in text and "solution-start" not in text, (
            name
        )
        assert "glue" not in text and "myst_nb" not in text, name
        assert not re.search(r"\{[\w:-]+\}`|^```\{|^:::|^\(\S+\)=", prose, re.M), name
        assert not any(
            cell.get("outputs") or cell.get("execution_count") or "mystnb" in cell["metadata"]
            for cell in lab["cells"]
        ), name
        for grade_id, cell in marked(lab).items():
            before = source(marked(LABS[name])[grade_id])
            if not cell["metadata"]["nbgrader"]["solution"]:
                assert source(cell) == before and cell["metadata"]["editable"] is False
            elif cell["cell_type"] == "markdown":
                assert source(cell) == "YOUR ANSWER HERE" and before not in text
            else:
                assert "raise NotImplementedError()" in source(cell)
                answer = re.search(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", before, re.S)[1]
                lines = [line.strip() for line in answer.splitlines()]
                assert [line for line in lines if len(line) > 40 and line in text] == [], name
        for cell in LABS[name]["cells"]:
            if "answer" in cell["metadata"].get("tags", []) and len(source(cell)) > 40:
                assert source(cell) not in text, name


def test_every_name_that_a_released_cell_uses_was_made_before(released):
    """The cells that were left out for answering an exercise, or for the book's numbers, leave no hole."""
    for name, lab in released.items():
        solutions = marked(LABS[name])
        known = {"__name__", *dir(builtins)}
        for cell in lab["cells"]:
            if cell["cell_type"] == "code":
                grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
                nodes = list(ast.walk(ast.parse(source(solutions.get(grade_id, cell)))))
                known |= {
                    node.id
                    for node in nodes
                    if isinstance(getattr(node, "ctx", None), ast.Store)
                    and isinstance(node, ast.Name)
                }
                known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
                known |= {
                    node.name
                    for node in nodes
                    if isinstance(node, (ast.FunctionDef, ast.ExceptHandler))
                }
                known |= {
                    (node.asname or node.name).split(".")[0]
                    for node in nodes
                    if isinstance(node, ast.alias)
                }
                used = {node.id for node in nodes if isinstance(node, ast.Name)}
                assert used <= known, (name, used - known, source(cell))


def test_one_point_is_no_plural(released):
    titles = [
        title
        for name, lab in released.items()
        if name != FIRST  # which is cut off
        for cell in lab["cells"]
        for title in re.findall(r"^### Exercise: .* \((\d+ points?)\)$", source(cell), re.M)
    ]
    cells = [c for name, lab in LABS.items() if name != FIRST for c in marked(lab).values()]
    marks = [cell["metadata"]["nbgrader"] for cell in cells]
    points = [mark["points"] for mark in marks if mark["grade"]]
    assert sorted(titles) == sorted(f"{n} point{'s' * (n != 1)}" for n in points)
    assert "1 point" in titles


def test_what_a_released_lab_names_stands_in_it(released):
    shown = 0
    for name, lab in released.items():
        prose = "\n".join(source(cell) for cell in lab["cells"] if cell["cell_type"] == "markdown")
        given = handout.plain(LABS[name], handout.read_book())["cells"]
        kept = {cell["id"] for cell in given}
        for cell in LABS[name]["cells"]:
            answer = cell["metadata"].get("nbgrader", {}).get("solution")
            if cell["id"] not in kept or answer or cell["cell_type"] == "code":
                continue
            for label in re.findall(r"\{eq\}`eq-([^`]*)`", source(cell)):
                assert prose.count(rf"\tag{{{label}}}") == 1, (name, label)
                shown += 1
            for label in re.findall(r"\{prf:ref\}`(alg-[^`]*)`", source(cell)):
                assert prose.count(f"**Algorithm: {handout.read_book().titles[label]}**") == 1
        if name.startswith("07"):
            assert "Early Stop of the Diffusion Process*. 2022. arXiv:2205.12524" in prose
    assert shown > 60


def test_students_need_no_tool_of_the_book(released):
    wanted = dict(
        re.findall(
            r"^(\S+)==(\S+)$",
            (ROOT / "homework" / "requirements.txt").read_text(encoding="utf-8"),
            re.M,
        )
    )
    pinned = dict(
        re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    )
    assert {name: pinned.get(name, version) for name, version in wanted.items()} == wanted
    assert not [
        name for name in wanted if re.search("sphinx|book|myst|nbgrader|pytest|ruff|nbval", name)
    ]
    for lab in released.values():
        code = "\n".join(source(cell) for cell in lab["cells"] if cell["cell_type"] == "code")
        for line in re.findall(r"^(?:import|from) (\w+)", code, re.M):
            assert (
                line in sys.stdlib_module_names
                or line == "dgm_helpers"
                or IMPORTED.get(line, line) in wanted
            )
    readme = (ROOT / "homework" / "README.md").read_text(encoding="utf-8")
    assert f"torch=={pinned['torch']} --index-url" in readme
    assert all(system in readme for system in ("Linux", "macOS", "Windows"))


def test_instructors_read_how_large_the_zip_is(course):
    size = round((course / "hw3.zip").stat().st_size / 1e6)
    page = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
    assert f"Give `hw3.zip` ({size} MB) to the students" in page


def test_the_zip_holds_the_labs_and_what_they_read(course, tmp_path):
    with zipfile.ZipFile(course / "hw3.zip") as archive:
        archive.extractall(tmp_path)
    student = tmp_path / "hw3"
    assert {path.name for path in student.iterdir()} == {
        "00_start_here.ipynb",
        "README.md",
        "LICENSE",
        "requirements.txt",
        "dgm_helpers",
        "results",
        *LABS,
    }
    for name in LABS:
        assert (student / name).read_bytes() == (course / "release" / "hw3" / name).read_bytes()
    for folder in ("dgm_helpers", "results"):
        kept = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        } - {Path(f"dgm_helpers/weights/{name}.safetensors") for name in handout.NOT_LOADED}
        kept = {path for path in kept if not any(name in path.stem for name in handout.COMPARED)}
        assert {
            path.relative_to(student) for path in (student / folder).rglob("*") if path.is_file()
        } == kept
    code = "".join(source(cell) for lab in LABS.values() for cell in lab["cells"])
    assert not any(f'load_pretrained("{name}")' in code for name in handout.NOT_LOADED)
    code = "from dgm_helpers import results, training; training.load_pretrained('vae-generated'); print(results.FOLDER)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=student, capture_output=True, encoding="utf-8"
    )
    assert run.stdout.strip() == str(student / "results"), run.stderr
    start = json.loads((student / "00_start_here.ipynb").read_text(encoding="utf-8"))
    code = "\n".join(source(cell) for cell in start["cells"] if cell["cell_type"] == "code")
    code = code.replace("810_100_007", "'\u06f8\u06f1\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6'")
    code += "\nprint(dgm.homework.student_number())"
    run = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        cwd=student,
        capture_output=True,
        encoding="utf-8",
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "the labs use your number 810123456", run.stderr
    assert lines[-2:] == ["0 of 22 questions are answered", "810123456"]
    assert lines[-4].split() == ["total", "110", "0", "of", "55", "55"]
    assert len(lines) == 22 + 6


@pytest.mark.parametrize("preferred", ["cp1252", "ascii"])
def test_labs_and_book_are_read_as_utf_8_whatever_the_platform_prefers(preferred, monkeypatch):
    """As on a Western Windows, or in a program without a locale."""
    right = handout.load_labs(), handout.read_book(), handout._macros()
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, encoding=None, errors=None: path.read_bytes().decode(encoding or preferred),
    )
    assert (handout.load_labs(), handout.read_book(), handout._macros()) == right


def test_no_text_is_read_or_written_without_its_encoding():
    """Of every call that can read or write text, in the whole package."""
    for path in (ROOT / "dgm_helpers").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                words = {word.arg: ast.unparse(word.value) for word in call.keywords}
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                binary = re.match("Image|archive", ast.unparse(call.func)) or any(
                    isinstance(mode, ast.Constant) and "b" in str(mode.value)
                    for mode in call.args[1:]
                )
                if name in ("read_text", "write_text") or name == "open" and not binary:
                    assert "encoding" in words, (path.name, ast.unparse(call))
                assert words.get("text") != "True", (path.name, ast.unparse(call))


def refused(folder, message):
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(["handout", "--out", str(folder)])


def test_bad_input_is_named_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused(tmp_path / "full", "--out must be a new or empty folder, got .*full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]
    monkeypatch.setattr(handout, "find_spec", lambda name: None)
    refused(tmp_path / "new", "handout needs nbgrader")
    monkeypatch.undo()
    monkeypatch.setattr(handout, "LABS", tmp_path / "labs")
    refused(tmp_path / "new", "no labs in .*labs; handout needs a clone")
    (tmp_path / "labs").mkdir()
    for name in ("1.ipynb", "2.ipynb", "no_lab.ipynb"):
        (tmp_path / "labs" / name).write_text(json.dumps(LABS[FIRST]), encoding="utf-8")
    refused(
        tmp_path / "new",
        "grade_id must be unique in the book, got 'linear-schedule' in 1.ipynb and in 2.ipynb",
    )
    assert not (tmp_path / "new").exists()


def test_a_failure_of_nbgrader_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    refused(tmp_path / "new", "nbgrader could not make the release")
