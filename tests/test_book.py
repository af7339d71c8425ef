"""The book builds without a warning, its notebooks are clean runs, and no page asks the network for anything."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(
    path for folder in ("notebooks", "book") for path in (ROOT / folder).glob("*.ipynb")
)
ASKS = re.compile(
    r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc\s*=\s*["']?(?:https?:)?//|<link\b[^>]*\bhref\s*=\s*["']?(?:https?:)?//[^>]*>"""
)
MACHINE = re.compile(rb"(?<![\w+/.])/(?:home|root|Users|work|tmp)/\w")


@pytest.fixture(scope="session")
def pages(html):
    """The HTML files of the book."""
    return sorted(html.rglob("*.html"))


def test_every_page_of_the_table_of_contents_is_built(pages):
    files = re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text())
    built = {page.as_posix() for page in pages}
    assert len(files) > 10
    assert all(any(page.endswith(f"/html/{file}.html") for page in built) for file in files)


def test_pages_ask_nothing_of_the_network(pages):
    for page in pages:
        found = [
            tag.group(0)
            for tag in ASKS.finditer(page.read_text())
            if 'rel="canonical"' not in tag.group(0)
        ]
        assert not found, f"{page.name}: {found}"
    for sheet in pages[0].parent.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


def test_pages_show_no_markers_no_raw_directives_and_no_computer_s_notation(pages):
    for page in pages:
        text = page.read_text()
        assert not re.search(r'"pasted-text">[\d.]+e[+-]', text), page
        assert "BEGIN SOLUTION" not in text and "BEGIN HIDDEN" not in text, page
        body = re.sub(r"<(script|style|pre|code).*?</\1>", "", text, flags=re.S)
        assert not re.search(r"\{(?:eq|ref|numref|cite|glue|prf:ref|doc)[:}]", body), page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_one_clean_run(path):
    assert path.stat().st_size < 1.5e6
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [
        cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    ids = [
        cell["metadata"]["nbgrader"]["grade_id"]
        for cell in notebook["cells"]
        if "nbgrader" in cell["metadata"]
    ]
    assert len(set(ids)) == len(ids)


def test_docstrings_name_equations_that_exist():
    used = {
        label
        for path in (ROOT / "dgm_helpers").glob("*.py")
        for label in re.findall(r":eq:`([\w-]+)`", path.read_text())
    }
    text = "".join(path.read_text() for path in (ROOT / "book").glob("*.md"))
    assert len(used) > 5
    assert {label: text.count(f"({label})") for label in used} == dict.fromkeys(used, 1)


def test_no_file_names_a_folder_of_the_machine_that_made_it():
    below = [
        path
        for name in (
            "book",
            "notebooks",
            "dgm_helpers",
            "homework",
            "results",
            "tests",
            "tools",
            "benchmarks",
        )
        for path in (ROOT / name).rglob("*")
    ]
    files = [
        path
        for path in [*ROOT.iterdir(), *below]
        if path.is_file() and path.suffix != ".pyc" and path.parent.name != ".ipynb_checkpoints"
    ]
    assert len(files) > 30
    assert not [path for path in files if MACHINE.search(path.read_bytes())]
