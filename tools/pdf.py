"""Print the built book as one PDF, ``_build/book.pdf``: ``python tools/pdf.py``, after ``make book``.

The pages of ``_toc.yml`` become one document, in which a link from page to page is a link inside it, and Chromium
prints it. On which sheet each page of the book begins is known only then: the contents are printed a second time, with
nothing but these numbers, and laid over the first.
"""

import html
import io
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "_build" / "html"
# what only a screen can use
SCREEN = """script, button, input, a.headerlink, .live, .prev-next-area, .onlyprint, .tip-button,
div.cell.tag_hide-input details.above-input, div.cell.tag_hide-cell details.above-input, .moving"""
STYLE = """
@page { size: A4; margin: 17mm 16mm 19mm; }
html { font-size: 11.5px; scroll-padding: 0; }
body { display: block; background: white; }
article { max-width: none; padding: 0 !important; }
section.page { break-before: page; }
h1, h2, h3, h4 { break-after: avoid; }
h1 { font-size: 2.2rem !important; }
pre { font-size: 0.86rem !important; }
figure, .sd-col, .proof > p, table tr, .MathJax, div.math { break-inside: avoid; }
div.cell_output img, figure img, figure svg { max-width: 100%; max-height: 200mm; height: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; overflow: visible !important; }
.admonition, div.math, table { overflow: visible !important; box-shadow: none !important; }
.title { text-align: center; padding-top: 75mm; break-after: page; }
.title .name { font-size: 2.6rem; white-space: nowrap; }
.contents li { list-style: none; display: flex; gap: 0.5rem; }
.contents li.part { font-weight: 600; margin-top: 0.8rem; }
.contents li:not(.part) { padding-left: 1.5rem; }
.contents i { flex: 1; border-bottom: 1px dotted; opacity: 0.4; }
[data-page] { visibility: hidden; }
.still, .movable .still { display: block !important; }
"""
# only the numbers in the contents are left, each where it belongs
NUMBERS = """(begins) => {
  document.querySelectorAll("section.page").forEach((page) => page.remove());
  document.querySelectorAll("[data-page]").forEach((e) => { e.textContent = begins[e.dataset.page] ?? ""; });
  document.head.insertAdjacentHTML("beforeend", `<style>html, body { background: none; }
    body * { visibility: hidden; } [data-page] { visibility: visible !important; }</style>`);
}"""
FOOT = """<div style="font-size: 8px; width: 100%; text-align: center"><span class="pageNumber"></span></div>"""
# MathJax sets formulas for a screen; what is wider than a sheet is made smaller. All is measured before anything is
# changed: a change has the browser lay out the whole book before it measures again
FIT = """async () => {
  await MathJax.startup.promise;
  await document.fonts.ready;
  const boxes = [...document.querySelectorAll("div.math")], tables = [...document.querySelectorAll("table")];
  const wide = boxes.map((box) => {
    const formula = box.querySelector("mjx-container").firstElementChild;
    return (formula.scrollWidth + (box.querySelector(".eqno")?.offsetWidth ?? 0) + 12) / box.clientWidth;
  });
  const broad = tables.map((table) => table.scrollWidth / table.parentElement.clientWidth);
  boxes.forEach((box, i) => {
    if (wide[i] > 1) box.querySelector("mjx-container").style.fontSize = `${Math.floor(100 / wide[i])}%`;
  });
  tables.forEach((table, i) => { if (broad[i] > 1) table.style.zoom = 1 / broad[i]; });
  await document.fonts.ready;
  return [
    ...[...document.fonts].filter((font) => font.status === "error").map((font) => font.family),
    ...[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src),
  ];
}"""


def contents(toc):
    """The entries of a table of contents: pairs (caption, None) for parts and (None, name) for pages."""
    yield None, toc["root"]
    for part in toc["parts"]:
        yield part["caption"], None
        for chapter in part["chapters"]:
            yield None, chapter["file"]
            for section in chapter.get("sections", ()):
                yield None, section["file"]


def slug(name):
    return name.replace("/", "-")


def plain(heading):
    """A heading as a bookmark shows it, which knows no formulas."""
    text = re.sub(r"(?<=\w)\\", r" \\", re.sub(r"\\[()]", "", heading))
    text = re.sub(r"\\v([a-z])(?![a-z])", r"\1", text)
    text = re.sub(r"\\([a-zA-Z]+)", lambda match: html.unescape(f"&{match[1]};").strip("&;"), text)
    return " ".join(text.split())


def printable(name, names):
    """The headings and the HTML of a page as a part of the whole document."""
    soup = BeautifulSoup((BOOK / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = soup.find("article")
    for part in article.select(SCREEN):
        part.decompose()
    for details in article("details"):
        details["open"] = ""
    for tag in article(True):
        if tag.find_parent("svg"):
            continue
        if "id" in tag.attrs:
            tag["id"] = f"{slug(name)}--{tag['id']}"
        if "src" in tag.attrs and not tag["src"].startswith("data:"):
            tag["src"] = f"html/{urljoin(f'{name}.html', tag['src'])}"
        if tag.name == "a" and "href" in tag.attrs and not re.match(r"\w+:", tag["href"]):
            target, anchor = urldefrag(urljoin(f"{name}.html", tag["href"]))
            target = target.removesuffix(".html")
            if target in names:
                tag["href"] = f"#{slug(target)}" + (f"--{anchor}" if anchor else "")
            else:
                del tag["href"]
    headings = [plain(heading.get_text()) for heading in article(re.compile("^h[1-6]$"))]
    return headings, f'<section class="page" id="{slug(name)}">{article.decode()}</section>'


def document(entries, title, author):
    """The whole book as one HTML page, and its headings."""
    names = {name for _, name in entries if name}
    pages = {name: printable(name, names) for _, name in entries if name}
    rows = []
    for caption, name in entries:
        if caption:
            rows.append(f'<li class="part">{html.escape(caption)}</li>')
        else:
            link = f'<a href="#{slug(name)}">{html.escape(pages[name][0][0])}</a>'
            rows.append(f'<li>{link}<i></i><span data-page="{slug(name)}">000</span></li>')
    head = BeautifulSoup((BOOK / "book" / "01_forward.html").read_text("utf-8"), "html.parser").head
    parts = []
    for tag in head(["link", "script"]):
        where = "href" if tag.name == "link" else "src"
        mathjax = "mathjax" in tag.get("src", "") or "window.MathJax" in (tag.string or "")
        if "stylesheet" in tag.get("rel", []) or mathjax:
            if where in tag.attrs:
                tag[where] = f"html/{urljoin('book/', tag[where])}"
            # a copy of each formula for screen readers doubles the document, and no PDF keeps it
            parts.append(str(tag).replace(', "a11y/assistive-mml"', ""))
    title, author = html.escape(title), html.escape(author)
    headings = [heading for page, _ in pages.values() for heading in page]
    text = f"""<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{title}</title>{"".join(parts)}<style>{STYLE}</style></head><body>
<div class="title"><p class="name">{title}</p><p>{author}</p></div>
<div class="contents"><h1>Contents</h1><ul>{"".join(rows)}</ul></div>
{"".join(text for _, text in pages.values())}</body></html>"""
    return text, ["Contents", *headings]


def bookmarks(items):
    for item in items:
        yield item
        yield from bookmarks(item.children)


def print_book(source, headings, target, chromium):
    """Print an HTML file as a PDF whose contents name the sheets; returns how many it has."""
    from pikepdf import ObjectStreamMode, Pdf
    from playwright.sync_api import sync_playwright

    paper = {"format": "A4", "print_background": True, "prefer_css_page_size": True}
    whole = {
        "outline": True,
        "tagged": True,
        "display_header_footer": True,
        "header_template": "<span></span>",
        "footer_template": FOOT,
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # as wide as the text of a sheet, so that what fits here fits there
        page = browser.new_page(viewport={"width": 672, "height": 1000})
        page.set_default_timeout(0)  # thousands of formulas take minutes
        page.emulate_media(media="print")
        page.goto(source.as_uri())
        if missing := page.evaluate(FIT):
            sys.exit(
                f"no PDF is made: {len(missing)} fonts or pictures are missing, {missing[0]} first"
            )
        book = Pdf.open(io.BytesIO(page.pdf(**paper, **whole)))
        sheets = {sheet.objgen: i + 1 for i, sheet in enumerate(book.pages)}
        begins = {name[1:]: sheets[place[0].objgen] for name, place in book.Root.Dests.items()}
        page.evaluate(NUMBERS, begins)
        numbers = Pdf.open(io.BytesIO(page.pdf(**paper)))
        browser.close()
    for sheet, over in zip(book.pages, numbers.pages, strict=False):
        sheet.add_overlay(over)
    with book.open_outline(
        max_depth=6
    ) as outline:  # Chromium leaves formulas out, and spaces at a line's end
        for item, heading in zip(bookmarks(outline.root), headings, strict=True):
            item.title = heading
    # half as large as Chromium writes it
    book.save(target, object_stream_mode=ObjectStreamMode.generate)
    return len(book.pages)


def main(names=()):
    chromium = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)
    if not chromium:
        sys.exit("no PDF is made: it needs Chromium; apt-get install chromium, say, installs it")
    if not BOOK.is_dir():
        sys.exit("no PDF is made: it needs the built book; make book builds it")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    entries = list(contents(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))
    entries = [entry for entry in entries if not names or entry[1] in names]
    source, target = ROOT / "_build" / "book.html", ROOT / "_build" / "book.pdf"
    text, headings = document(entries, config["title"], config["author"])
    source.write_text(text, encoding="utf-8")
    sheets = print_book(source, headings, target, chromium)
    print(f"{target}: {sheets} pages")


if __name__ == "__main__":
    main(sys.argv[1:])
