"""The page that a student gets back: points, answers, what the checks said, comments. It opens without a network.

What a student wrote is text on it: markdown is cleaned, code is escaped, and the page's policy lets only its own
scripts run and asks nothing of any server.
"""

import base64
import hashlib
import html
import re
from importlib.util import find_spec
from pathlib import Path

from .handout import _macros

TAGS = re.findall(
    r"\w+",
    "p br hr em strong code pre ul ol li blockquote table thead tbody tr th td h1 h2 h3 h4 h5 h6 img sub sup div span",
)
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
style-src 'unsafe-inline'; script-src {hashes}">
<title>Homework 3, {number}</title>
<style>
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font-family: sans-serif; line-height: 1.5 }}
pre {{ background: #f4f4f4; padding: .6rem; overflow-x: auto; white-space: pre-wrap }}
table {{ border-collapse: collapse }} td, th {{ padding: .1rem .6rem; text-align: left; border-bottom: 1px solid #ddd }}
.points {{ font-weight: bold }} .said {{ border-left: 4px solid #b33; padding-left: .6rem }}
.comment {{ border-left: 4px solid #36c; padding-left: .6rem }} img {{ max-width: 100% }} .macros {{ display: none }}
</style></head><body>
<div class="macros">{macros}</div>
<h1>Homework 3: {name}, {number}</h1>
{body}
{scripts}
</body></html>
"""
MATHJAX = """window.MathJax = {
tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], packages: {"[-]": ["html", "require", "autoload", "noerrors"]}},
options: {enableMenu: false},
svg: {fontCache: "local"}};"""


def feedback(student, row, columns, given, state, labs):
    """The page of a student: ``labs`` are those that ran, by name, ``given`` the points by ``grade_id``."""
    text = html.escape
    cells, graded, waiting = "", 0, {}
    for question, parts in columns.items():
        opened = sum(points for name, points in parts if given.get(name, {}).get("open"))
        settled = sum(points for _, points in parts) - opened
        words = [f"{row[question]} of {settled:g}"] if settled else []
        if opened:
            waiting[question] = opened
            words.append(f"{opened:g} not graded yet")
        graded += settled
        cells += f"<tr><td>{text(question)}</td><td>{', '.join(words)}</td></tr>"
    words = f"{row['total']} of {graded:g}"
    if waiting:
        words += f", {sum(waiting.values()):g} not graded yet"
    late = f" {row['days_late']} days late." if row["days_late"] else ""
    body = [f"<p>Handed in: {row['handed_in'] or 'nothing that could be graded'}.{late}</p>"]
    if row["report"]:
        body.append(f"<p>Report: {text(row['report'])}</p>")
    if waiting:
        body.append(f"<p>Not graded yet: {text(', '.join(waiting))}</p>")
    body += [f"<p>{text(note)}</p>" for note in state.get("collected", ())]
    body.append(f"<table>{cells}<tr><th>total</th><th>{words}</th></tr></table>")
    for lab_name, lab in labs.items():
        body.append(f"<h2>{text(lab_name)}</h2>")
        heading = ""
        for cell in lab["cells"]:
            source = "".join(cell["source"])
            if title := re.search("^### (Exercise.*)$", source, re.M):
                heading = f"<h3>{text(title[1])}</h3>"
            mark = cell["metadata"].get("nbgrader", {})
            if mark.get("grade_id") or cell["metadata"].get("added"):
                body.append(
                    heading + show_cell(cell, source, mark, given.get(mark.get("grade_id"), {}))
                )
                heading = ""
    scripts = [MATHJAX, mathjax()]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    name = text(f"{student.first_name} {student.last_name}".strip())
    return PAGE.format(
        hashes=hashes,
        number=text(student.number),
        name=name,
        macros=text(_macros()),
        body="\n".join(body),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def mathjax():
    """MathJax in one script, which the book's environment holds; without it formulas stay as they are written."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None:
        return ""
    path = Path(spec.submodule_search_locations[0]) / "static" / "mathjax" / "tex-svg-full.js"
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def show_cell(cell, source, mark, grade):
    """A cell of the page; what a student wrote cannot become a part of it."""
    parts, text = [], html.escape
    if cell["cell_type"] == "markdown":
        parts.append(f'<div dir="auto">{written(source, cell.get("attachments", {}))}</div>')
    elif not mark.get("locked"):
        parts.append(f"<pre>{text(source)}</pre>")
    for output in cell.get("outputs", ()):
        if output["output_type"] == "error":
            kind = "AssertionError" if output["ename"] == "WrongAnswer" else output["ename"]
            said = f"{kind}: {output['evalue']}"  # as in the lab
            parts.append(f'<pre class="said">{text(said)}</pre>')
        elif output["output_type"] == "stream":
            parts.append(f"<pre>{text(''.join(output['text']))}</pre>")
        elif picture := output.get("data", {}).get("image/png"):
            parts.append(f'<img alt="" src="data:image/png;base64,{text("".join(picture))}">')
    if mark.get("grade") and mark.get("points"):
        most, score = f"{mark['points']:g}", f"{grade.get('score', 0):g}"
        points = f"{most}, not graded yet" if grade.get("open") else f"{score} of {most}"
        parts.append(f'<p class="points">Points: {points}</p>')
    if grade.get("comment"):
        parts.append(f'<div class="comment" dir="auto">{written(grade["comment"], {})}</div>')
    return "\n".join(parts)


def written(source, attachments):
    """Markdown as HTML that holds text, formulas and pictures of its own, nothing that runs or asks the network."""
    import bleach
    from nbconvert.filters import markdown2html

    for name, data in attachments.items():
        for kind, content in data.items():
            source = source.replace(f"attachment:{name}", f"data:{kind};base64,{content}")
    try:
        page = markdown2html(source)
    except Exception:  # a parser that breaks on hostile text
        page = f"<pre>{html.escape(source)}</pre>"
    return bleach.clean(page, tags=TAGS, attributes={"img": ["src", "alt"]}, protocols=["data"])
