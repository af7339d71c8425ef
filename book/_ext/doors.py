"""The ways out of a page: the labs as students get them, the repository, and services that run a lab.

Every page offers the hand-out, and a lab's page the lab, both without answers, as ``python -m dgm_helpers handout``
makes them; if ``make pdf`` has made the PDF since the pages were changed, also that. ``REPOSITORY=owner/name`` in the
environment names the repository on GitHub; without it no page shows a link to it. With it, the labs of its branch
``handout``, which the workflow publishes, open on Colab and Binder, and pages name their address on GitHub Pages.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from sphinx.errors import ConfigError, ExtensionError
from sphinx.util import logging

logger = logging.getLogger(__name__)

MADE_OF = {".py", ".ipynb", ".json", ".md", ".txt", ".safetensors"}  # the files of the hand-out
SETUP = """# On Colab this fetches the package and what it needs; elsewhere the package lies beside the lab.
import sys
from importlib.util import find_spec

if find_spec("dgm_helpers") is None:
    !git clone --quiet --depth 1 --branch handout https://github.com/{repository} course
    %pip install --quiet --editable course
    sys.path.insert(0, "course")"""


def open_repository(app, config):
    repository = config.repository
    if not repository:
        return
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"REPOSITORY must be owner/name, as GitHub has it, got {repository!r}")
    doors = ("use_repository_button", "use_edit_page_button", "use_issues_button")
    config.html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": "main",
        **dict.fromkeys(doors, True),
    }
    owner, name = repository.split("/")
    config.html_baseurl = f"https://{owner}.github.io/{name}/"
    config.html_context["address"] = config.html_baseurl


def start_handout(app):
    """Make the hand-out in a process of its own, unless that of the last build is newer than all it is made of."""
    if app.builder.name != "html":
        return
    folder = Path(app.outdir).parent / "handout"
    root = Path(find_spec("dgm_helpers").origin).parents[1]  # an edition may be built from a copy
    parts = ["dgm_helpers", "homework", "notebooks", "results", "book"]
    files = [path for part in parts for path in (root / part).rglob("*")]
    files = [path for path in files if path.suffix in MADE_OF]
    newest = max(path.stat().st_mtime for path in [*files, root / "requirements.txt"])
    app.handout = None
    zipped = folder / "hw3.zip"
    if not zipped.exists() or zipped.stat().st_mtime < newest:
        shutil.rmtree(folder, ignore_errors=True)
        app.handout = subprocess.Popen(
            [sys.executable, "-m", "dgm_helpers", "handout", "--out", str(folder)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )


def printed_book(app):
    """Where ``make pdf`` leaves the book, whatever folder the pages go to."""
    return Path(app.srcdir) / "_build" / "book.pdf"


def is_printed(app):
    """Whether the printed book is there and newer than the pages it was printed from."""
    book, root = printed_book(app), Path(app.srcdir)
    if not book.exists():
        return False
    pages = [
        path
        for kind in ("book/*.md", "book/*.ipynb", "notebooks/*.ipynb")
        for path in root.glob(kind)
    ]
    if book.stat().st_mtime > max(path.stat().st_mtime for path in pages):
        return True
    logger.info("the PDF is older than the pages and left out; make pdf prints it again")
    return False


def add_downloads(app, exception):
    """Put the hand-out and each of its labs beside the pages."""
    if app.builder.name != "html":
        return
    if app.handout:
        said, _ = app.handout.communicate()
        if app.handout.returncode:
            raise ExtensionError(f"the hand-out could not be made: {said[-3000:]}")
    if exception:
        return
    zipped = Path(app.outdir).parent / "handout" / "hw3.zip"
    downloads = Path(app.outdir) / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    shutil.copy(zipped, downloads)
    if app.config.printed:
        shutil.copy(printed_book(app), downloads)
    with zipfile.ZipFile(zipped) as archive:
        for name in archive.namelist():
            if name.endswith(".ipynb"):
                lab = json.loads(archive.read(name))
                if app.config.repository:
                    lab["cells"].insert(0, setup_cell(app.config.repository))
                text = json.dumps(lab, indent=1) + "\n"
                (downloads / Path(name).name).write_text(text, encoding="utf-8")


def setup_cell(repository):
    """The first cell of a lab that is opened without the package beside it."""
    return {
        "cell_type": "code",
        "id": "setup",
        "metadata": {},
        "source": SETUP.format(repository=repository),
        "outputs": [],
        "execution_count": None,
    }


def link(url, text, tooltip, icon, label):
    return {
        "type": "link",
        "url": url,
        "text": text,
        "tooltip": tooltip,
        "icon": icon,
        "label": label,
    }


def set_buttons(app, pagename, templatename, context, doctree):
    """The theme offers the source of a page, with the answers, for download; offer the student's copy instead."""
    groups = {group.get("label"): group for group in context["header_buttons"]}
    downloads = context["pathto"]("downloads", 1)
    lab = pagename.startswith("notebooks/") and f"{Path(pagename).name}.ipynb"
    buttons = [
        link(
            f"{downloads}/hw3.zip",
            "all labs (.zip)",
            "All labs without answers, and the package",
            "fas fa-file",
            "download-handout-button",
        )
    ]
    if lab:
        buttons.insert(
            0,
            link(
                f"{downloads}/{lab}",
                "this lab (.ipynb)",
                "This lab without answers, for JupyterLab",
                "fas fa-code",
                "download-notebook-button",
            ),
        )
    if app.config.printed:
        buttons.append(
            link(
                f"{downloads}/book.pdf",
                "the book (.pdf)",
                "The whole book, printed",
                "fas fa-file-pdf",
                "download-book-button",
            )
        )
        context["printed"] = f"{downloads}/book.pdf"
    if "download-buttons" in groups:
        group = groups["download-buttons"]
        group["tooltip"] = "Download or print"
        (printer,) = (b for b in group["buttons"] if b["type"] == "javascript")
        group["buttons"] = [*buttons, printer | {"text": "print this page"}]
    repository = app.config.repository
    if lab and repository:
        stem = f"{repository}/blob/handout/{lab}"
        binder = f"https://mybinder.org/v2/gh/{repository}/handout?urlpath=lab/tree/{lab}"
        services = [
            ("Colab", f"https://colab.research.google.com/github/{stem}"),
            ("Binder", binder),
        ]
        context["header_buttons"].insert(
            0,
            {
                "type": "group",
                "tooltip": "Run this lab online",
                "icon": "fas fa-rocket",
                "label": "launch-buttons",
                "buttons": [
                    link(
                        url,
                        name,
                        f"Run this lab on {name}",
                        "fas fa-rocket",
                        f"{name.lower()}-button",
                    )
                    for name, url in services
                ],
            },
        )


def setup(app):
    app.add_config_value("printed", is_printed(app), "html")
    app.add_config_value("repository", os.environ.get("REPOSITORY", ""), "html")
    app.connect("config-inited", open_repository)
    app.connect("builder-inited", start_handout)
    app.connect("html-page-context", set_buttons, priority=600)
    app.connect("build-finished", add_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
