"""The built book in a real browser: opened from a folder and over HTTP, with every other machine out of reach."""

import functools
import http.server
import itertools
import json
import os
import re
import shutil
import statistics
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
if not CHROMIUM and not os.environ.get("GITHUB_ACTIONS"):  # there it must not be skipped
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

from axe_playwright_python.base import AXE_SCRIPT  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

WIDTHS = [320, 390, 768, 1280]
# one page of each kind is looked at in every way; others, but for the workflow, as a folder and as wide as a phone
KINDS = [
    "book/index.html",
    "book/02_reverse.html",
    "notebooks/05_sampling.html",
    "book/api.html",
    "book/results.html",
    "book/references.html",
    "search.html",
]
LIMIT = 60_000  # milliseconds for one page, on a machine that does something else as well
RAW = re.compile(
    r"\$[^$\s][^$\n]*\$|\\[(\[]|\\[a-zA-Z]{2,}|\{[\w:-]+\}`|^:{3,}|`{3}|\]\([\w/#]|\(\S+\)=$", re.M
)
READY = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  do await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  while (window.finishInTurn && !document.querySelector("html.whole"));
}"""
SEEN = """() => {
  const article = document.querySelector("article") ?? document.body;
  const words = article.cloneNode(true);
  words.querySelectorAll("script, style, pre, code, mjx-container, .sig, .math").forEach((e) => e.remove());
  return {
    text: words.innerText,
    broken: [...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src),
    unset: [...document.querySelectorAll(".math")].filter((e) => !e.querySelector("mjx-container")).length,
    errors: [...document.querySelectorAll("mjx-merror, .system-message")].map((e) => e.textContent),
    stills: [...document.querySelectorAll(".movable:not(.moves)")].map((e) => e.dataset.movable),
    sentences: document.querySelectorAll(".cell_output pre.sentences").length,
    stops: [...document.querySelectorAll("mjx-container[tabindex='0']")].filter(
      (e) => (e.hasAttribute("display") ? e.scrollWidth : e.firstChild.getBoundingClientRect().width)
        <= e.clientWidth + 1).length,
    loose: [...document.querySelectorAll("article .math")].map((e) => e.nextSibling).filter(
      (e) => e instanceof Text && /^[,.;:!?)]/.test(e.data) && !e.parentElement.matches(".joined")).map((e) => e.data),
    nameless: [...document.querySelectorAll("article img")].filter((i) => !i.alt || /\\.(png|gif|svg)$/.test(i.alt))
      .map((i) => i.src),
  };
}"""
# what is wider than its box: hidden beyond the edge, or to be scrolled for without a shade at the edge that says so
CUT = """() => {
  const shaded = (e) => [null, "::before", "::after"].map((part) => getComputedStyle(e, part)).some(
    (style) => /gradient/.test(style.maskImage + style.webkitMaskImage + style.backgroundImage));
  const found = [];
  for (const e of document.querySelectorAll("article *:not(mjx-container *):not(mjx-container):not(svg *)")) {
    // a formula's hidden description counts as its width, and is none
    const formula = e.matches(".math") && e.querySelector("mjx-math")?.getBoundingClientRect();
    if (formula && formula.left < e.getBoundingClientRect().left - 1)
      found.push(`on the left ${e.textContent.slice(0, 40)}`);
    const width = formula ? formula.width : e.scrollWidth;
    if (width <= e.clientWidth + 2 || !e.clientWidth || e.matches(".visually-hidden, .sr-only")) continue;
    const inner = e.matches(".math") && e.querySelector("mjx-container");
    const scroller = inner && /auto|scroll/.test(getComputedStyle(inner).overflowX) ? inner : e;
    const overflow = getComputedStyle(scroller).overflowX;
    const hidden = ["hidden", "clip"].includes(overflow), scrolls = ["auto", "scroll"].includes(overflow);
    const still = !shaded(scroller) && !shaded(scroller.parentElement);
    if (hidden || scrolls && (still || e.matches(".sentences")))
      found.push(`${overflow} ${e.tagName}.${e.className} ${width}>${e.clientWidth} ` + e.textContent.slice(0, 40));
  }
  return found;
}"""
# formulas and drawings have their own description, and thousands of parts
AXE = """async (rules) => {
  // colours that still fade from one theme into the other are neither's
  const fading = document.getAnimations().filter((e) => e instanceof CSSTransition);
  await Promise.allSettled(fading.map((e) => e.finished));
  document.querySelectorAll("mjx-container").forEach((e) => e.replaceWith("x"));
  document.querySelectorAll("article svg[role=img]").forEach((e) => e.replaceChildren());
  document.querySelectorAll("article dl.py").forEach((e, i) => i > 20 && e.remove()); // the package: all alike
  const { violations } = await axe.run(rules ? { runOnly: rules } : {});
  return violations.filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id} ${v.nodes.length}: ${v.nodes[0].html.slice(0, 150)}`);
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        cut = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", cut]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(html):
    """The address of the book over HTTP."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=html)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def tab(browser):
    with open_tab(browser) as page:
        yield page


def open_tab(browser, **options):
    """A new tab that lists in ``complaints`` what its console says and what it asks of other machines.

    The files that its page is made of are in ``loaded``.
    """
    tab = browser.new_page(viewport={"width": 1280, "height": 800}, **options)
    tab.set_default_timeout(LIMIT)
    tab.complaints, tab.loaded = [], set()

    def asked(request):
        if request.url.startswith("file:"):
            tab.loaded.add(Path(unquote(urlsplit(request.url).path)))
        if not request.url.startswith(("file:", "data:", "blob:", "http://127.0.0.1")):
            tab.complaints.append(f"asks for {request.url}")

    def said(message):
        if message.type in ("error", "warning"):
            tab.complaints.append(f"{message.type}: {message.text} {message.location['url']}")

    tab.on("request", asked)
    tab.on("console", said)
    tab.on("pageerror", lambda error: tab.complaints.append(f"error: {error}"))
    return tab


def visit(tab, address):
    tab.complaints.clear()
    tab.loaded.clear()
    tab.goto(address, timeout=LIMIT)
    tab.evaluate(READY)


def names(html):
    """The book's pages; `index.html` only leads on to the cover, and `_modules` holds the package's sources."""
    pages = [page.relative_to(html).as_posix() for page in sorted(html.rglob("*.html"))]
    return [page for page in pages if page != "index.html" and not page.startswith("_static/")]


@pytest.fixture(scope="module")
def facts(html, browser, served):
    """What was seen on each page, opened from the folder and, of some or all, over HTTP."""
    facts = {}
    with open_tab(browser) as tab:
        for name in names(html):
            visit(tab, (html / name).as_uri())
            fact = facts[name] = tab.evaluate(SEEN)
            fact["file"] = list(tab.complaints)
            fact["bytes"] = sum(path.stat().st_size for path in tab.loaded if path.is_file())
            if name.startswith("_modules/"):
                continue
            closely = name in KINDS or "GITHUB_ACTIONS" in os.environ
            fact["sideways"], fact["cut"] = {}, {}
            for width in WIDTHS[::-1] if closely else [390]:
                tab.set_viewport_size({"width": width, "height": 800})
                tab.evaluate(READY)
                total = tab.evaluate("document.documentElement.scrollWidth")
                if total > width:
                    fact["sideways"][width] = total
                if cut := tab.evaluate(CUT):
                    fact["cut"][width] = cut
            tab.set_viewport_size({"width": 1280, "height": 800})
            if not closely:
                continue
            tab.evaluate(AXE_SCRIPT)
            fact["axe"] = tab.evaluate(AXE)
            if name in KINDS:
                tab.evaluate("document.documentElement.dataset.theme = 'dark'")
                fact["axe in the dark"] = tab.evaluate(AXE, ["color-contrast"])
            visit(tab, f"{served}/{name}")
            fact["http"] = list(tab.complaints)
    return facts


def found(facts, what, pages=""):
    return {
        page: fact[what]
        for page, fact in facts.items()
        if page.startswith(pages) and fact.get(what)
    }


@pytest.mark.parametrize("how", ["file", "http"])
def test_no_page_complains_or_asks_for_anything(facts, how):
    assert found(facts, how) == {}


def test_no_formula_or_markup_is_left_raw(facts):
    raw = {page: RAW.findall(fact["text"]) for page, fact in facts.items()}
    assert {page: text for page, text in raw.items() if text} == {}
    assert found(facts, "errors") == {}
    assert found(facts, "unset") == {}


def test_every_picture_loads_and_has_a_description(facts):
    assert found(facts, "broken") == {}
    assert found(facts, "nameless") == {}


def test_no_page_scrolls_sideways(facts):
    assert found(facts, "sideways") == {}


def test_nothing_is_cut_off_without_a_shade_at_the_edge(facts):
    assert found(facts, "cut") == {}
    assert facts["notebooks/05_sampling.html"]["sentences"] > 0  # they are wrapped


def test_no_line_begins_with_the_mark_that_follows_a_formula(facts):
    assert found(facts, "loose") == {}


@pytest.mark.parametrize("theme", ["axe", "axe in the dark"])
def test_axe_finds_nothing_serious(facts, theme):
    assert found(facts, theme) == {}


def test_formulas_are_no_stops_of_the_tab_key(facts):
    assert found(facts, "stops") == {}


def test_links_and_anchors_lead_somewhere_and_no_id_is_given_twice(html):
    texts = {name: (html / name).read_text(encoding="utf-8") for name in names(html)}
    tags = {
        name: re.findall(r"<\w[^>]*>", re.sub(r"<script.*?</script>", "", text, flags=re.S))
        for name, text in texts.items()
    }
    ids = {
        name: [i for tag in inside for i in re.findall(r'\sid="([^"]+)"', tag)]
        for name, inside in tags.items()
    }
    twice = {name: [i for i, n in Counter(inside).items() if n > 1] for name, inside in ids.items()}
    assert {name: inside for name, inside in twice.items() if inside} == {}
    lost = set()
    for name, inside in tags.items():
        links = [href for tag in inside for href in re.findall(r'\shref="([^"]*)"', tag)]
        for link in links:
            if re.match(r"\w+:", link):
                continue
            target, anchor = urldefrag(unquote(urljoin(name, re.sub(r"\?v=\w+$", "", link))))
            if not (html / target).is_file() or anchor and anchor not in ids.get(target, [anchor]):
                lost.add(f"{name}: {link}")
    assert lost == set()


@pytest.mark.parametrize("how", ["file", "http"])
@pytest.mark.parametrize(
    ("words", "first", "excerpt"),
    [
        ("posterior", r"book/\d", "posterior"),
        ("Langevin dynamics", "book/10_langevin", "angevin"),
        ("early stopping", "book/07_early_stopping", "stop"),
        ("sample_ddim", "book/api", "sample_ddim"),
    ],
)
def test_the_search_finds_chapters_and_shows_what_they_say(
    html, served, tab, how, words, first, excerpt
):
    root = html.as_uri() if how == "file" else served
    visit(tab, f"{root}/search.html?q={words}")
    tab.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    tab.evaluate(READY)
    results = tab.locator("ul.search > li")
    tab.wait_for_function(r"!document.querySelector('ul.search').innerText.includes('\\(')")
    target = results.first.locator("a").get_attribute("href")
    assert re.match(first, target), target
    shown = tab.evaluate(
        "[...document.querySelectorAll('ul.search > li')].slice(0, 10).map((e) => {"
        "e.querySelectorAll('mjx-container').forEach((m) => m.remove()); return e.innerText; })"
    )
    assert any(excerpt in text for text in shown[:3])
    assert not [text for text in shown if RAW.search(text) or ".pdf" in text or "Contents" in text]
    assert tab.complaints == []


def test_an_excerpt_marks_words_from_their_start_and_a_page_is_found_once(html, tab):
    visit(tab, f"{html.as_uri()}/search.html?q=early stopping")
    tab.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    tab.wait_for_function("document.querySelectorAll('ul.search > li > .context').length > 5")
    marked = tab.evaluate(
        "[...document.querySelectorAll('.context mark')].map((e) => e.previousSibling?.textContent ?? '')"
    )
    assert marked and not [before for before in marked if before[-1:].isalnum()]
    links = tab.locator("ul.search > li > a")
    found = links.evaluate_all("(links) => links.map((e) => e.getAttribute('href'))")
    assert len(found) == len(set(found))
    # the magnifier stands before the words
    field, icon = (tab.locator(f".bd-search-container .bd-search {e}") for e in ("input", "i"))
    inset = field.evaluate("(e) => parseFloat(getComputedStyle(e).paddingLeft)")
    box = icon.bounding_box()
    assert box["x"] + box["width"] < field.bounding_box()["x"] + inset


def test_words_that_were_searched_for_are_marked_without_a_lost_icon(html, tab):
    visit(tab, f"{html.as_uri()}/book/02_reverse.html?highlight=alpha")
    tab.locator("#searchbox .highlight-link").wait_for()
    lost = tab.evaluate("""() => [...document.querySelectorAll("*")].flatMap((e) =>
      ["::before", "::after"].map((part) => getComputedStyle(e, part)).filter((style) =>
        style.display !== "none" && /[\\ue000-\\uf8ff]/.test(style.content)).map(() => e.outerHTML))""")
    assert lost == []
    seen = tab.evaluate(SEEN)
    assert seen["unset"] == 0 and not RAW.findall(seen["text"])


def test_the_letters_of_the_formulas_come_before_the_formulas(html, tab):
    """Else the whole page is laid out again with each kind of letters."""
    tab.add_init_script("""new MutationObserver((changes, observer) => {
      if (!document.querySelector("article mjx-container")) return;
      observer.disconnect();
      window.first = [...document.fonts].filter((e) => e.status === "loaded").map((e) => e.family);
    }).observe(document, { childList: true, subtree: true })""")
    visit(tab, (html / "book" / "02_reverse.html").as_uri())
    used = tab.evaluate(
        "[...document.fonts].filter((e) => e.status !== 'unloaded').map((e) => e.family)"
    )
    assert sorted(tab.evaluate("window.first")) == sorted(used) and "MJXTEX-I" in used


def test_the_screen_is_set_first_and_then_the_rest(html, tab):
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.add_init_script("window.requestIdleCallback = (work) => { window.work = work; }")
    tab.goto((html / "book" / "02_reverse.html").as_uri(), timeout=LIMIT)
    tab.wait_for_function("Boolean(window.work)")
    unset = """() => [...document.querySelectorAll(".math")].filter((e) => !e.querySelector("mjx-container"))
      .map((e) => e.getBoundingClientRect()).filter((e) => !{on} || (e.top < innerHeight && e.bottom > 0)).length"""
    total = tab.locator(".math").count()
    assert total / 2 < tab.evaluate(unset.format(on="false")) < total
    assert tab.evaluate(unset.format(on="true")) == 0
    tab.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    tab.evaluate("work()")
    assert tab.evaluate(unset.format(on="true")) == 0 < tab.evaluate(unset.format(on="false"))
    tab.evaluate("while (rest.length) work()")
    tab.wait_for_selector("html.whole")
    assert tab.evaluate(unset.format(on="false")) == 0
    wide = """[...document.querySelectorAll("article section > div.math > mjx-container")].filter(
      (e) => widthOf(e) > e.clientWidth + 1 && !e.matches(".wide")).length"""
    assert tab.evaluate(wide) == 0


def test_who_prints_at_once_has_all_formulas(html, tab):
    tab.add_init_script("window.requestIdleCallback = () => {}")
    tab.goto((html / "book" / "02_reverse.html").as_uri(), timeout=LIMIT)
    tab.evaluate("MathJax.startup.promise")
    assert tab.evaluate(SEEN)["unset"] > 0
    tab.pdf()
    assert tab.evaluate(SEEN)["unset"] == 0


IN_SIGHT = """(place) => {
  const { top } = document.getElementById(place).getBoundingClientRect();
  return top >= 0 && top < innerHeight / 3;
}"""


def test_a_link_into_a_page_leads_to_its_place(html, tab):
    tab.add_init_script("window.requestIdleCallback = () => {}")  # the reader is faster
    tab.goto((html / "book" / "07_early_stopping.html").as_uri(), timeout=LIMIT)
    tab.evaluate("MathJax.startup.promise")
    tab.locator(".bd-sidebar-secondary a[href='#exercises']").click()
    tab.wait_for_function(IN_SIGHT, arg="exercises")


@pytest.mark.parametrize("place", ["exercises", "prop-mixture", "not-at-all-for-large-steps"])
def test_an_address_with_a_place_leads_there_and_stays(html, tab, place):
    visit(tab, f"{(html / 'book' / '02_reverse.html').as_uri()}#{place}")
    assert tab.evaluate(IN_SIGHT, place)
    tab.mouse.move(640, 400)  # off the sidebar
    tab.mouse.wheel(0, -2000)
    tab.wait_for_function(f"!({IN_SIGHT})('{place}')")


def test_sentences_between_printed_columns_wrap_on_a_phone(html, tab):
    tab.set_viewport_size({"width": 390, "height": 800})
    visit(tab, (html / "notebooks" / "11_annealing.html").as_uri())
    sentences = """() => [...document.querySelectorAll(".cell_output pre > .sentences")].map((e) =>
      [e.getClientRects().length, e.getBoundingClientRect().right - e.parentElement.getBoundingClientRect().right])"""
    found = tab.evaluate(sentences)
    assert found and all(lines > 1 and beyond < 0 for lines, beyond in found)


def test_a_formula_in_a_line_of_text_gets_smaller_letters_before_it_scrolls(html, tab):
    tab.set_viewport_size({"width": 390, "height": 800})
    visit(tab, (html / "book" / "09_mixture_scores.html").as_uri())
    inline = tab.locator("article mjx-container:not([display])")
    smaller = "(all) => all.filter((e) => e.style.fontSize.startsWith('calc')).length"
    assert inline.evaluate_all(smaller) > 0
    assert tab.locator("article mjx-container.wide:not([display])").count() == 0


PLOTS = """() => [...document.querySelectorAll("article :is(svg.plot, svg.drawing)")]
    .filter((plot) => !plot.closest(".movable") && plot.getBoundingClientRect().width)
    .map((plot) => {
        const letters = [...plot.querySelectorAll('g[transform*="scale(0."]')];
        const parts = [...new Set(letters.map((text) => text.closest(".l") ?? text.parentElement))];
        const unit = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
        const factor = (text) => +(text.closest(".grown")?.style.getPropertyValue("--factor") || 1);
        const size = (text) => 100 * text.getAttribute("transform").match(/scale\\(([\\d.]+)/)[1];
        const boxes = () => parts.map((part) => {
            const { left, top, right, bottom } = part.getBoundingClientRect();
            return [left, top, right, bottom];
        });
        const sizes = letters.map((text) => size(text) * unit * factor(text)), after = boxes();
        const grown = [...plot.querySelectorAll(".grown")];
        grown.forEach((part) => part.classList.remove("grown"));
        const before = boxes();
        grown.forEach((part) => part.classList.add("grown"));
        return { sizes, before, after, grown: grown.length };
    })"""


def test_letters_of_plots_grow_on_a_phone_until_they_would_touch(html, tab):
    def overlap(a, b):
        return min(a[2] - b[0], b[2] - a[0], a[3] - b[1], b[3] - a[1])

    lab = (html / "notebooks" / "10_langevin.html").as_uri()
    visit(tab, lab)
    assert all(plot["grown"] == 0 for plot in tab.evaluate(PLOTS))
    tab.set_viewport_size({"width": 390, "height": 800})
    visit(tab, lab)
    plots = tab.evaluate(PLOTS)
    smallest = [min(plot["sizes"]) for plot in plots]
    assert len(plots) > 10 and min(smallest) > 6.8 and statistics.median(smallest) > 7.9
    usual = [size for plot in plots for size in plot["sizes"]]
    assert statistics.median(usual) > 9
    for plot in plots:
        for (a, b), (was_a, was_b) in zip(
            itertools.combinations(plot["after"], 2), itertools.combinations(plot["before"], 2)
        ):
            assert overlap(a, b) < max(0, overlap(was_a, was_b)) + 0.5
        assert all(left >= 0 and right <= 390 for left, _, right, _ in plot["after"])


def test_an_address_that_names_nothing_stops_nothing(html, tab):
    visit(tab, (html / "book" / "05_sampling.html").as_uri() + "#100%")
    assert not tab.complaints
    assert tab.locator("html.whole").count() == 1


def test_a_number_and_its_unit_stay_on_one_line(html):
    page = (html / "book" / "07_early_stopping.html").read_text(encoding="utf-8")
    assert re.search(r'"pasted-text">\d+ \(\d+\N{NO-BREAK SPACE}ms\)', page)
    page = (html / "book" / "03_elbo.html").read_text(encoding="utf-8")
    assert "</span>\N{NO-BREAK SPACE}bits per value" in page
    assert not re.search(r"\d (?:s|min)\b", re.sub(r"<pre.*?</pre>", "", page, flags=re.S))


def test_comments_of_the_code_are_quiet_in_the_dark(html, tab):
    visit(tab, (html / "notebooks" / "03_elbo.html").as_uri())
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    color = tab.locator(".highlight .c1").first.evaluate("(e) => getComputedStyle(e).color")
    assert color == "rgb(169, 179, 192)"


def test_a_name_of_the_code_breaks_between_its_words_and_an_option_nowhere(html):
    chapter, lab = (html / name for name in ("book/04_training.html", "notebooks/03_elbo.html"))
    assert "noise_<wbr/>prediction_<wbr/>loss()" in chapter.read_text(encoding="utf-8")
    text = lab.read_text(encoding="utf-8")
    assert '<span class="option">--weighting</span>' in text
    assert '<span class="pre">dgm_helpers</span>' in text  # a short one stays whole


def test_an_animation_has_no_frame_in_the_dark(html, tab):
    visit(tab, (html / "notebooks" / "10_langevin.html").as_uri())
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    moving = tab.locator(".cell_output .animation .moving").first
    style = moving.evaluate(
        "(e) => [getComputedStyle(e).padding, getComputedStyle(e).backgroundColor]"
    )
    assert style == ["0px", "rgba(0, 0, 0, 0)"]


def test_sources_are_listed_without_their_keys(html, tab):
    visit(tab, (html / "book" / "references.html").as_uri())
    assert tab.locator(".citation-list .citation").count() > 20
    assert tab.locator(".citation-list .citation > .label:visible").count() == 0
    assert tab.locator("[role=list].citation-list").count() == 0


def test_the_theme_toggles_and_is_kept(html, tab):
    page = (html / "book" / "01_forward.html").as_uri()
    visit(tab, page)
    seen = set()
    for _ in range(3):
        tab.locator(".theme-switch-button").first.click()
        mode = tab.evaluate("document.documentElement.dataset.mode")
        seen.add((mode, tab.evaluate("getComputedStyle(document.body).backgroundColor")))
        if mode == "dark":
            visit(tab, page)
            assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert len({mode for mode, _ in seen}) == 3 and len({colour for _, colour in seen}) == 2


def test_movable_figures_run_and_react(html, facts, tab):
    assert found(facts, "stills") == {}
    moved = 0
    for name in names(html):
        if 'class="movable"' not in (html / name).read_text(encoding="utf-8"):
            continue
        visit(tab, (html / name).as_uri())
        for figure in tab.locator(".movable").all():
            figure.scroll_into_view_if_needed()
            tab.evaluate(READY)
            before = figure.locator(".panels").inner_html()
            slider = figure.locator("input[type=range]").first
            slider.focus()
            for _ in range(5):
                slider.press("ArrowLeft")
            if (walk := figure.get_by_role("button", name="50 steps")).count():
                walk.click()  # chains that stand at their start look the same for every step size
            tab.evaluate(READY)
            assert figure.locator(".panels").inner_html() != before, name
            moved += 1
        assert tab.complaints == [], name
    assert moved >= 7


def test_every_lab_stands_in_the_sidebar_without_a_number_of_a_section(html, tab):
    labs = sorted((html / "notebooks").glob("*.html"))
    for page in (html / "book" / "index.html", labs[4]):
        visit(tab, page.as_uri())
        shown = tab.locator(".bd-sidebar-primary .toctree-l2 > a").all_inner_texts()
        assert [text.strip() for text in shown] == [f"Lab {i + 1}" for i in range(len(labs))]
        assert tab.locator(".bd-sidebar-primary .toctree-toggle").count() == 0
    assert re.match(r"Lab", tab.locator("h1").first.inner_text())


def test_statements_of_a_chapter_share_one_counter(html):
    kinds = set()
    for page in sorted((html / "book").glob("[01]*.html")):
        numbers = re.findall(
            r'<p class="admonition-title"><span class="caption-number">(\w+) ([\d.]+) ?</span>',
            page.read_text(encoding="utf-8"),
        )
        statements = [(kind, n) for kind, n in numbers if kind not in ("Exercise", "Solution")]
        chapter = str(int(page.name[:2]))
        expected = [f"{chapter}.{i + 1}" for i in range(len(statements))]
        assert [number for _, number in statements] == expected, page.name
        kinds |= {kind for kind, _ in statements}
    assert kinds >= {"Theorem", "Lemma", "Proposition", "Definition"}


def test_a_reference_shows_what_it_refers_to(html, tab):
    shown = 0
    for page, link in [
        ("book/02_reverse.html", "a.reference[href^='#equation-']"),
        ("book/02_reverse.html", "a.reference[href^='#thm-posterior']"),
        ("book/03_elbo.html", "a.reference[href^='02_reverse.html#equation-']"),
        ("notebooks/05_sampling.html", "a.reference[href^='../book/05_sampling.html#equation-']"),
    ]:
        visit(tab, (html / page).as_uri())
        link = tab.locator(f"article {link}").first
        link.scroll_into_view_if_needed()
        for enter in (link.hover, link.focus):
            enter()
            card = tab.locator("#preview")
            card.wait_for(state="visible")
            tab.wait_for_function("document.querySelector('#preview mjx-container')")
            assert not RAW.search(card.inner_text())
            tab.keyboard.press("Escape")
            card.wait_for(state="hidden")
            tab.mouse.move(0, 0)
            shown += 1
        assert tab.complaints == []
    assert shown == 8
    visit(tab, (html / "book" / "07_early_stopping.html").as_uri())
    link = tab.locator("a.reference[href='../notebooks/07_early_stopping.html#fig-es-bound']").first
    link.scroll_into_view_if_needed()
    link.hover()
    tab.locator("#preview svg").wait_for(state="visible")


def test_the_cards_are_those_that_other_pages_refer_to(html):
    needed = set()
    for name in names(html):
        text = (html / name).read_text(encoding="utf-8")
        for link in re.findall(r'<a class="reference internal" href="([^"#]+#[^"]+)"', text):
            needed.add(unquote(urljoin(name, link)))
    found = set()
    for path in sorted((html / "_static" / "pages").rglob("*.js")):
        name = path.relative_to(html / "_static" / "pages").with_suffix(".html").as_posix()
        cards = json.loads(path.read_text("utf-8").partition(", ")[2].rstrip(";\n)"))["cards"]
        found |= {f"{name}#{label}" for label in cards}
        assert all(len(card) < 60_000 for card in cards.values()), name
    assert found <= needed
    numbered = {link for link in needed if re.search("#(?:equation|fig|thm|prop|lem)-", link)}
    assert len(numbered) > 100 and numbered <= found


def test_the_book_is_light(html, facts):
    """A limit for what a page loads, and one for the site, downloads and all but the PDF, which few builds make."""
    sizes = [path.stat().st_size for path in html.rglob("*") if path.is_file()]
    pdf = html / "downloads" / "book.pdf"
    assert sum(sizes) - (pdf.stat().st_size if pdf.exists() else 0) < 30e6
    assert min(fact["bytes"] for fact in facts.values()) > 0.3e6  # what is loaded was seen
    assert {name: fact["bytes"] for name, fact in facts.items() if fact["bytes"] >= 2.5e6} == {}


def test_pages_can_be_read_without_scripts(html, browser):
    with open_tab(browser, java_script_enabled=False) as tab:
        for name in ["book/02_reverse.html", "book/05_sampling.html", "notebooks/05_sampling.html"]:
            tab.goto((html / name).as_uri())
            for part in tab.locator("article .dropdown, article details.toggle-details").all():
                assert part.locator("p").last.is_visible(), f"{name}: {part.inner_text()[:80]}"
            for picture in tab.locator("article figure").all():
                assert picture.bounding_box()["height"] > 50, name
            assert tab.locator("article h1").is_visible()
            assert "formulas on this page need JavaScript" in tab.locator("noscript").inner_text()


def test_a_page_without_a_repository_has_no_door_that_leads_nowhere(html):
    if os.environ.get("REPOSITORY"):
        pytest.skip("the book is built for a repository")
    for name in names(html):
        text = (html / name).read_text(encoding="utf-8")
        assert not re.search(r"source-repository-button|colab|mybinder", text), name


def test_a_page_names_its_address_only_where_it_is_known(html):
    head = (html / "book" / "02_reverse.html").read_text(encoding="utf-8").partition("</head>")[0]
    named = re.findall(
        r'(?:rel="canonical" href|og:url" content|og:image" content)="([^"]*)"', head
    )
    owner, _, name = os.environ.get("REPOSITORY", "").partition("/")
    site = f"https://{owner}.github.io/{name}"
    page, picture = f"{site}/book/02_reverse.html", f"{site}/_static/preview.png"
    assert sorted(named) == ([picture, page, page] if name else [])


def test_the_download_is_the_student_s_notebook(html):
    for page in sorted((html / "notebooks").glob("*.html")):
        (link,) = re.findall(
            r'href="(\.\./downloads/[^"]+\.ipynb)"', page.read_text(encoding="utf-8")
        )
        notebook = json.loads((page.parent / link).read_text(encoding="utf-8"))
        text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
        assert "BEGIN SOLUTION" not in text and "BEGIN HIDDEN" not in text
        assert not re.search(r"^[`:]{3,}\{|\{(?:eq|ref|numref|cite|glue|prf)\W", text, re.M), page
        assert not [cell for cell in notebook["cells"] if cell.get("outputs")]
    assert not (html / "_sources").exists()
    assert Path(html / "downloads" / "hw3.zip").stat().st_size > 1e5


def test_errors_would_be_noticed(tab, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<article><p>$x$ \\alpha <span class='math'>y</span>, z</p><div style='overflow:auto;width:50px'><pre>"
        + "x" * 99
        + "</pre>"
        "</div><img src='none.png'><script src='https://example.org/a.js'></script></article>"
    )
    visit(tab, page.as_uri())
    seen = tab.evaluate(SEEN)
    assert len(RAW.findall(seen["text"])) == 2
    assert seen["broken"] and seen["nameless"] and seen["loose"]
    assert len(tab.evaluate(CUT)) == 1
    assert any("asks for https://example.org" in text for text in tab.complaints)
    assert any("ERR_NAME_NOT_RESOLVED" in text for text in tab.complaints)
