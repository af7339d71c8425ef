"""The form of the book: pages that teach before they prove, labs of short cells, students' functions that are used."""

import ast
import json
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "book").glob("[01][0-9]_*.md"))
CHAPTERS = PAGES[1:]  # the first page has no number and proves nothing
LABS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
HIDDEN = {"hide-input", "remove-cell", "remove-input", "hide-cell"}
ASIDE = re.compile(r"## .*(☆|Mistakes people make|In code|Exercises|What the lab found)")


def named(path):
    return path.stem


def main_line(text):
    """The words of a page that every student reads: no starred section, folded proof, box, figure or displayed
    formula.
    """
    sections = re.split(r"^(?=## )", text, flags=re.M)
    text = "".join(section for section in sections if not ASIDE.match(section))
    for fence in (r":::::", r":::"):
        text = re.sub(rf"^{fence}\{{admonition\}}.*?^{fence}$", "", text, flags=re.S | re.M)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
    text = re.sub(r"^```\{(drawing|lab-figure)\}.*?^```$", "", text, flags=re.S | re.M)
    return re.sub(r"\$[^$]*\$", " x ", text).split()


def visible(path):
    """The visible code cells of a lab: their sources and metadata."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not HIDDEN & set(cell["metadata"].get("tags", [])):
            yield "".join(cell["source"]), cell["metadata"]


@pytest.mark.parametrize("page", CHAPTERS, ids=named)
def test_a_chapter_answers_early_shows_figures_and_keeps_its_main_line_short(page):
    text = page.read_text(encoding="utf-8")
    before_derivation = text[: text.index("## ")]
    assert "You will be able to" in before_derivation
    assert (
        "n brief" in before_derivation or "I1.3" in before_derivation or "I1.7" in before_derivation
    )
    assert "{drawing}" in before_derivation
    assert len(re.findall(r"^```\{(?:drawing|lab-figure)\}", text, flags=re.M)) >= 3
    assert len(main_line(text)) <= 1800
    assert "## What the lab found" in text


MOVABLE = {path.stem for path in (ROOT / "book" / "_static" / "movable").glob("*.js")} - {
    "maths",
    "data",
    "plot",
    "movable",
}


@pytest.mark.parametrize("page", CHAPTERS, ids=named)
def test_a_chapter_has_a_figure_that_the_reader_can_move(page):
    drawn = re.findall(r"^```\{drawing\} ([\w-]+)$", page.read_text(encoding="utf-8"), flags=re.M)
    assert MOVABLE & set(drawn)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_paragraph_is_longer_than_600_characters(page):
    text = page.read_text(encoding="utf-8")
    pieces = [piece for block in text.split("\n\n") for piece in re.split(r"\n(?=- )", block)]
    prose = [piece for piece in pieces if not piece.lstrip().startswith(("$$", "```", "|", ":::"))]
    assert [piece[:60] for piece in prose if len(piece) > 600] == []


@pytest.mark.parametrize("lab", LABS, ids=named)
def test_printed_columns_fit_a_phone(lab):
    """Sentences wrap; columns do not, and a phone shows 49 letters."""
    wide = []
    for cell in json.loads(lab.read_text(encoding="utf-8"))["cells"]:
        if "remove-cell" in cell["metadata"].get("tags", []):
            continue
        for output in cell.get("outputs", []):
            lines = "".join(output.get("text", "")).splitlines()
            wide += [line for line in lines if re.search(r"\S {2,}\S", line) and len(line) > 49]
    assert wide == []


def test_each_figure_that_can_be_moved_has_its_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in MOVABLE if f"{{drawing}} {name}\n" not in text} == set()


def test_every_drawing_is_drawn_by_a_function_and_shown():
    from tools.drawings.hand import DRAWINGS  # noqa: PLC0415

    for module in (ROOT / "tools" / "drawings").glob("ch*.py"):
        __import__(f"tools.drawings.{module.stem}")
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(re.findall(r"\{drawing\} ([\w-]+)", text))
    stored = {path.stem for path in (ROOT / "book" / "drawings").glob("*.svg")}
    assert shown == stored == set(DRAWINGS)


@pytest.mark.parametrize("lab", LABS, ids=named)
def test_visible_cells_are_short_and_hold_no_glue(lab):
    cells = list(visible(lab))
    lines = [len(source.splitlines()) for source, _ in cells]
    assert max(lines) <= 25
    assert not [source for source, _ in cells if re.search(r"\bglue\b", source)]
    assert not [source for source, _ in cells if re.search(r"^\s*_ = ", source, flags=re.M)]


def test_half_of_all_visible_cells_have_at_most_ten_lines():
    assert median(len(source.splitlines()) for lab in LABS for source, _ in visible(lab)) <= 10


@pytest.mark.parametrize("lab", LABS, ids=named)
def test_what_a_student_writes_is_used_by_the_cells_after_it(lab):
    cells = [
        cell
        for cell in json.loads(lab.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    for i, cell in enumerate(cells):
        if not cell["metadata"].get("nbgrader", {}).get("solution"):
            continue
        source = "".join(cell["source"])
        assert len([line for line in source.splitlines() if "### " not in line]) <= 12
        later = ["".join(other["source"]) for other in cells[i + 1 :]]
        later = [text for text in later if "checks.check_" not in text]
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                used = [text for text in later if re.search(rf"\b{node.name}\b", text)]
                assert used, f"{node.name} is not used again"
