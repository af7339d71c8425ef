"""What helps a reader to find things: the sidebar, cards that show what a reference refers to, the search, and a table
of equations and functions.
"""

import ast
import hashlib
import json
import re
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urljoin

from bs4 import BeautifulSoup, NavigableString
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

KEPT = 60_000  # characters of a card; a larger figure is shown by its caption only
LINK = re.compile(r'<a class="reference internal" href="([^"#]+#[^"]+)"')  # to another page
NUMBERED = "div.math[id^=equation-], div.proof[id], div.exercise[id], figure[id]"
DRAWING = re.compile(r"<svg\b.*?</svg>", re.S)
SET_ASIDE = re.compile(r'<svg data-drawing="(\d+)"></svg>')
# sphinx-proof and sphinx-exercise give these to every box, and the search page to both its fields
REPEATED = re.compile(r' id="(?:proof|proof-content|exercise-content|solution-content)"')

SOLUTION = re.compile(r'Solution to(<a class="reference internal" href="[^"]*">) ')

# names, punctuation and spaces in code have the colour of the rest
PLAIN = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')


def take_back_numbers(app, env):
    """Let the collector, which comes next, compare the labs' numbers with those of the last build."""
    env.toc_secnumbers.update(getattr(env, "lab_numbers", {}))
    return []


def unnumber_labs(app, env):
    """A lab is the lab of its chapter and not a section of it; its figures keep the chapter's number."""
    labs = [name for name in env.toc_secnumbers if name.startswith("notebooks/")]
    env.lab_numbers = {name: env.toc_secnumbers[name] for name in labs}
    for name in labs:
        env.toc_secnumbers[name] = {}
        env.titles[name].attributes.pop("secnumber", None)
        for reference in env.tocs[name].findall(nodes.reference):
            reference.attributes.pop("secnumber", None)
    return []


def quoting(app, env, added, changed, removed):
    """A page that quotes a lab is out of date when the lab is."""
    paths = {name: Path(env.doc2path(name)) for name in env.found_docs}
    labs = [paths[name].name for name in changed if paths[name].suffix == ".ipynb"]
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items() if labs}
    return [name for name, text in texts.items() if any(lab in text for lab in labs)]


def open_sidebar(app, pagename, templatename, context, doctree):
    """The labs stand below their chapters, always in sight."""
    toctree = context.get("generate_toctree_html")

    def flat(kind, **options):
        soup = toctree(kind, **options)
        for details in soup("details"):
            details.summary.decompose()
            details.unwrap()
        return soup

    if toctree:
        context["generate_toctree_html"] = flat


def mend(app, pagename, templatename, context, doctree):
    """Ids are given once, a list has items, of code only what has a colour of its own is marked, and no link begins
    with a blank.
    """
    if "body" in context:
        body = PLAIN.sub(r"\1", REPEATED.sub("", context["body"]))
        body = SOLUTION.sub(r"Solution to \1", body)
        context["body"] = body.replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def collect(app, pagename, templatename, context, doctree):
    """Keep what the cards and the search show of a page, and which cards of other pages it needs."""
    if doctree is None or app.builder.name != "html":
        return
    drawings = []

    def set_aside(drawing):
        drawings.append(drawing[0])
        return f'<svg data-drawing="{len(drawings) - 1}"></svg>'

    def put_back(card):
        return SET_ASIDE.sub(lambda drawing: drawings[int(drawing[1])], str(card))

    # the drawings are most of a page, and slow to parse
    soup = BeautifulSoup(DRAWING.sub(set_aside, context["body"]), "html.parser")
    for extra in soup.select("a.headerlink, script, style, button"):
        extra.decompose()
    cards = {}
    for part in soup.select(NUMBERED):
        card = copy(part)
        if len(put_back(card)) > KEPT:
            for picture in card.select("svg, img"):
                picture.decompose()
        for tag in [card, *card.select("[id]")]:
            del tag["id"]
        cards[part["id"]] = put_back(card)
    for extra in soup.select("div.math, svg, figure, pre, summary"):
        extra.replace_with(NavigableString(" … ") if "math" in extra.get("class", []) else "")
    for block in soup(["p", "li", "dt", "dd", "div"]):
        block.append(" ")
    for cell in soup(["td", "th"]):
        cell.append(" · ")
    sections = []
    for section in reversed(soup.select("section[id]")):  # the innermost first
        heading = section.find(re.compile("^h[1-6]$"))
        if heading:
            heading.decompose()
        sections.append([section["id"], " ".join(section.get_text().split())])
        section.decompose()
    needed = {unquote(urljoin(f"{pagename}.html", link)) for link in LINK.findall(context["body"])}
    page = {"cards": cards, "sections": sections[::-1], "needed": sorted(needed)}
    path = kept(app) / f"{pagename}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page), encoding="utf-8")


def kept(app):
    """The folder of what was collected, also of the pages that this build leaves as they are."""
    return Path(app.outdir).parent / "cards"


def write_cards(app, exception):
    """A script for each page, with the cards that others need: from a folder, scripts may load scripts but no pages."""
    if exception or app.builder.name != "html":
        return
    paths = {name: kept(app) / f"{name}.json" for name in app.env.found_docs}
    pages = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in paths.items()
        if path.exists()
    }
    needed = {link for page in pages.values() for link in page["needed"]}
    for name, page in pages.items():
        cards = {id: card for id, card in page["cards"].items() if f"{name}.html#{id}" in needed}
        text = json.dumps({"cards": cards, "sections": page["sections"]}, ensure_ascii=False)
        path = Path(app.outdir) / "_static" / "pages" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"page({json.dumps(name)}, {text});\n", encoding="utf-8")


def add_scripts(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file("search.js")
    elif doctree is not None:
        app.add_js_file("previews.js", loading_method="defer")


def show_formulas_of_results(app, env):
    env.get_domain("math").data["has_equations"]["search"] = True


def name_search_field(app, exception):
    path = Path(app.outdir) / "search.html"
    if not exception and path.exists():
        first, *rest = path.read_text(encoding="utf-8").split('id="search-input"')
        fields = [f'id="search-input-{i + 2}"{text}' for i, text in enumerate(rest[1:])]
        path.write_text('id="search-input"'.join([first, *rest[:1]]) + "".join(fields), "utf-8")


class EquationTable(SphinxDirective):
    """A table of the book's equations and the functions whose docstrings name them, in the order of the pages."""

    def run(self):
        pages = sorted((Path(self.env.srcdir) / "book").glob("[01]*.md"))
        modules = sorted(Path(find_spec("dgm_helpers").origin).parent.glob("*.py"))
        for path in [*pages, *modules]:
            self.env.note_dependency(str(path))
        functions = {}
        for path in modules:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for name, docstring in documented(tree):
                for label in re.findall(r":eq:`([\w-]+)`", docstring):
                    full = f"dgm_helpers.{path.stem}.{name}"
                    functions.setdefault(label, []).append(f"{{py:obj}}`~{full}`")
        rows = ["| Equation | Page | Functions |", "|---|---|---|"]
        for page in pages:
            for label in re.findall(r"^\$\$ \(([\w-]+)\)", page.read_text(encoding="utf-8"), re.M):
                if label in functions:
                    names = ", ".join(dict.fromkeys(functions[label]))
                    rows.append(f"| {{eq}}`{label}` | {{doc}}`{page.stem}` | {names} |")
        node = nodes.container()
        self.state.nested_parse(StringList(rows), self.content_offset, node)
        return node.children


def documented(tree, prefix=""):
    """The public functions, classes and methods of a module, and their docstrings."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield prefix + node.name, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                yield from documented(node, f"{node.name}.")


def setup(app):
    # a change of the extensions makes every page out of date
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    app.add_config_value("extensions_digest", hashlib.sha256(code).hexdigest(), "env")
    app.add_directive("equation-table", EquationTable)
    app.connect("env-get-outdated", quoting)
    app.connect("env-get-updated", take_back_numbers, priority=400)
    app.connect("env-get-updated", unnumber_labs, priority=600)
    app.connect("env-updated", show_formulas_of_results)
    app.connect("html-page-context", open_sidebar, priority=900)
    app.connect("html-page-context", mend, priority=400)
    app.connect("html-page-context", collect, priority=450)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", name_search_field)
    app.connect("build-finished", write_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
