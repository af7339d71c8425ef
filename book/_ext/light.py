"""A light book: only those parts of MathJax and of the theme are served that its pages use."""

from pathlib import Path

# what mathjax3_config in _config.yml loads, and the fonts of its output
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)
# the cover's pictures are served as those of its page
UNUSED = (
    "mathjax/input/tex/extensions/all-packages.js",
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
        if path.is_file() and not name.startswith(MATHJAX):
            path.unlink()
    for pattern in UNUSED:
        for path in static.glob(pattern):
            for file in [path] if path.is_file() else path.rglob("*"):
                if file.is_file():
                    file.unlink()
    for folder in sorted(static.rglob("*/"), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def setup(app):
    app.connect("config-inited", load_parts)
    app.connect("html-page-context", drop_thebe_style, priority=900)
    app.connect("build-finished", remove_unused, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
