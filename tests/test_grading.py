"""Hostile and clumsy hand-ins, collected and graded: none costs another student, gains a point, or stops the class."""

import ast
import csv
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import time
import zipfile
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dgm_helpers import collecting, feedback, grading, handout, sandbox
from dgm_helpers.__main__ import main

ROOT = Path(__file__).parent.parent
HOSTILE = {path.stem: path for path in sorted((ROOT / "tests" / "hostile").glob("*.py"))}
TWO_MISTAKES = """def my_perturb_input(schedule, x0, t, noise):
    a = schedule.alpha_bar[t].reshape(-1, *[1] * (x0.ndim - 1))
    return (a * x0 + (1 - a) * noise).to(x0.dtype)"""
LAB = json.loads((ROOT / "notebooks" / "01_forward.ipynb").read_text(encoding="utf-8"))
DEADLINE = datetime.now() + timedelta(hours=1)
ONE, TWO, THREE, FOUR, FIVE = (f"81010000{n}" for n in range(1, 6))
NEEDS_WALLS = {"network", "package", "solutions"}


def answer(name, source, kind=new_code_cell):
    mark = {"grade": False, "solution": True, "locked": False, "task": False}
    return cell(name, source, mark, kind)


def check(name, source, points):
    mark = {"grade": True, "solution": False, "locked": True, "task": False, "points": points}
    return cell(name, source, mark, new_code_cell)


def cell(name, source, mark, kind):
    return kind(
        source, id=name, metadata={"nbgrader": {**mark, "grade_id": name, "schema_version": 3}}
    )


def of(lab):
    return {
        c["metadata"]["nbgrader"]["grade_id"]: c
        for c in lab["cells"]
        if "nbgrader" in c["metadata"]
    }


def said(lab, name):
    return [o["ename"] for o in of(lab)[name]["outputs"] if o["output_type"] == "error"]


# one lab, shut in


def small_lab(hostile, test="assert abs(double(2) - 4) < 1e-9"):
    return new_notebook(
        cells=[
            answer("half", "def half(x):\n    return x / 2"),
            check("half-test", "assert half(2) == 1\nprint('right')", 1),
            answer("double", hostile),
            check("double-test", test, 5),
        ]
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_gains_nothing_and_costs_nothing_else(name, monkeypatch):
    monkeypatch.setattr(sandbox, "CELL_SECONDS", 60 if name == "patched" else 2)  # to import torch
    monkeypatch.setattr(sandbox, "GRACE_SECONDS", 1)
    if name in NEEDS_WALLS and sandbox.open_door():
        pytest.skip(f"no sandbox: {sandbox.open_door()}")
    text = HOSTILE[name].read_text(encoding="utf-8")
    expected = re.fullmatch(r"# .* \| ?(.*)", text.splitlines()[0])[1]
    test = "import dgm_helpers\ndgm_helpers.checks.check_linear_schedule(double)"
    lab = small_lab(text, *([test] if name == "patched" else []))
    notes = sandbox.run_lab(lab)
    assert said(lab, "half-test") == [], notes
    assert said(lab, "double-test"), notes
    assert re.search(expected, "; ".join(notes)) if expected else notes == []
    assert len(json.dumps(lab)) < 1e6
    assert not [p for p in psutil.process_iter() if "98.7654" in " ".join(commands(p))]


def commands(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("name", ["daemon"])
def test_the_limits_hold_where_a_kernel_cannot_be_shut_in(name, monkeypatch):
    monkeypatch.setattr(sandbox, "open_door", lambda: "as on another system")
    test_a_hostile_answer_gains_nothing_and_costs_nothing_else(name, monkeypatch)


FUNCTIONS = """
import math, matplotlib.pyplot as plt, numpy as np, torch
import dgm_helpers as dgm
schedule = dgm.NoiseSchedule.linear()
"""


def test_no_right_answer_is_taken_for_tampering():
    """The check of every function in the labs, after the book's solution: it refuses what the grader tries next."""
    tried = 0
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        marks, space = of(json.loads(path.read_text(encoding="utf-8"))), {"__name__": path.stem}
        exec(FUNCTIONS, space)
        for name in marks:
            test = "".join(marks[name]["source"])
            solution = "".join(marks[name.removesuffix("-test")]["source"])
            if solution == test or "checks." not in test or not is_function(solution):
                continue
            exec(solution, space)
            exec(test, space)
            names = sorted(sandbox.bound_names(solution) & set(re.findall(r"\w+", test)))
            for emptied in (True, False):
                with pytest.raises(AssertionError):
                    exec(sandbox.CANARY % (names, test, emptied), space)
            tried += 1
    assert tried >= 15


def is_function(source):
    return all(isinstance(statement, ast.FunctionDef) for statement in ast.parse(source).body)


def test_a_changed_package_is_named_where_it_cannot_be_read_only(monkeypatch):
    monkeypatch.setattr(sandbox, "open_door", lambda: "as on another system")
    code = """import os, sys
for path in sys.path:
    if os.path.isdir(path + "/dgm_helpers"):
        open(path + "/dgm_helpers/new.py", "w").close()  # in the lab's own copy
        break
def double(x):
    return 2 * x"""
    notes = sandbox.run_lab(small_lab(code))
    assert notes == ["the package was changed while this lab ran: compare it with git"]
    assert not (ROOT / "dgm_helpers" / "new.py").exists()


@pytest.mark.parametrize(
    "code, name",
    [("raise NotImplementedError()", "Unfinished"), ("half = 2 * 3", "NameError")],
)
def test_work_that_is_not_begun_is_unfinished(code, name):
    lab = small_lab(code)
    assert sandbox.run_lab(lab) == []
    assert said(lab, "double-test") == [name] and said(lab, "half-test") == []


def test_what_goes_to_stderr_costs_nothing():
    noisy = """import sys, warnings
def double(x):
    warnings.warn("hm")
    print("hm", file=sys.stderr)
    return 2 * x"""
    lab = small_lab(noisy)
    assert sandbox.run_lab(lab, ONE) == []
    assert said(lab, "double-test") == [] and of(lab)["double-test"]["outputs"] == []
    assert of(lab)["half-test"]["outputs"][0]["text"] == "right\n"


@pytest.mark.parametrize(
    "value, wrong", [("1000", True), ("-3", True), ("nan", True), ("2.5", False), ("'x'", False)]
)
def test_points_that_cannot_be(value, wrong):
    lab = small_lab("")
    of(lab)["double-test"]["outputs"] = [new_output("execute_result", data={"text/plain": value})]
    assert bool(sandbox.impossible(of(lab)["double-test"])) == wrong


# from files to answers

TINY = new_notebook(
    cells=[
        new_code_cell("import math", id="imports"),
        new_code_cell("base = 3", id="base"),
        answer("double", "def double(x):\n    raise NotImplementedError()"),
        check("double-test", "assert double(2) == 4, 'twice two is four'", 3),
        new_code_cell("raise SystemExit('further')", id="more", metadata={"tags": ["further"]}),
        new_code_cell("import time\ntime.sleep(1000)", id="slow"),
        answer("triple", "def triple(x):\n    raise NotImplementedError()"),
        check("triple-test", "assert triple(2) == 2 * base", 2),
        new_code_cell("raise SystemExit('after')", id="after"),
    ]
)
RIGHT = {"double": "def double(x):\n    return helper(x)", "triple": "triple = lambda x: x * base"}


def handed_in(answers, before=(), release=TINY):
    lab = json.loads(json.dumps(release))
    for name, text in answers.items():
        of(lab)[name]["source"] = text
    lab["cells"][:0] = [dict(new_code_cell(text)) for text in before]
    return json.dumps(lab).encode()


def zipped(members, path=None):
    file = path or io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if isinstance(name, str):
                name = zipfile.ZipInfo(name)
                name.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(name, content)
    return file.getvalue() if path is None else path


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def read(path):
    notebooks, _, notes = collecting.read_notebooks(collecting.HandIn(path.name, 0, [path]))
    return dict(notebooks), notes


def test_a_hostile_zip_writes_nothing_and_its_labs_are_read(tmp_path):
    lab = handed_in(RIGHT)
    members = {
        "../../outside.ipynb": lab,
        "/etc/absolute.ipynb": lab,
        "C:\\windows.ipynb": lab,
        link("link.ipynb"): "/etc/passwd",
        "bomb.ipynb": b"0" * 30_000_000,
        "dgm_helpers/checks.py": b"raise SystemExit",
        "__MACOSX/._lab.ipynb": b"x",
        ".ipynb_checkpoints/lab.ipynb": b"x",
        "inner.ZIP": zipped({"deep/lab.IPYNB": lab}),
        "a.zip": zipped({"b.zip": zipped({"c.zip": zipped({"d.ipynb": lab})})}),
        "report.rar": b"Rar!",
    }
    notebooks, notes = read(zipped(members, tmp_path / "HW.zip"))
    assert [path.name for path in tmp_path.rglob("*")] == ["HW.zip"]
    assert "inner.ZIP/deep/lab.IPYNB" in notebooks and len(notebooks) == 4
    text = "\n".join(notes)
    for part in ("outside.ipynb: a path that leads out", "absolute.ipynb: a path", "windows"):
        assert part in text
    assert re.search(r"link.ipynb: a link.*\n.*bomb.ipynb cannot be read: .* too much", text)
    assert "too deep" in text and "report.rar: cannot be opened" in text and len(notes) == 7


def test_a_report_is_a_pdf_of_the_student(tmp_path):
    inner = zipped({"Report.PDF": b"%PDF", "empty.pdf": b""})
    members = {"venv/site-packages/matplotlib/home.pdf": b"%PDF", "__MACOSX/._r.pdf": b"x"}
    path = zipped({**members, "r.pdf.txt": b"x", "in.zip": inner}, tmp_path / "HW.zip")
    hand_in = collecting.HandIn("HW.zip", 0, [path])
    assert collecting.read_notebooks(hand_in) == ([], ["in.zip/Report.PDF"], [])


def test_a_report_in_an_older_file_counts(tmp_path):
    new = zipped({"x.ipynb": handed_in(RIGHT)}, tmp_path / "new.zip")
    old = zipped({"report.pdf": b"%PDF"}, tmp_path / "old.zip")
    hand_ins = [collecting.HandIn(path.name, 0, [path]) for path in (new, old)]
    for given, expected in ((hand_ins, ["report.pdf"]), (hand_ins[:1], [])):
        assert grading.read_answers(given, {"tiny": TINY})[1:3] == ([], expected)


def test_the_page_with_the_questions_is_no_strange_notebook():
    start = (ROOT / "homework" / "00_start_here.ipynb").read_bytes()
    given = [(f"hw3/00_start_here{end}.ipynb", start) for end in ("", " (1)")]
    labs, notes = collecting.sort_labs([*given, ("lab.ipynb", handed_in(RIGHT))], {"tiny": TINY})
    assert list(labs) == ["tiny"] and notes == []
    assert collecting.sort_labs([("other.ipynb", start)], {"tiny": TINY})[1]


def test_what_is_no_zip_or_lies_about_its_size_is_said(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 not a zip")
    assert "bad.zip cannot be read" in read(tmp_path / "bad.zip")[1][0]
    good = zipped({"lab.ipynb": os.urandom(1000)})
    (tmp_path / "cut.zip").write_bytes(good.replace(good[60:70], b"0123456789", 1))
    assert "cannot be read" in read(tmp_path / "cut.zip")[1][0]
    many = zipped({f"{n}.txt": b"" for n in range(collecting.MEMBERS + 1)}, tmp_path / "many.zip")
    assert "holds more than" in read(many)[1][0]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "not a notebook"),
        (b"[]", "not a notebook"),
        (b"[" * 100_000, "not a notebook"),
        (b"\x80\x81", "not a notebook"),
        (b'{"cells": [3]}', "not a notebook"),
        (b'{"cells": [{"source": "%s"}]}' % (b"x" * 200_000), "letters in one"),
    ],
)
def test_what_is_no_notebook_is_said_in_one_line(content, message):
    with pytest.raises(ValueError, match=message):
        collecting.parse(content)
    labs, notes = collecting.sort_labs([("x", content), ("y", handed_in({}))], {"tiny": TINY})
    assert list(labs) == ["tiny"] and len(notes) == 1


def test_a_byte_order_mark_is_no_mistake():
    lab = handed_in(RIGHT)
    expected = collecting.parse(lab)
    assert collecting.parse(b"\xef\xbb\xbf" + lab) == expected
    assert collecting.parse(lab.decode().encode("utf-16")) == expected


def test_only_answers_and_what_they_use_come_back_from_a_student():
    forged = json.loads(handed_in(RIGHT, ["def helper(x):\n    return 2 * x", "unused = 1"]))
    cells = of(forged)
    cells["double-test"].update(source="pass")
    cells["double-test"]["metadata"]["nbgrader"].update(points=1000, grade=False)
    forged["cells"].append(json.loads(json.dumps(cells["triple"])))
    cells["double"]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "forged"}]
    for c in forged["cells"]:
        if c.get("id") == "base":
            c["source"] = "base = 0\nmore = 1"
    del forged["cells"][forged["cells"].index(cells["triple-test"])]
    lab = collecting.rebuild(TINY, collecting.parse(json.dumps(forged).encode()))
    running = [c["source"] for c in lab["cells"] if not collecting._skipped(c)]
    assert running == [
        "base = 3",
        "def helper(x):\n    return 2 * x",
        RIGHT["double"],
        of(TINY)["double-test"]["source"],
        RIGHT["triple"],
        of(TINY)["triple-test"]["source"],
    ]
    assert of(lab)["double-test"]["metadata"]["nbgrader"]["points"] == 3
    assert "forged" not in json.dumps(lab) and "unused" not in json.dumps(lab)


@pytest.mark.parametrize(
    "name, owner",
    [
        (f"HW_Karimi_{ONE}.zip", ONE),
        ("HW_کریمی_۸۱۰۱۰۰۰۰۱.zip", ONE),
        ("HW_Karimi_٨١٠١٠٠٠٠١ (1).ZIP", ONE),
        (f"Karimi{ONE}-2.zip", ONE),
        (f"Sara Karimi_123_assignsubmission_file_/{TWO}/homework.zip", TWO),
        (f"{ONE} and {TWO}.zip", None),
        ("HW_Karimi_810199999.zip", None),
    ],
)
def test_a_hand_in_is_found_by_the_number_in_its_name(name, owner, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    zipped({"lab.ipynb": b"{}"}, path)
    found, strange, _ = collecting.find_hand_ins(tmp_path, {ONE, TWO})
    assert list(found) == ([owner] if owner else []) and len(strange) == (not owner)


def test_the_newest_of_several_comes_first_and_links_are_not_followed(tmp_path):
    for age, name in enumerate((f"new {ONE}.zip", f"old {ONE}.zip")):
        os.utime(zipped({}, tmp_path / name), (1e9 - age, 1e9 - age))
    (tmp_path / f"{TWO}.zip").symlink_to("/etc/passwd")
    (tmp_path / f"{TWO}.pdf").touch()
    found, strange, other = collecting.find_hand_ins(tmp_path, {ONE, TWO})
    assert [hand_in.name for hand_in in found[ONE]] == [f"new {ONE}.zip", f"old {ONE}.zip"]
    assert "a link" in strange[0] and other == {TWO: [f"{TWO}.pdf"]}


def roster(path, *rows):
    path.write_bytes("\n".join(("number,last_name,first_name,deadline", *rows)).encode("utf-8-sig"))
    return path


def test_roster_and_deadlines(tmp_path):
    path = roster(tmp_path / "r.csv", f"{ONE},کریمی,Sara,", "۸۱۰۱۰۰۰۰۲,Amini,Ali,2026-12-05T12:00")
    students = grading.read_roster(path, "2026-12-01")
    assert students[ONE].last_name == "کریمی" and TWO in students
    at = {n: students[n].deadline.timestamp() for n in (ONE, TWO)}
    assert time.localtime(at[ONE])[:5] == (2026, 12, 2, 0, 0)
    assert time.localtime(at[TWO])[:5] == (2026, 12, 5, 12, 0)
    late = [grading.days_late(students[ONE], ["", at[ONE] + s]) for s in (-1, 0, 1, 86400, 86401)]
    assert late == [0, 0, 1, 1, 2]
    for bad, message in (
        (["x y,A,B,"], "roster must give each student another number.* in line 2"),
        ([f"{ONE},A,B,", f"{ONE},C,D,"], "got '810100001' in line 3"),
        ([f"{ONE},A,B,tomorrow"], "roster's deadline in line 2 must be a time"),
        ([], "roster must have a column number"),
    ):
        with pytest.raises(ValueError, match=message):
            grading.read_roster(roster(tmp_path / "r.csv", *bad))


def test_answers_are_alike_up_to_their_names():
    one = """def f(a, b):
    'words'
    total = 0
    for x in a:
        total += x * b + 1
    return total / len(a) - (a[0] + a[1]) * total"""
    two = """def g(u, v: float):
    # mine
    s = 0
    for w in u:
        s += w * v + 1
    return s / len(u) - (u[0] + u[1]) * s"""
    three = two.replace("+ 1", "+ 2")
    form = [grading.forms(text)[0][1] for text in (one, two, three)]
    assert form[0] == form[1] != form[2]
    assert form[0][0] == 4  # statements, the words not counted
    assert grading.forms("def f(x):\n    return 2 * x") == grading.forms("def (") == []


def test_a_short_answer_like_the_books_is_marked(monkeypatch, tmp_path):
    short = """def f(schedule, x0, t, noise):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1).to(x0.dtype)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise"""
    long = short.replace("    return", "    b = 1 - a\n    c = b * b\n    d = c + 1\n    return")
    texts = {
        "source": {"double": short, "triple": long},
        ONE: {"double": short, "triple": long},
    }

    def read_labs(out, folder, number=None):
        answers = texts[number or folder]
        return {"tiny": json.loads(handed_in(answers))}

    monkeypatch.setattr(grading, "read_labs", read_labs)
    found = grading.similar(tmp_path, [ONE], {"tiny": TINY})
    assert [(row["answer"], row["equal_to"], row["short"]) for row in found] == [
        ("double", "the book's solution", "yes"),
        ("triple", "the book's solution", ""),
    ]


@pytest.mark.parametrize(
    "kind, text, right",
    [
        ("image/png", "iVBORw0KGgo=\n", True),
        ("image/png", 'x"><script>', False),
        ("image/svg+xml", "abcd", False),
        ("image/png", ["abcd"], False),
    ],
)
def test_a_picture_is_a_picture(kind, text, right):
    assert collecting.is_picture(kind, text) is right


def test_what_a_student_wrote_is_text_on_the_page():
    hostile = (
        '<script>alert(1)</script> <img src="http://x/y.png" onerror="z()"> $a<b$ [x](javascript:y)'
    )
    page = feedback.written(hostile, {})
    assert not re.search("<(script|a)|<img [^>]", page)
    assert "href" not in page and "$a&lt;b$" in page
    assert "<script" not in feedback.show_cell(
        {"cell_type": "code", "source": hostile, "outputs": []}, hostile, {}, {}
    )


def page_of(given, answer=""):
    """The page of a student with a written answer, ``a``, and two checks."""
    mark = {"grade_id": "a", "grade": True, "points": 5, "solution": True, "locked": False}
    lab = new_notebook(cells=[new_markdown_cell(answer, metadata={"nbgrader": mark})])
    row = {"handed_in": "now", "days_late": 0, "report": "r.pdf", "1.1": "0", "I1.4": "2"}
    columns = {"1.1": [("a", 5)], "I1.4": [("b", 3), ("c", 2)]}
    student = grading.Student(ONE, "Karimi", "Sara", None)
    return feedback.feedback(student, row | {"total": "2"}, columns, given, {}, {"01": lab})


def test_an_answer_that_waits_is_not_counted_as_wrong():
    waits = {"score": 0, "open": True}
    page = page_of({"a": waits, "b": {"score": 2, "open": False}, "c": waits})
    for part in (
        "<td>1.1</td><td>5 not graded yet</td>",
        "<td>I1.4</td><td>2 of 3, 2 not graded yet</td>",
        "<th>2 of 3, 7 not graded yet</th>",
        "<p>Not graded yet: 1.1, I1.4</p>",
        "Points: 5, not graded yet<",
        "<p>Report: r.pdf</p>",
    ):
        assert part in page, part
    page = page_of({"a": {"score": 0}, "b": {"score": 2}})
    assert "<td>1.1</td><td>0 of 5</td>" in page and "<th>2 of 10</th>" in page
    assert "not graded yet" not in page


def test_a_wrong_answer_has_the_name_that_it_has_in_the_lab():
    outputs = [sandbox.failure("WrongAnswer", "a square root")]
    shown = {"cell_type": "code", "source": "", "outputs": outputs}
    assert "AssertionError: a square root" in feedback.show_cell(shown, "", {"locked": True}, {})


def test_formulas_are_set_without_a_network(tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if not chromium and not os.environ.get("GITHUB_ACTIONS"):  # there it must not be skipped
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    path, written = tmp_path / "page.html", r"$\veps$ $\vmu$ $\epsth(x_t, t)$ $\abar_t$ $\norm{x}$"
    path.write_text(page_of({}, rf"{written} $\href{{http://x/y}}{{z}}$"), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.goto(path.as_uri())
        page.evaluate("MathJax.startup.promise")
        formulas = "[...document.querySelectorAll('p mjx-container')]"
        unset = page.evaluate(
            f"{formulas}.map((e) => !!e.querySelector('[fill=red], [data-mjx-error]'))"
        )
        links = page.evaluate("document.querySelectorAll('a').length")
        browser.close()
    assert unset == [False] * 5 + [True] and links == 0  # a link is not set


# a class


def shortened():
    """The first lab up to its second exercise, and the written one."""
    cells, marks = LAB["cells"], of(LAB)
    end = cells.index(marks["perturb-input-test"]) + 1
    return {**LAB, "cells": [*cells[:end], marks["why-one-shot"]]}


def tiny_source():
    lab = json.loads(json.dumps(TINY))
    for name, text in (("double", "return 2 * x"), ("triple", "return 3 * x")):
        of(lab)[name]["source"] = (
            f"def {name}(x):\n    ### BEGIN SOLUTION\n    {text}\n    ### END SOLUTION"
        )
    mark = {"grade": True, "solution": True, "locked": False, "task": False, "points": 5}
    lab["cells"].append(cell("why", "Because.", mark, new_markdown_cell))
    return lab


@pytest.fixture(scope="module")
def klass(tmp_path_factory):
    """Five students, graded: see `fill`."""
    folder = tmp_path_factory.mktemp("class")
    labs = folder / "labs"
    labs.mkdir()
    (labs / "01_forward.ipynb").write_text(json.dumps(shortened()), encoding="utf-8")
    (labs / "02_tiny.ipynb").write_text(json.dumps(tiny_source()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handout, "LABS", labs)
        main(["handout", "--out", str(folder / "out")])
    fill(folder)
    names = ((ONE, "Karimi"), (TWO, "Amini"), (THREE, "Sadr"), (FOUR, "Rad"), (FIVE, "=1+1"))
    roster(folder / "roster.csv", *(f"{n},{name},A," for n, name in names))
    before = tree(folder / "in")
    grade(folder)
    assert tree(folder / "in") == before
    return folder


def fill(folder):
    release = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "out" / "release" / "hw3").glob("*.ipynb")
    }
    tiny, inbox = release["02_tiny.ipynb"], folder / "in"
    inbox.mkdir()
    # right, in every clumsy way: two hand-ins, Persian digits, a zip in a zip, other names, a byte order mark
    helper = "import warnings\ndef helper(x):\n    warnings.warn('stderr')\n    return 2 * x"
    why = {"why": "<script>window.pwned = 1</script> Because $x < 2$."}
    inner = {
        "__MACOSX/._two(1).ipynb": b"x",
        "b/two(1).ipynb": b"\xef\xbb\xbf" + handed_in({**RIGHT, **why}, [helper], tiny),
    }
    inner |= {"b/report.pdf": b"%PDF"}
    zipped({"in/inner.zip": zipped(inner)}, inbox / "HW_Karimi_۸۱۰۱۰۰۰۰۱ (1).ZIP")
    old = zipped({"x.ipynb": b"{}"}, inbox / f"HW_Karimi_{ONE}.zip")
    os.utime(old, (1e9, 1e9))
    # hostile: another's grade, points by hand, ends the kernel
    attack = HOSTILE["gradebook"].read_text(encoding="utf-8") + "\ndouble = lambda x: x"
    ends = "def triple(x):\n    import os\n    os._exit(0)"
    right = re.sub("### (BEGIN|END) SOLUTION", "", "".join(of(LAB)["linear-schedule"]["source"]))
    tampered = {"linear-schedule": right, "perturb-input": TWO_MISTAKES}
    forward = json.loads(
        handed_in({**tampered, "perturb-input-test": "pass"}, release=release["01_forward.ipynb"])
    )
    forward["cells"].insert(0, {**of(forward)["linear-schedule"], "source": "1 / 0"})
    hostile = {
        "01_forward.ipynb": json.dumps(forward),
        "../../out/gradebook.db": b"",
        "dgm_helpers/__init__.py": b"raise SystemExit",
        "tiny.ipynb": handed_in({"double": attack, "triple": ends}, release=tiny),
    }
    zipped(hostile, inbox / f"HW_Amini_{TWO}.zip")
    (inbox / f"{TWO}.pdf").write_bytes(b"%PDF")
    # a folder, with one lab that cannot be read, late
    (inbox / THREE).mkdir()
    (inbox / THREE / "01_forward.ipynb").write_bytes(b"{ no json")
    (inbox / THREE / "02.ipynb").write_bytes(
        handed_in({"double": "def double(x):\n    return x + x"}, release=tiny)
    )
    for path in (inbox / THREE).iterdir():
        os.utime(path, (DEADLINE.timestamp() + 90_000,) * 2)
    (inbox / f"HW_Rad_{FOUR}.rar").write_bytes(b"Rar!")
    zipped({"x.ipynb": b"{}"}, inbox / "HW_Nobody_123.zip")


def tree(folder):
    return {
        path: (path.stat().st_mtime, hashlib.sha256(path.read_bytes()).digest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def grade(folder):
    options = {"submissions": "in", "roster": "roster.csv", "out": "out"}
    words = [word for key, name in options.items() for word in (f"--{key}", str(folder / name))]
    main(["grade", *words, "--deadline", DEADLINE.isoformat()])


def table(folder, name):
    with open(folder / "out" / name, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def points(folder):
    columns = ("1.1", "I1.1", "I1.2", "double-test", "triple-test", "why", "total")
    return {row["number"]: [row[c] for c in columns] for row in table(folder, "grades.csv")}


RIGHT_ROW = ["0", "0", "0", "3", "2", "0", "5"]


def test_each_gets_what_the_answers_are_worth(klass):
    nothing = ["0"] * 7
    assert points(klass) == {
        ONE: RIGHT_ROW,
        TWO: ["0", "2", "0", "0", "0", "0", "2"],
        THREE: ["0", "0", "0", "3", "0", "0", "3"],
        FOUR: nothing,
        FIVE: nothing,
    }
    rows = {row["number"]: row for row in table(klass, "grades.csv")}
    assert [rows[n]["to_grade_by_hand"] for n in (ONE, TWO)] == ["1", "0"]
    assert [rows[n]["days_late"] for n in (ONE, THREE)] == ["0", "2"]
    assert rows[FIVE]["last_name"] == "'=1+1"
    reports = [rows[n]["report"] for n in (ONE, TWO, THREE)]
    assert reports == ["in/inner.zip/b/report.pdf", f"{TWO}.pdf", ""]


def test_what_a_person_must_see_is_listed(klass):
    lines = [f"{row['number']} {row['what']}" for row in table(klass, "needs-a-person.csv")]
    for part in (
        "HW_Nobody_123.zip: no number of the roster",
        f"HW_Rad_{FOUR}.rar: cannot be opened here",
        f"{TWO} .*gradebook.db: a path that leads out",
        f"{THREE} .*without 01_forward",
        f"{TWO} 02_tiny, triple-test: ended the kernel",
        f"{TWO} 02_tiny, double: uses glob, sqlite3; read it",
        f"{THREE} .*01_forward.ipynb cannot be read: not a notebook",
        f"{FIVE} no hand-in",
        f"{THREE} no report: what was handed in holds no PDF",
    ):
        assert any(re.search(part, line) for line in lines), (part, lines)
    assert not any(line.startswith(ONE) and "uses" in line for line in lines)
    assert [line[:9] for line in lines if "no report" in line] == [THREE]


def test_the_page_holds_points_messages_and_no_script_of_the_student(klass):
    page = (klass / "out" / "feedback" / f"{ONE}.html").read_text(encoding="utf-8")
    assert "5 of 17, 5 not graded yet" in page and "Not graded yet: why" in page
    assert "Report: in/inner.zip/b/report.pdf" in page and "&lt; script&gt;window.pwned" in page
    assert "<script>window.pwned" not in page and "default-src 'none'" in page
    shown = (klass / "out" / "autograded" / ONE / "hw3" / "02_tiny.ipynb").read_text("utf-8")
    assert "< script>window.pwned" in shown and "<script" not in shown  # by Formgrader, as it is
    assert not re.search(r"""<(script|img|link)[^>]*(src|href)=["']?(?!data:)""", page)
    page = (klass / "out" / "feedback" / f"{TWO}.html").read_text(encoding="utf-8")
    assert "ended the kernel" in page and "AssertionError: twice two is four" in page
    assert re.search(r"class=.said.>\w+: [^<]*square root", page)


def test_a_second_run_grades_what_is_new_and_keeps_what_a_person_gave(klass, capsys):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{klass / 'out' / 'gradebook.db'}") as book:
        given = book.find_grade("why", "02_tiny", "hw3", ONE)
        given.manual_score, given.needs_manual_grade = 4, False
        book.db.commit()
    new = klass / "in" / f"HW_Sadr_{THREE}.zip"
    tiny = json.loads((klass / "out/release/hw3/02_tiny.ipynb").read_text(encoding="utf-8"))
    answers = {"double": "def double(x):\n    return 0", "triple": RIGHT["triple"]}
    zipped({"x.ipynb": handed_in(answers, release=tiny)}, new)
    os.utime(new, (DEADLINE.timestamp() + 200_000,) * 2)
    # as if it had been killed while it graded the first
    (klass / "out" / "state" / f"{ONE}.json").write_text('{"key": "half"}', encoding="utf-8")
    grade(klass)
    out = capsys.readouterr().out
    assert f"{TWO} Amini: graded before" in out
    assert f"{ONE} Karimi: 1 labs graded" in out and f"{THREE} Sadr: 1 labs graded" in out
    assert points(klass)[ONE] == [*RIGHT_ROW[:5], "4", "9"]
    assert points(klass)[TWO] == ["0", "2", "0", "0", "0", "0", "2"]
    assert points(klass)[THREE] == ["0", "0", "0", "0", "2", "0", "2"]
    lines = [row["what"] for row in table(klass, "needs-a-person.csv") if row["number"] == ONE]
    assert any("graded by hand, then run again, look once more: why" in line for line in lines)


@contextmanager
def in_work(folder):
    """A run that is grading a slow hand-in, and nbgrader's process below it."""
    words = ["--submissions", "in", "--roster", "roster.csv", "--out", "out"]
    run = psutil.Popen([sys.executable, "-m", "dgm_helpers", "grade", *words], cwd=folder)
    try:
        end = time.monotonic() + 120
        while not (found := [p for p in run.children() if "autograde" in commands(p)]):
            assert run.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield run, found[0]
    finally:
        for process in (run, *found):
            grading.end_tree(process.pid)


def test_a_run_that_is_ended_ends_what_it_started_and_one_that_is_killed_keeps_others_out(klass):
    tiny = json.loads((klass / "out/release/hw3/02_tiny.ipynb").read_text(encoding="utf-8"))
    slow = {"double": "def double(x):\n    import time\n    time.sleep(500)"}
    zipped({"x.ipynb": handed_in(slow, release=tiny)}, klass / "in" / f"HW_Rad_{FOUR}.zip")
    with in_work(klass) as (run, below):
        run.terminate()
        assert run.wait(60) == 130
        assert not below.is_running()
    with in_work(klass) as (run, below):
        run.kill()
        run.wait(60)
        good = {"submissions": klass / "in", "roster": klass / "roster.csv", "out": klass / "out"}
        refused(".* is being graded by another run", **good)


def refused(message, **options):
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(["grade", *words])


def test_bad_input_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    good = {"submissions": tmp_path / "in", "roster": roster(tmp_path / "r.csv", f"{ONE},A,B,")}
    out = tmp_path / "out"
    refused("--submissions must be a folder", **{**good, "submissions": tmp_path / "no"}, out=out)
    refused("--out must lie apart", **good, out=tmp_path / "in" / "out")
    refused("--deadline must be a time", **good, out=out, deadline="soon")
    refused(".*No such file.*no.csv", **{**good, "roster": tmp_path / "no.csv"}, out=out)
    assert not out.exists()
    out.mkdir()
    (out / "file").touch()
    refused("--out must be new, or a course", **good, out=out)
    assert [path.name for path in out.iterdir()] == ["file"]
