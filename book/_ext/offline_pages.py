"""Pages that ask nothing of the network, show exercises without the grader's markers, numbers as a reader writes them
and beside their units, and names of the code that break between their words.
"""

import json
import re

from docutils import nodes

MARKERS = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n?", re.M)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*\n?", re.M | re.S)
SHORT = 16  # letters
NAME = re.compile(r'(?<=<span class="pre">)[^<]+')
UNIT = re.compile(r"(\d) (?=(?:s|ms|min|h|MB|px|seconds?|minutes?|hours?|bits?|nats?)\b)")
BETWEEN = re.compile(r"(?<=\d)–(?=\d)")
POWER = re.compile(r"([\d.]+)e([+-]\d+)")


def clean_exercises(app, docname, source):
    """Remove nbgrader's markers and hidden tests from a notebook; ``source[0]`` is its JSON."""
    if app.env.doc2path(docname).endswith(".ipynb"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if "nbgrader" in cell["metadata"]:
                cell["source"] = MARKERS.sub("", HIDDEN.sub("", "".join(cell["source"]))).rstrip()
        source[0] = json.dumps(notebook)


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of thebe, which names a content delivery network and is not used here."""
    context["script_files"] = [
        s
        for s in context["script_files"]
        if "thebe" not in f"{s.filename} {s.attributes.get('body', '')}"
    ]


def powers_of_ten(app, doctree, docname):
    """Show a number from a cell such as 2e+07 as 2 · 10⁷."""
    for node in doctree.findall(nodes.inline):
        if "pasted-text" in node["classes"] and (match := POWER.fullmatch(node.astext())):
            power = nodes.superscript("", str(int(match[2])).replace("-", "−"))
            node[:] = [nodes.Text(f"{match[1]}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}10"), power]


def keep_units(app, doctree, docname):
    """Keep a number and its unit, also where the number comes from a cell, and the ends of an interval on one line."""
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.math, nodes.raw)):
            continue
        before = text.parent[text.parent.index(text) - 1] if text.parent.index(text) else None
        pasted = isinstance(before, nodes.inline) and "pasted-text" in before["classes"]
        joined = UNIT.sub("\\1\N{NO-BREAK SPACE}", f"0{text}" if pasted else str(text))
        joined = joined.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        joined = BETWEEN.sub("\N{WORD JOINER}–\N{WORD JOINER}", joined)
        if (joined := joined[pasted:]) != text:
            text.parent.replace(text, nodes.Text(joined))


def break_names(app, pagename, templatename, context, doctree):
    """Let a long name of the code break after a mark, and a short one or an option of a command nowhere."""

    def broken(name):
        text = name[0]
        if len(text) > SHORT:
            text = re.sub(r"(?<=\w)([_(](?=\w)|\.(?=[^\W\d]))", r"\1<wbr/>", text)
        return re.sub(r"--\w[\w-]*", r'<span class="option">\g<0></span>', text)

    if "body" in context:
        context["body"] = NAME.sub(broken, context["body"])


def setup(app):
    app.connect("source-read", clean_exercises)
    app.connect("doctree-resolved", powers_of_ten)
    app.connect("doctree-resolved", keep_units, priority=510)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", break_names, priority=910)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
