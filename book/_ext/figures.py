"""Numbered figures of the derivation pages: drawings, which suit light and dark, and figures of the labs.

``{drawing} NAME`` shows ``book/drawings/NAME.svg`` (made by ``tools/drawings``) inline, so that its lines take the
colour of the text. If ``book/_static/movable/NAME.js`` exists, the reader can move it: the script, which needs those in
``FRAME``, replaces the drawing, which stays as the still for print, for readers without scripts, and wherever the
script or its data fail.

``{lab-figure} LAB FIGURE`` shows the stored output of the lab's cell whose figure has that name. Its caption is the
directive's content, or else the lab's own.
"""

import base64
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from pictures import inline
from sphinx.util.docutils import SphinxDirective

# the scripts that every movable figure needs, in this order
FRAME = ["maths", "data", "plot", "movable"]


class Drawing(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged_required, "alt": directives.unchanged_required}

    def run(self):
        name, book = self.arguments[0], Path(self.env.srcdir) / "book"
        source = book / "drawings" / f"{name}.svg"
        if not source.exists() or not self.options.get("alt"):
            raise self.error(
                f"drawing {name}: {source} must exist, and :alt: must say what it shows"
            )
        self.env.note_dependency(str(source))
        svg = source.read_text(encoding="utf-8")
        svg = inline(svg, self.options["alt"], "drawing")
        script = book / "_static" / "movable" / f"{name}.js"
        if script.exists():
            self.env.note_dependency(str(script))
            svg = f'<div class="movable" data-movable="{name}"><div class="still">{svg}</div></div>'
            self.env.metadata[self.env.docname].setdefault("movable", []).append(name)
        return [numbered_figure(self, nodes.raw("", svg, format="html"))]


class LabFigure(SphinxDirective):
    required_arguments = 2
    has_content = True
    option_spec = {"name": directives.unchanged_required, "alt": directives.unchanged_required}

    def run(self):
        lab, wanted = self.arguments
        root = Path(self.env.srcdir)
        path = root / "notebooks" / f"{lab}.ipynb"
        self.env.note_dependency(str(path))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            settings = cell["metadata"].get("mystnb", {})
            if settings.get("figure", {}).get("name") == wanted:
                break
        else:
            raise self.error(f"lab-figure: no cell of {path.name} has a figure named {wanted!r}")
        kinds = {"image/svg+xml": "svg", "image/gif": "gif", "image/png": "png"}
        pictures = [
            (kinds[kind], "".join(content))
            for output in cell["outputs"]
            for kind, content in output.get("data", {}).items()
            if kind in kinds
        ]
        if not pictures:
            raise self.error(
                f"lab-figure: the cell of {wanted!r} in {path.name} has no picture stored"
            )
        kind, content = pictures[0]
        alt = self.options.get("alt") or settings.get("image", {}).get("alt") or ""
        if kind == "svg":
            picture = nodes.raw("", inline(content, alt), format="html")
        else:
            copy = root / "book" / "_lab_figures" / f"{wanted}.{kind}"
            content = base64.b64decode(content)
            if not copy.exists() or copy.read_bytes() != content:
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(content)
            picture = nodes.image(uri=f"/book/_lab_figures/{copy.name}", alt=alt)
        if not self.content:
            self.content = type(self.content)([settings["figure"].get("caption", "")], path.name)
        return [numbered_figure(self, picture)]


def numbered_figure(directive, content):
    figure = nodes.figure("", content, align="center")
    text, messages = directive.state.inline_text(" ".join(directive.content), directive.lineno)
    figure += nodes.caption("", "", *text)
    directive.set_source_info(figure)
    directive.add_name(figure)
    return figure


def movable_scripts(app, pagename, templatename, context, doctree):
    """Load the scripts of a page's movable figures on that page only."""
    names = app.env.metadata.get(pagename, {}).get("movable", [])
    for name in [*FRAME, *names] if names else []:
        app.add_js_file(f"movable/{name}.js", loading_method="defer")


def setup(app):
    app.add_directive("drawing", Drawing)
    app.add_directive("lab-figure", LabFigure)
    app.connect("html-page-context", movable_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
