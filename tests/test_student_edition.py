"""The student's edition of the book holds no solution, in its sources and in a built part of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import student_edition

ROOT = Path(__file__).parent.parent
LABS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("*.md"))


def source(cell):
    return "".join(cell["source"])


def pieces(text):
    """The lines of a text that say something: long enough to be its own, as they would stand in JSON or HTML."""
    lines = [re.split(r"[{}$`*<>&\"'\\]", line) for line in text.splitlines()]
    parts = [part.strip() for line in lines for part in line]
    return {part for part in parts if len(part) >= 32}


def answers():
    """The pieces of every solution, of every answer in brief, and of what is only for instructors."""
    found = set()
    for path in LABS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                text = source(cell)  # of code, what stands between the marks; the rest is given
                inside = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", text, re.S)
                found |= pieces("\n".join(inside) if cell["cell_type"] == "code" else text)
            if "answer" in cell["metadata"].get("tags", []) and cell["cell_type"] == "markdown":
                found |= pieces(source(cell))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if path.stem in student_edition.FOR_INSTRUCTORS:
            found |= pieces(text)
        for pattern in (student_edition.SOLUTION, student_edition.BRIEF):
            for match in pattern.finditer(text):
                found |= pieces(match[0].split("\n", 1)[1])
    return found


def given():
    """The pieces that stand in the book outside of any answer, too: questions, derivations, given cells."""
    texts = []
    for path in PAGES:
        if path.stem not in student_edition.FOR_INSTRUCTORS:
            texts.append(student_edition.student_page(path.read_text(encoding="utf-8")))
    for path in LABS:
        lab = student_edition.student_lab(json.loads(path.read_text(encoding="utf-8")))
        texts += map(source, lab["cells"])
    return "\n".join(texts)


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "student"
    student_edition.write(folder)
    return folder


def leaks(folder, wanted):
    """The pieces that are found in the text files below a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (
            ".png",
            ".gif",
            ".woff",
            ".woff2",
            ".ttf",
            ".eot",
        ):
            text = path.read_text(encoding="utf-8", errors="ignore")
            if path.suffix == ".ipynb":
                lab = json.loads(text)
                text = "\n".join(map(source, lab["cells"]))
            found |= {piece: path.name for piece in wanted if piece in text}
    return found


def test_no_solution_stands_in_the_sources(edition):
    wanted = answers()
    assert len(wanted) > 400
    in_text = given()
    shared = {piece for piece in wanted if piece in in_text}
    assert len(shared) < 0.05 * len(wanted), sorted(shared)
    assert leaks(edition, wanted - shared) == {}
    assert len(leaks(ROOT / "book", wanted - shared)) > 100  # the search finds what is there


def test_the_answers_of_the_exercises_are_gone_and_their_checks_are_not(edition):
    for path in LABS:
        before = json.loads(path.read_text(encoding="utf-8"))["cells"]
        after = json.loads((edition / "notebooks" / path.name).read_text(encoding="utf-8"))["cells"]
        marks = [cell["metadata"]["nbgrader"] for cell in after if "nbgrader" in cell["metadata"]]
        assert not [mark for mark in marks if mark["solution"]], path.name
        checks = [c for c in before if c["metadata"].get("nbgrader", {}).get("locked")]
        assert len(marks) == len(checks), path.name
        texts = "\n".join(map(source, after))
        assert "solution-start" not in texts and "BEGIN SOLUTION" not in texts
        assert texts.count("{exercise-start}") == texts.count("{exercise-end}") > 0
    pages = "\n".join(path.read_text(encoding="utf-8") for path in edition.rglob("*.md"))
    assert "{solution}" not in pages and "answer in brief" not in pages


def test_what_is_for_instructors_is_gone_and_nothing_points_to_it(edition):
    toc = (edition / "_toc.yml").read_text(encoding="utf-8")
    for name in student_edition.FOR_INSTRUCTORS:
        assert f"book/{name}" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
        assert name not in toc and not (edition / "book" / f"{name}.md").exists()
    texts = [path.read_text(encoding="utf-8") for path in edition.rglob("*.md")]
    for path in edition.rglob("*.ipynb"):
        texts += map(source, json.loads(path.read_text(encoding="utf-8"))["cells"])
    text = "\n".join(texts)
    labels = student_edition.labels_of([text])
    for role, label in re.findall(r"\{(ref|eq|prf:ref)\}`(?:[^`<]* <)?([^`>]+)>?`", text):
        assert label in labels, (role, label)
    assert not [name for name in student_edition.FOR_INSTRUCTORS if f"]({name}.md)" in text]


def test_every_figure_that_a_page_takes_from_a_lab_is_still_there(edition):
    figures = set()
    for path in (edition / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
            figures |= {(path.stem, name)} if name and cell["outputs"] else set()
    for path in (edition / "book").glob("*.md"):
        for pair in re.findall(r"\{lab-figure\} (\S+) (\S+)", path.read_text(encoding="utf-8")):
            assert pair in figures


def test_a_built_part_of_it_holds_no_solution(edition):
    """Chapter 10 and its lab, with the sources that are copied beside the pages and the search index."""
    toc = """format: jb-book
root: book/index
chapters:
  - file: book/10_langevin
    sections:
      - file: notebooks/10_langevin
"""
    (edition / "_toc.yml").write_text(toc, encoding="utf-8")
    program = Path(sys.executable).parent / "jupyter-book"
    command = [program, "build", "--all", str(edition)]  # pages are missing, so warnings are due
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    html = edition / "_build" / "html"
    assert (html / "notebooks" / "10_langevin.html").exists() and (html / "searchindex.js").exists()
    wanted, in_text = answers(), given()
    assert leaks(html, {piece for piece in wanted if piece not in in_text}) == {}
