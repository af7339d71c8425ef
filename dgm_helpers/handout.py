"""The homework as an nbgrader course: the labs with their answers for the instructor, without them for the student."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from ast import literal_eval
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
LABS = ROOT / "notebooks"
FENCE = re.compile(r"^```\{(exercise-end|solution-start|solution-end)\}.*?^```$\n*", re.M | re.S)
EXERCISE = re.compile(r"^```\{exercise-start\} (.*)\n:label: \S+\n```$", re.M)
ADMONITION = re.compile(r"^:::\{admonition\} (.*)\n:class: \w+\n(.*?)^:::$", re.M | re.S)
ROLE = re.compile(r"\{([\w:]+)\}`([^`]*)`")
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
    titles = _titles()
    for name, lab in labs.items():
        (source / name).write_text(
            json.dumps(plain(lab, titles), indent=1) + "\n", encoding="utf-8"
        )

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
        if path.suffix in (".py", ".txt", ".safetensors")
    ]
    records = list((ROOT / "results").rglob("*.json"))
    student = folder / "hw3.zip"
    with zipfile.ZipFile(student, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(ROOT / "homework" / "README.md", "hw3/README.md")
        for path in sorted((folder / "release" / "hw3").glob("*.ipynb")):
            archive.write(path, f"hw3/{path.name}")
        for path in (ROOT / "requirements.txt", ROOT / "LICENSE", *sorted(package + records)):
            archive.write(path, Path("hw3") / path.relative_to(ROOT))
    return student


def plain(lab, titles):
    """A copy of a lab for JupyterLab, which knows neither the book's directives and roles nor its macros.

    ``titles`` gives the title of each label. A quoted number becomes the value stored in the lab.
    """
    outputs = [output for cell in lab["cells"] for output in cell.get("outputs", ())]
    stored = {
        o["metadata"]["scrapbook"]["name"]: o["data"]
        for o in outputs
        if "scrapbook" in o.get("metadata", {})
    }

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
            return f"*{titles.get(text, text)}*"
        return {
            "eq": f"({text})",
            "numref": "the figure",
            "math": f"${text}$",
            "py:func": f"`{text}`",
        }.get(role, f"[{text}]")

    marks = [cell["metadata"].get("nbgrader", {}) for cell in lab["cells"]]
    points = iter(
        [mark["points"] for mark in marks if mark.get("grade")]
    )  # one graded cell for each exercise, in the same order
    cells = []
    for cell in lab["cells"]:
        if cell["cell_type"] == "markdown":
            text = FENCE.sub("", "".join(cell["source"]))
            text = EXERCISE.sub(
                lambda title: f"### Exercise: {title[1]} ({next(points)} points)", text
            )
            text = ADMONITION.sub(r"**\1**\n\n\2", text)
            text = ROLE.sub(words, re.sub(r"^\(\S+\)=\n", "", text, flags=re.M))
            text = re.sub(r"(^|\. )the figure", r"\1The figure", text, flags=re.M).strip()
            if text:
                cells.append({**cell, "source": text if cells else f"{_macros()}\n\n{text}"})
        else:
            cells.append({**cell, "outputs": [], "execution_count": None})
    return {**lab, "cells": cells}


def _titles():
    texts = [_read(path) for path in (ROOT / "book").glob("*.md")]
    for path in (*(ROOT / "book").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")):
        texts += [
            "".join(cell["source"])
            for cell in json.loads(_read(path))["cells"]
            if cell["cell_type"] == "markdown"
        ]
    headings = {label: title for text in texts for label, title in HEADING.findall(text)}
    return headings | {label: title for text in texts for title, label in TITLED.findall(text)}


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
