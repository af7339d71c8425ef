"""Pages that ask nothing of the network, show exercises without the grader's markers, and numbers as a reader writes
them.
"""

import json
import re

from docutils import nodes

MARKERS = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n?", re.M)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*\n?", re.M | re.S)
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


def setup(app):
    app.connect("source-read", clean_exercises)
    app.connect("doctree-resolved", powers_of_ten)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
