"""Write the sources of the student's edition of the book: ``python tools/student_edition.py FOLDER``.

They are those of the book without the pages for instructors, the solutions, the answers in brief, the answers of the
labs, and the cells that are tagged ``answer``; of such a cell a figure stays, without its code.
"""

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOR_INSTRUCTORS = ("instructors", "rubrics")
SOLUTION = re.compile(r"^(`{3,})\{solution\} .*?^\1\n+", re.M | re.S)
BRIEF = re.compile(r"^(:{3,})\{admonition\} [^\n]*\bin brief\b.*?^\1\n+", re.M | re.S)
GATE = re.compile(r"^```\{solution-(?:start|end)\}.*?^```$\n*", re.M | re.S)
DOOR = re.compile(rf" ?\[[^\]]*\]\((?:{'|'.join(FOR_INSTRUCTORS)})\.md\)")
LABEL = re.compile(r"^:label: (\S+)$|^\(([\w-]+)\)=$|^ *\$\$ \((\S+)\)$", re.M)
HIDDEN = "# The code of this figure is left out: it answers an exercise."


def student_page(text):
    """A page without solutions, answers in brief, and links to the pages for instructors."""
    return DOOR.sub("", BRIEF.sub("", SOLUTION.sub("", text)))


def student_lab(lab):
    """A lab without its answers."""
    cells = []
    for cell in lab["cells"]:
        metadata, text = cell["metadata"], "".join(cell["source"])
        tags, figure = metadata.get("tags", []), metadata.get("mystnb", {}).get("figure")
        if metadata.get("nbgrader", {}).get("solution"):
            continue
        if "answer" in tags and "remove-cell" not in tags:
            if not figure:
                continue
            text, metadata = HIDDEN, {**metadata, "tags": [*tags, "remove-input"]}
            metadata["tags"] = [tag for tag in metadata["tags"] if tag != "hide-input"]
        if cell["cell_type"] == "markdown":
            text = GATE.sub("", text).strip()
        if text:
            cells.append({**cell, "metadata": metadata, "source": text})
    return {**lab, "cells": cells}


def without_dead_links(texts, labels):
    """The texts with words in the place of references to labels that are gone."""

    def words(match):
        title, _, label = match[2].removesuffix(">").rpartition(" <")
        return match[0] if label not in labels else title or "the instructor's edition"

    return {path: re.sub(r"\{([\w:]+)\}`([^`]+)`", words, text) for path, text in texts.items()}


def labels_of(texts):
    return {label for text in texts for match in LABEL.findall(text) for label in match if label}


def write(folder):
    """Write the edition's sources into a folder, whose old content is removed."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    skipped = shutil.ignore_patterns("_lab_figures", ".ipynb_checkpoints", "__pycache__")
    for name in ("book", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    shutil.copy(ROOT / "_config.yml", folder)
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for name in FOR_INSTRUCTORS:
        toc = re.sub(rf"^ *- file: book/{name}\n", "", toc, flags=re.M)
        (folder / "book" / f"{name}.md").unlink()
    (folder / "_toc.yml").write_text(toc, encoding="utf-8")

    before, after = [], {}
    for path in [*sorted((folder / "book").glob("*.md")), *sorted(folder.glob("*/*.ipynb"))]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            before.append(text)
            after[path] = student_page(text)
            continue
        lab = json.loads(text)
        before += ["".join(cell["source"]) for cell in lab["cells"]]
        lab = student_lab(lab)
        for i, cell in enumerate(lab["cells"]):
            after[path, i] = "".join(cell["source"])
        after[path] = lab
    texts = {key: text for key, text in after.items() if isinstance(text, str)}
    gone = labels_of(before) - labels_of(texts.values()) | set(FOR_INSTRUCTORS)
    texts = without_dead_links(texts, gone)
    for key, content in after.items():
        if isinstance(key, tuple):
            continue
        if key.suffix == ".ipynb":
            for i, cell in enumerate(content["cells"]):
                cell["source"] = texts[key, i]
            key.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        else:
            key.write_text(texts[key], encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1])
