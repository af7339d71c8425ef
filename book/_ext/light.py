"""A light book: only those parts of MathJax and of the theme are served that its pages use, and all cores write it."""

import os
import re
from pathlib import Path

import tinycss2

# what mathjax3_config in _config.yml loads, and the letters that the book's formulas have
MATHJAX = re.compile(
    r"(startup|core|input/tex|input/tex/extensions/boldsymbol|output/chtml|output/chtml/fonts/tex|a11y/assistive-mml)\.js"
    r"|.*/MathJax_(Zero|Main.*|Math.*|Size.*|AMS.*|Calligraphic-Regular)\.woff"
)
# the cover's pictures are served as those of its page
UNUSED = (
    "vendor",
    "locales",
    "images",
    "sphinx-thebe.*",
    "*/*.map",
    "*webpack-macros.html",
    "cover.gif",
    "cover.png",
    "samples.png",
)
STYLES = ("styles/bootstrap.css", "styles/pydata-sphinx-theme.css", "sphinx-design.min.css")


def load_parts(app, config):
    """sphinx-mathjax-offline loads all of MathJax in one file, with a menu that makes each formula a tab stop."""
    config.mathjax_path = "mathjax/startup.js"


def drop_thebe_style(app, pagename, templatename, context, doctree):
    context["css_files"] = [s for s in context["css_files"] if "thebe" not in str(s.filename)]


def remove_unused(app, exception):
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    mathjax = static / "mathjax"
    for path in mathjax.rglob("*"):
        name = path.relative_to(mathjax).as_posix()
        if path.is_file() and not MATHJAX.fullmatch(name):
            path.unlink()
    for pattern in UNUSED:
        for path in static.glob(pattern):
            for file in [path] if path.is_file() else path.rglob("*"):
                if file.is_file():
                    file.unlink()
    for folder in sorted(static.rglob("*/"), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def used_rules(css, words):
    """The rules of a style sheet that can apply where no class has a name that is not among the ``words``."""
    kept = []
    for rule in tinycss2.parse_stylesheet(css, skip_whitespace=True):
        text = rule.serialize()
        if rule.type == "comment" and not rule.value.startswith("!"):  # no licence
            continue
        if rule.type == "qualified-rule":
            selectors = re.sub(r":not\([^)]*\)", "", tinycss2.serialize(rule.prelude)).split(",")
            classes = (re.findall(r"\.(-?[a-zA-Z_][\w-]*)", selector) for selector in selectors)
            if not any(words.issuperset(names) for names in classes):
                continue
        if rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = used_rules(tinycss2.serialize(rule.content), words)
            if not inner:
                continue
            text = f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}"
        kept.append(text)
    return "\n".join(kept)


def prune_styles(app, exception):
    """The style sheets of Bootstrap and of what stands on it have thousands of classes; the book uses a tenth."""
    if exception or app.builder.format != "html":
        return
    out, words = Path(app.outdir), set()
    for path in (*out.rglob("*.html"), *(out / "_static").rglob("*.js")):
        text = path.read_text(encoding="utf-8")
        for part in re.findall(r'class="([^"]*)"', text) if path.suffix == ".html" else [text]:
            words.update(re.findall(r"[\w-]+", part))
    for name in STYLES:
        sheet = out / "_static" / name
        sheet.write_text(used_rules(sheet.read_text(encoding="utf-8"), words), encoding="utf-8")


def write_on_all_cores(app, env):
    """Jupyter Book has no option for it; pages are not read so, which some extensions do not declare safe."""
    app.parallel = os.cpu_count() or 1


def setup(app):
    app.connect("config-inited", load_parts)
    app.connect("env-updated", write_on_all_cores)
    app.connect("html-page-context", drop_thebe_style, priority=900)
    app.connect("build-finished", remove_unused, priority=900)
    app.connect("build-finished", prune_styles, priority=910)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
