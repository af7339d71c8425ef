"""What leads out of the book: its repository, the labs as students get them, one archive, one PDF, other machines."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from docutils import nodes

from dgm_helpers import plots

ROOT = Path(__file__).parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


doors, pdf, site = load("book/_ext/doors.py"), load("tools/pdf.py"), load("tools/site.py")


def buttons(page, repository="", printed=False):
    """The links of a page's buttons, by the label of their group."""
    printer = {"type": "javascript", "javascript": "window.print()"}
    source = {"type": "link", "url": "_sources/answers.ipynb"}
    context = {
        "header_buttons": [{"label": "download-buttons", "buttons": [source, printer]}],
        "pathto": lambda name, resource: f"../{name}",
    }
    config = SimpleNamespace(repository=repository, printed=printed)
    doors.set_buttons(SimpleNamespace(config=config), page, "page.html", context, object())
    return {
        group["label"]: [button.get("url", "print") for button in group["buttons"]]
        for group in context["header_buttons"]
    }


def test_a_page_offers_the_student_s_lab_and_no_door_that_leads_nowhere():
    downloads = ["../downloads/05_sampling.ipynb", "../downloads/hw3.zip", "print"]
    assert buttons("notebooks/05_sampling") == {"download-buttons": downloads}
    assert buttons("book/05_sampling") == {"download-buttons": downloads[1:]}
    both = ["../downloads/hw3.zip", "../downloads/book.pdf", "print"]
    assert buttons("book/05_sampling", "a/b", printed=True) == {"download-buttons": both}
    assert buttons("notebooks/05_sampling", "a/b")["launch-buttons"] == [
        "https://colab.research.google.com/github/a/b/blob/handout/05_sampling.ipynb",
        "https://mybinder.org/v2/gh/a/b/handout?urlpath=lab/tree/05_sampling.ipynb",
    ]


def test_the_printed_book_goes_along_wherever_the_pages_go(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "_build").mkdir(parents=True)
    (here / "_build" / "book.pdf").write_text("printed")
    for folder in ("handout", "html"):
        (there / folder).mkdir(parents=True)
    with zipfile.ZipFile(there / "handout" / "hw3.zip", "w") as archive:
        archive.writestr("hw3/05_sampling.ipynb", json.dumps({"cells": []}))
    config = SimpleNamespace(printed=True, repository="a/b")
    builder = SimpleNamespace(name="html")
    doors.add_downloads(
        SimpleNamespace(
            builder=builder, handout=None, outdir=there / "html", srcdir=here, config=config
        ),
        None,
    )
    downloads = there / "html" / "downloads"
    assert {path.name for path in downloads.iterdir()} == {
        "hw3.zip",
        "book.pdf",
        "05_sampling.ipynb",
    }
    lab = json.loads((downloads / "05_sampling.ipynb").read_text(encoding="utf-8"))
    assert [cell["id"] for cell in lab["cells"]] == ["setup"]


def test_a_printed_book_older_than_its_pages_stays_behind(tmp_path):
    for name in ("_build/book.pdf", "book/index.md", "notebooks/01_forward.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 100 if "pdf" in name else 50))
    app = SimpleNamespace(srcdir=tmp_path)
    assert doors.is_printed(app)
    os.utime(tmp_path / "notebooks/01_forward.ipynb", (0, 150))
    assert not doors.is_printed(app)
    (tmp_path / "_build/book.pdf").unlink()
    assert not doors.is_printed(app)


def test_one_setting_opens_the_repository():
    config = SimpleNamespace(
        repository="a/b", html_theme_options={"launch_buttons": {}}, html_context={}
    )
    doors.open_repository(None, config)
    options = config.html_theme_options
    assert options["repository_url"] == "https://github.com/a/b" and options["use_issues_button"]
    assert config.html_baseurl == "https://a.github.io/b/"
    config = SimpleNamespace(repository="", html_theme_options={})
    doors.open_repository(None, config)
    assert config.html_theme_options == {}
    with pytest.raises(doors.ConfigError, match="REPOSITORY must be owner/name, .* got 'b'"):
        doors.open_repository(None, SimpleNamespace(repository="b"))


def test_the_first_cell_of_a_lab_opened_elsewhere_fetches_the_package(tmp_path):
    """In an environment that has the requirements but not the package, with a folder in the place of GitHub."""
    remote = tmp_path / "remote"
    remote.mkdir()
    for name in ("dgm_helpers", "results", "pyproject.toml", "LICENSE"):
        (remote / name).symlink_to(ROOT / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    archive = ["tar", "--dereference", "--exclude=__pycache__", "-cf", "../files.tar", "."]
    subprocess.run(archive, cwd=remote, check=True)
    (tmp_path / "clone").mkdir()
    subprocess.run(["tar", "-xf", "../files.tar"], cwd=tmp_path / "clone", check=True)
    for command in (["init", "-qb", "handout"], ["add", "."], ["commit", "-qm", "handout"]):
        subprocess.run([*git, *command], cwd=tmp_path / "clone", check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site_packages,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    # a folder named in a .pth is searched, but its own .pth files, one of which leads to the package, are not read
    (site_packages / "requirements.pth").write_text(sysconfig.get_paths()["purelib"])
    runner = """import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in sys.argv[1:]:
    shell.run_cell(source).raise_error()"""
    use = """import dgm_helpers as dgm
from dgm_helpers import results
assert results.load("train-sprites-generated")
print(dgm.__file__)"""
    address = f"url.file://{tmp_path}/clone.insteadOf"
    environment = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": address,
        "GIT_CONFIG_VALUE_0": "https://github.com/a/b",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of build_isolation
        "NO_COLOR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):  # IPython adds the packages of the latter
        environment.pop(name, None)
    cell = doors.setup_cell("a/b")["source"]
    run = subprocess.run(
        [python, "-c", runner, cell, cell, use],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0 and "error" not in run.stdout.lower(), run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == str(tmp_path / "course" / "dgm_helpers" / "__init__.py")


def test_the_table_of_equations_names_every_equation_of_a_docstring(html):
    used = {
        label
        for path in (ROOT / "dgm_helpers").glob("*.py")
        for label in re.findall(r":eq:`([\w-]+)`", path.read_text(encoding="utf-8"))
    }
    page = (html / "book" / "api.html").read_text(encoding="utf-8")
    table = page[page.index("<h2>Equations and functions") :]
    table = table[: table.index("</table>")]
    linked = re.findall(r"#equation-([\w-]+)", table)
    assert len(linked) == len(set(linked)) and set(linked) == used
    assert len(re.findall(r'href="#dgm_helpers\.\w+\.\w+', table)) >= len(used)


def test_the_code_of_a_function_is_one_click_away(html):
    page = (html / "book" / "api.html").read_text(encoding="utf-8")
    assert "../_modules/dgm_helpers/samplers.html#ddim_step" in page
    assert 'id="ddim_step"' in (html / "_modules/dgm_helpers/samplers.html").read_text("utf-8")


def test_a_missing_program_or_book_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="^no PDF is made: it needs Chromium; .*$"):
        pdf.main()
    monkeypatch.setattr(pdf.shutil, "which", lambda name: name)
    monkeypatch.setattr(pdf, "BOOK", tmp_path / "none")
    with pytest.raises(SystemExit, match="^no PDF is made: it needs the built book; .*$"):
        pdf.main()
    monkeypatch.setattr(site, "BUILD", tmp_path)
    with pytest.raises(SystemExit, match="^no archive is made: it needs the built book; .*$"):
        site.main()


def test_the_archive_holds_the_book_and_says_what_it_lacks(monkeypatch, tmp_path, capsys):
    (tmp_path / "html" / "book").mkdir(parents=True)
    (tmp_path / "html" / "index.html").write_text("first")
    (tmp_path / "html" / "book" / "a.html").write_text("second")
    monkeypatch.setattr(site, "BUILD", tmp_path)
    site.main()
    assert "without the PDF" in capsys.readouterr().out
    (tmp_path / "html" / "downloads").mkdir()
    (tmp_path / "html" / "downloads" / "book.pdf").write_text("printed")
    site.main()
    assert "without" not in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "book.zip") as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
    assert names == ["book/book/a.html", "book/downloads/book.pdf", "book/index.html"]


def test_other_machines_install_the_same_requirements():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make .venv/installed"
    binder = ROOT / ".binder"
    assert "-r ../requirements.txt" in (binder / "requirements.txt").read_text().splitlines()
    assert os.access(binder / "postBuild", os.X_OK)
    publish = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["publish"]
    (push,) = (step["run"] for step in publish["steps"] if "git push" in step.get("run", ""))
    assert "cp -r book/.binder hw3/" in push  # of the branch that Binder opens


def points(path):
    """Where the commands of a path lead, in absolute coordinates."""
    x = y = start = 0
    found = []
    for command, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        step = {"m": 2, "l": 2, "c": 6, "q": 4}.get(command.lower(), 1)
        for i in range(0, len(numbers), step):
            group = numbers[i : i + step]
            if command.islower():
                group = [n + (y if j % 2 else x) for j, n in enumerate(group)]
            x, y = group[-2:]
            start = (x, y) if command.lower() == "m" else start
            found.append((command.lower(), *group))
        if command in "zZ":
            x, y = start
            found.append(("z",))
    return found


def test_a_shorter_drawing_shows_the_same(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    pictures = load("book/_ext/pictures.py")
    drawings = [path.read_text("utf-8") for path in sorted((ROOT / "book/drawings").glob("*.svg"))]
    for drawing in drawings[:8]:
        short = pictures.inline(drawing, "what it shows")
        assert len(short) < 0.75 * len(drawing)
        before, after = (re.findall(r' d="([^"]+)"', text) for text in (drawing, short))
        assert len(before) == len(after) > 10
        for long, brief in zip(before, after, strict=True):
            for one, other in zip(points(long), points(brief), strict=True):
                assert one[0] == other[0] and one[1:] == pytest.approx(other[1:], abs=0.006)
        assert len(re.findall("<use ", drawing)) == len(re.findall("<use ", short))
        names = set(re.findall(r' id="([^"]+)"', short))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', short)) == names
        ElementTree.fromstring(short.replace("&", "&amp;"))


def test_only_what_can_be_shared_is_taken_out_of_a_group(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    pictures = load("book/_ext/pictures.py")
    red = '<use href="#a" x="1" style="fill: red; fill-opacity: 0.5"/>'
    assert pictures.compact(f"<g>{2 * red}{red.replace('red', 'blue')}</g>") == (
        '<g><g style="fill: red; fill-opacity: 0.5"><use href="#a" x="1"/><use href="#a" x="1"/></g>'
        '<use href="#a" x="1" style="fill: blue; fill-opacity: 0.5"/></g>'
    )
    # the opacity of a group would be that of all its members together
    faint = '<path d="m1 1l1 1" style="fill: red; opacity: 0.5"/>'
    assert pictures.ALIKE.search(2 * faint) is None
    # a marker has its style, and takes from where it is used what is not in it
    marker = '<path id="a" d="m1 1l1 1" style="stroke: red"/>'
    assert pictures.ALIKE.search(2 * marker) is None
    used = '<use href="#a" x="1" style="{}"/>'.format
    kept = used("stroke: red; fill: red")
    short = pictures.compact(f"<defs>{marker}</defs>{used('stroke: red')}{kept}")
    assert short == f'<defs>{marker}</defs><use href="#a" x="1"/>{kept}'
    assert pictures.relative("M 0.5 -0.25 L 0.75 0 L 10 0 z ") == "m.5-.25l.25.25 9.25 0z"
    assert pictures.PATH.search(' d="M 1e-05 0 L 1 1"') is None  # left as it is


@pytest.mark.parametrize(("color", "dim"), [("green", True), ("purple", True), ("blue", False)])
def test_a_dim_cloud_is_marked(monkeypatch, color, dim):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    pictures = load("book/_ext/pictures.py")
    figure, ax = plt.subplots()
    ax.scatter(*np.random.default_rng(0).normal(size=(2, 2000)), c=plots.COLORS[color], alpha=0.4)
    svg = pictures.inline(plots._to_svg(figure), "a cloud")
    plt.close(figure)
    assert re.findall(r'<image(?: class="(\w+)")? href="data:image/webp', svg) == ["dim" * dim]


def test_a_reference_by_number_loads_the_page_that_it_names_once():
    loaded = []
    env = SimpleNamespace(get_doctree=lambda page: loaded.append(page) or page.upper(), config=1)
    trees = load("book/_ext/quick.py").Trees(env)
    assert [trees.get_doctree(page) for page in "abab"] == list("ABAB")
    assert loaded == ["a", "b"] and trees.config == 1


def test_a_number_from_a_cell_keeps_its_unit():
    pages = load("book/_ext/offline_pages.py")
    text = nodes.Text("About 10 s, 2 minutes or 3 sets; ")
    tree = nodes.paragraph("", "", text, nodes.math("", "5 s"))
    tree += [nodes.literal("", "6 s"), nodes.inline("", "7", classes=["pasted-text"])]
    tree += nodes.Text(" ms, 8 (1.2–3.4), ch. x–z")
    pages.keep_units(None, tree, "page")
    wide, joiner = "\N{NO-BREAK SPACE}", "\N{WORD JOINER}"
    assert tree.astext() == (
        f"About 10{wide}s, 2{wide}minutes or 3 sets; 5 s6 s7{wide}ms, 8 (1.2{joiner}–{joiner}3.4), ch. x–z"
    )


def test_the_book_has_one_title_everywhere(html):
    title = yaml.safe_load((ROOT / "_config.yml").read_text())["title"]
    assert "Homework" not in title
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["title"] == title
    assert (ROOT / "README.md").read_text("utf-8").startswith(f"# {title}\n")
    cover = (html / "book" / "index.html").read_text("utf-8")
    assert f"<title>{title}</title>" in cover and f'og:title" content="{title}"' in cover
    assert "Homework 3" not in cover
    for page in sorted(html.glob("*/*.html")):
        if page.parent.name != "_modules":
            head = page.read_text("utf-8").partition("</head>")[0]
            assert title in re.search("<title>(.*)</title>", head)[1], page


def test_bookmarks_have_words_in_the_place_of_formulas():
    assert (
        pdf.plain("2.6. Why training goes through \\(\\vx_0\\)")
        == "2.6. Why training goes through x_0"
    )
    assert pdf.plain("Why \\(\\sigma_t\\vz\\)?") == "Why σ_t z?"
    assert pdf.plain("At a small\n  \\(T'\\)") == "At a small T'"
