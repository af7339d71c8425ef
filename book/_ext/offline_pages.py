"""Keeps nbgrader's markers out of the pages, and scripts that would ask the network for anything."""

import json
import re

MARKERS = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n?", re.M)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*\n?", re.M | re.S)


def clean_exercises(app, docname, source):
    if app.env.doc2path(docname).endswith(".ipynb"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if "nbgrader" in cell["metadata"]:
                cell["source"] = MARKERS.sub("", HIDDEN.sub("", "".join(cell["source"]))).rstrip()
        source[0] = json.dumps(notebook)


def drop_thebe(app, pagename, templatename, context, doctree):
    context["script_files"] = [s for s in context["script_files"] if "thebe" not in f"{s.filename} {s.attributes.get('body', '')}"]


def setup(app):
    app.connect("source-read", clean_exercises)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
