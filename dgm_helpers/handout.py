"""The homework as an nbgrader course: the labs with their answers for the instructor, without them for the student."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from ast import literal_eval
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
LABS = ROOT / "notebooks"
FOR_STUDENTS = ("README.md", "00_start_here.ipynb", "requirements.txt")
# networks of the page of results alone
COMPARED = {f"{name}-generated" for name in ("correction", "faded", "fourier")}
NOT_LOADED = {"classifier-dawnlike", "distinct-100", "distinct-3576", *COMPARED}  # by no lab
BOOK_ONLY = {
    "answer",
    "remove-cell",
}  # tags of cells that answer an exercise, and of those that glue
FENCE = re.compile(r"^```\{(exercise-end|solution-start|solution-end)\}.*?^```$\n*", re.M | re.S)
EXERCISE = re.compile(r"^```\{exercise-start\} (.*)\n:label: \S+\n```$", re.M)
ADMONITION = re.compile(r"^:::\{admonition\} (.*)\n:class: \w+\n(.*?)^:::$", re.M | re.S)
ROLE = re.compile(r"\{([\w:]+)\}`([^`]*)`")
EQUATION = re.compile(r"^\$\$\n((?:(?!\$\$).)*?)\n\$\$ \((eq-[\w-]+)\)", re.M | re.S)
ALGORITHM = re.compile(r"^```\{prf:algorithm\} [^\n]*\n:label: (\S+)\n(.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^\((\S+)\)=\n#+ (.*)$", re.M)
TITLED = re.compile(r"\{(?:prf:\w+|exercise|exercise-start)\} (.*)\n:label: (\S+)")


def _read(path):
    return path.read_text(encoding="utf-8")


def load_labs():
    """Read the labs: a dictionary from file name to notebook.

    Raises OSError if nbgrader or the labs are missing, ValueError if two cells have the same ``grade_id``.
    """
    if find_spec("nbgrader") is None:
        raise OSError(
            "handout needs nbgrader, which is not installed; pip install -r requirements.txt installs it"
        )
    labs = {path.name: json.loads(_read(path)) for path in sorted(LABS.glob("[0-9]*.ipynb"))}
    if not labs:
        raise OSError(
            f"no labs in {LABS}; handout needs a clone of the whole repository, beside the package"
        )
    seen = {}
    for name, lab in labs.items():
        for cell in lab["cells"]:
            grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if grade_id in seen:
                raise ValueError(
                    f"grade_id must be unique in the book, got {grade_id!r} in {seen[grade_id]} and in {name}"
                )
            if grade_id:
                seen[grade_id] = name
    return labs


def write_course(labs, folder):
    """Write an nbgrader course with the homework ``hw3`` into an empty folder; returns the path of the student's zip.

    Raises ValueError with nbgrader's messages if nbgrader refuses a lab, OSError if the folder cannot be written.
    """
    folder = Path(folder)
    shutil.copy(ROOT / "homework" / "nbgrader_config.py", folder)
    source = folder / "source" / "hw3"
    source.mkdir(parents=True)
    book = read_book()
    for name, lab in labs.items():
        (source / name).write_text(json.dumps(plain(lab, book), indent=1) + "\n", encoding="utf-8")

    # nbgrader calls a program of the environment by its name
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", os.defpath)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "hw3"]
    run = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if run.returncode:
        raise ValueError(f"nbgrader could not make the release: {run.stderr}")

    package = [
        path
        for path in (ROOT / "dgm_helpers").rglob("*")
        if path.suffix in (".py", ".txt", ".safetensors") and path.stem not in NOT_LOADED
    ]
    records = [
        path
        for path in (ROOT / "results").rglob("*.json")
        if not any(name in path.stem for name in COMPARED)
    ]
    student = folder / "hw3.zip"
    with zipfile.ZipFile(student, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        given = [ROOT / "homework" / name for name in FOR_STUDENTS]
        for path in (*given, *sorted((folder / "release" / "hw3").glob("*.ipynb"))):
            archive.write(path, f"hw3/{path.name}")
        for path in (ROOT / "LICENSE", *sorted(package + records)):
            archive.write(path, Path("hw3") / path.relative_to(ROOT))
    return student


@dataclass(frozen=True)
class Book:
    """What the labs refer to: titles, equations and algorithms by their labels, the literature by its keys."""

    titles: dict
    equations: dict
    algorithms: dict
    works: dict


def read_book():
    """Read from the pages of the book what the labs refer to."""
    from pybtex.database import parse_file

    pages = [_read(path) for path in sorted((ROOT / "book").glob("*.md"))]
    texts = list(pages)
    for path in (*(ROOT / "book").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")):
        texts += [
            "".join(cell["source"])
            for cell in json.loads(_read(path))["cells"]
            if cell["cell_type"] == "markdown"
        ]
    titles = {label: title for text in texts for label, title in HEADING.findall(text)}
    titles |= {label: title for text in texts for title, label in TITLED.findall(text)}
    equations = {label: body for text in pages for body, label in EQUATION.findall(text)}
    algorithms = dict(pair for text in pages for pair in ALGORITHM.findall(text))
    bibliography = parse_file(str(ROOT / "book" / "references.bib"), encoding="utf-8")
    return Book(titles, equations, algorithms, dict(bibliography.entries))


def plain(lab, book):
    """A copy of a lab for JupyterLab, which knows neither the book's directives and roles nor its macros.

    An equation or an algorithm that the lab names stands where it is first named, the literature at the end. A quoted
    number becomes the value stored in the lab. Cells that are for the book only are left out.
    """
    outputs = [output for cell in lab["cells"] for output in cell.get("outputs", ())]
    stored = {
        o["metadata"]["scrapbook"]["name"]: o["data"]
        for o in outputs
        if "scrapbook" in o.get("metadata", {})
    }
    kept = [c for c in lab["cells"] if not BOOK_ONLY & set(c["metadata"].get("tags", ()))]
    figures = {c["metadata"].get("mystnb", {}).get("figure", {}).get("name") for c in kept}
    shown, cited = set(), {}

    def words(match):
        role, text = match.groups()
        if role == "glue:text":
            key, _, form = text.partition(":")
            if key not in stored:
                raise ValueError(
                    f"a number that a lab quotes must be stored in its outputs, got {key!r}; run the lab again"
                )
            value = literal_eval("".join(stored[key]["application/papermill.record/text/plain"]))
            return format(value, form)
        if role in ("ref", "prf:ref"):
            title, _, label = text.removesuffix(">").partition(" <")
            return f"*{title if label else book.titles.get(text, text)}*"
        if role in ("cite:p", "cite:t"):
            keys = text.split(",")
            cited.update({key: book.works[key] for key in keys})
            names = "; ".join(_short_reference(book.works[key], role) for key in keys)
            return f"({names})" if role == "cite:p" else names
        return {
            "eq": f"({text.removeprefix('eq-')})",
            "numref": "the figure" if text in figures else "the book's figure",
            "math": f"${text}$",
            "py:func": f"`{text}`",
            "py:class": f"`{text}`",
        }[role]

    def with_what_it_names(block):
        """A block of text, followed by the equations and algorithms that it is the first to name."""
        parts = [ROLE.sub(words, block)]
        for role, label in ROLE.findall(block):
            table = {"eq": book.equations, "prf:ref": book.algorithms}.get(role, {})
            if label in table and label not in shown:
                shown.add(label)
                if role == "eq":
                    tag = rf"\tag{{{label.removeprefix('eq-')}}}"
                    parts.append(f"$$\n{table[label]} {tag}\n$$")
                else:
                    body = with_what_it_names(table[label].strip())
                    parts.append(f"**Algorithm: {book.titles[label]}**\n\n{body}")
        return "\n\n".join(parts)

    marks = [cell["metadata"].get("nbgrader", {}) for cell in lab["cells"]]
    points = iter(
        [mark["points"] for mark in marks if mark.get("grade")]
    )  # one graded cell for each exercise, in the same order
    cells = []
    for cell in kept:
        metadata = {key: value for key, value in cell["metadata"].items() if key != "mystnb"}
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text = FENCE.sub("", text)
            text = EXERCISE.sub(
                lambda title: f"### Exercise: {title[1]} ({_points(next(points))})", text
            )
            text = ADMONITION.sub(r"**\1**\n\n\2", text)
            text = re.sub(r"^\(\S+\)=\n", "", text, flags=re.M)
            if metadata.get("nbgrader", {}).get("solution"):
                text = ROLE.sub(words, text)
            else:
                text = "\n\n".join(with_what_it_names(block) for block in text.split("\n\n"))
            first = r"(^|\. )the (book's figure|figure)"
            text = re.sub(first, r"\1The \2", text, flags=re.M).strip()
            if text:
                text = text if cells else f"{_macros()}\n\n{text}"
                cells.append({**cell, "metadata": metadata, "source": text})
        else:
            empty = {"outputs": [], "execution_count": None, "metadata": metadata}
            cells.append({**cell, **empty, "source": text})
    if cited:
        works = "\n".join(f"- {_reference(cited[key])}" for key in sorted(cited))
        last = {"cell_type": "markdown", "id": "references", "metadata": {}}
        cells.append({**last, "source": f"## References\n\n{works}"})
    return {**lab, "cells": cells}


def _points(n):
    return f"{n} point" if n == 1 else f"{n} points"


def _names(work):
    return [str(person.rich_last_names[-1]) for person in work.persons["author"]]


def _short_reference(work, role):
    names = _names(work)
    who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    year = work.fields["year"]
    return f"{who} {year}" if role == "cite:p" else f"{who} ({year})"


def _reference(work):
    from pybtex.richtext import Text

    fields = {key: str(Text.from_latex(value)) for key, value in work.fields.items()}
    where = [fields[key] for key in ("journal", "booktitle", "publisher") if key in fields][:1]
    arxiv = re.search(r"arxiv\.org/abs/([\w.]+)", work.fields.get("url", ""))
    end = f"arXiv:{arxiv[1]}" if arxiv else work.fields.get("url", "")
    parts = [", ".join(_names(work)), f"*{fields['title']}*", *where, fields["year"], end]
    return ". ".join(part for part in parts if part)


def _macros():
    import yaml

    macros = yaml.safe_load(_read(ROOT / "_config.yml"))["sphinx"]["config"]["mathjax3_config"][
        "tex"
    ]["macros"]
    pairs = (
        (name, value, "") if isinstance(value, str) else (name, value[0], f"[{value[1]}]")
        for name, value in macros.items()
    )
    return "$" + "".join(rf"\newcommand{{\{name}}}{n}{{{text}}}" for name, text, n in pairs) + "$"
