"""Pictures of the labs that suit a light and a dark page, a phone, and readers who want nothing to move.

A drawing (SVG) stands in the page itself: its black becomes the colour of the text, the ground of its legend the ground
of the page. An animation (GIF) becomes a smaller one (WebP) and has a still beside it, which the style sheet shows in
print and to readers who asked for less motion; the page's script adds a button that stops it. A picture without
alternative text is a warning.
"""

import base64
import hashlib
import html
import io
import os
import re
from functools import cache
from pathlib import Path

import numpy as np
from docutils import nodes
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from dgm_helpers.plots import COLORS

logger = logging.getLogger(__name__)
# parts of a drawing whose letters grow on a phone
PARTS = re.compile(r'<g id="(?:matplotlib\.(a)xis|([xyl])(?:tick|egend))_\d+">')
DECIMALS = re.compile(r"(\d\.\d\d)\d+")  # of coordinates: what nobody can see
PATH = re.compile(r' d="((?:[MLCQz ]|-?[\d.]+(?![\de]))+)"')
SHIFT = re.compile(r' transform="translate\((-?[\d.]+) (-?[\d.]+)\)"/>')
CLIPPED = re.compile(r'(<g clip-path="[^"]*">)(?:<use [^>]*/>)+</g>(?:\1(?:<use [^>]*/>)+</g>)+')
USED = re.compile(r'<use href="#([^"]*)"[^>]*>')
ALIKE = re.compile(  # what has the same style, unless it is that of the whole of a group
    r'<(use href|path d)(="[^>]*?)( (?:clip-path="[^"]*" )?style="(?![^"]*(?<!-)opacity)[^"]*")/>'
    r"(?:<\1=\"[^>]*?\3/>)+"
)
LOSSLESS = {"lossless": True, "method": 4}  # WebP with the same pixels
RASTER = re.compile(r'<image href="data:image/png;base64,([^"]+)"')
DIM = ["green", "purple"]  # too dark for a dark page


def inline(svg, alt, classes="plot"):
    """The SVG element of a drawing of matplotlib's as a part of a page; ``alt`` says what it shows."""
    svg = re.sub(r"<!--.*?-->|\s+", " ", svg[svg.index("<svg") :], flags=re.S)
    prefix = f"s{hashlib.sha256(svg.encode()).hexdigest()[:6]}-"
    svg = PARTS.sub(lambda m: f'<g class="{m[1] or m[2]}">', svg)
    used = dict.fromkeys(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    names = {name: f"{prefix}{i:x}" for i, name in enumerate(used)}
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{names[m[1]]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#([^")]+)', lambda m: f"{m[1]}#{names[m[2]]}", svg)
    svg = compact(svg.replace("xlink:href", "href"))
    svg = svg.replace("stroke: #000000", "stroke: currentColor")
    svg = svg.replace("#fefefe", "var(--pst-color-background, #fff)")
    for name in DIM:
        svg = svg.replace(COLORS[name], f"var(--{name}, {COLORS[name]})")
    size = re.match(r'<svg[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    if size:  # points to screen pixels
        width, height = (float(side) * 4 / 3 for side in size.groups())
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        style = f"width: {width:g}px"
        pixel = re.search(r'<image [^>]*transform="matrix\(([\d.]+) 0 0', svg)
        if (
            pixel and "pixelated" in svg
        ):  # so wide that each pixel of pixel art is a whole number of the screen's
            unit = width / max(1, round(float(pixel[1]) * 4 / 3))
            style = f"width: min({width:g}px, round(down, 100%, {unit:.4f}px / var(--density, 1)))"
        svg = svg.replace("<svg", f'<svg width="{width:g}" height="{height:g}" style="{style}"', 1)
    svg = re.sub(r' style="[^"]*"', lambda m: re.sub("([:;]) ", r"\1", m[0]), svg)
    alt = html.escape(alt, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{alt}" class="{classes}"', 1)


def compact(svg):
    """The same drawing in about half as many letters: short coordinates, a style once, WebP for PNG."""
    svg = re.sub(r' (?:x|y)="[^"]*"', lambda m: DECIMALS.sub(r"\1", m[0]), svg.replace("> <", "><"))
    svg = SHIFT.sub(lambda m: DECIMALS.sub(r"\1", f' x="{m[1]}" y="{m[2]}"/>'), svg)
    svg = PATH.sub(lambda m: f' d="{relative(m[1])}"', svg.replace(' y="0"/>', "/>"))
    svg = CLIPPED.sub(lambda m: m[0].replace(f"</g>{m[1]}", ""), svg)
    styles = dict(re.findall(r'<path id="([^"]*)"[^>]*?( style="[^"]*")', svg))
    svg = USED.sub(lambda m: m[0].replace(styles.get(m[1], ""), ""), svg)
    svg = ALIKE.sub(lambda m: f"<g{m[3]}>{m[0].replace(m[3], '')}</g>", svg)
    return RASTER.sub(lambda m: webp(m[1]), svg)


def relative(path):
    """A path with absolute coordinates, each as the hundredths by which it differs from the last."""
    x = y = start_x = start_y = 0
    text, last = [], ""
    for command, numbers in re.findall(r"([MLCQz])([^MLCQz]*)", path):
        points = [round(100 * float(number)) for number in numbers.split()]
        steps = [v - (y if i % 2 else x) for i, v in enumerate(points)]
        if command != "z":
            x, y = points[-2:]
        if command == "M":
            start_x, start_y = x, y
        if command == "z":
            x, y = start_x, start_y
        letter = "" if command == last == "L" else command.lower()
        words = [hundredths(step) for step in steps]
        numbers = " ".join(words).replace(" -", "-")
        text.append(letter or ("" if numbers.startswith("-") else " "))
        text.append(numbers)
        last = command
    return re.sub(r"(\.\d+) (?=\.)", r"\1", "".join(text))


@cache
def hundredths(value):
    word = f"{value / 100:.2f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", word)


def webp(png):
    """A picture within a drawing, in fewer bytes and with the same pixels; a cloud of a dim colour is marked."""
    content = base64.b64decode(png)
    with Image.open(io.BytesIO(content)) as picture:
        picture.save(smaller := io.BytesIO(), "webp", exact=True, **LOSSLESS)
        pixels = np.asarray(picture.convert("RGBA")).reshape(-1, 4)
    color = np.median(pixels[pixels[:, 3] > 0, :3], axis=0) / 255
    dim = any(np.allclose(color, to_rgb(COLORS[name]), atol=0.03) for name in DIM)
    kind, content = min(
        ("png", content), ("webp", smaller.getvalue()), key=lambda pair: len(pair[1])
    )
    mark = ' class="dim"' if dim else ""
    return f'<image{mark} href="data:image/{kind};base64,{base64.b64encode(content).decode()}"'


class Pictures(SphinxTransform):
    default_priority = 400

    def apply(self, **options):
        for node in list(self.document.findall(nodes.image)):
            path = Path(self.env.relfn2path(node["uri"], self.env.docname)[1])
            if not node.get("alt"):
                logger.warning("a picture has no alternative text: %s", path.name, location=node)
            if path.suffix == ".svg" and path.exists():
                svg = inline(path.read_text(encoding="utf-8"), node.get("alt", ""))
                if "sd-card-img-top" in node["classes"]:
                    svg = svg.replace('"plot"', '"sd-card-img-top"', 1)
                node.replace_self(nodes.raw("", svg, format="html"))
            elif path.suffix == ".gif" and path.exists():
                node.replace_self(self.with_still(node, path))

    def with_still(self, node, path):
        """The animation and its still: the picture of the same name beside it, or else its last frame."""
        moving, still, picture = node.deepcopy(), node.deepcopy(), path.with_suffix(".png")
        folder = Path(self.app.outdir).parent / "jupyter_execute"
        folder.mkdir(exist_ok=True)
        with Image.open(path) as animation:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
            times = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
        if not picture.exists():
            picture = folder / f"{path.stem}.still.png"
            frames[-1].save(picture, optimize=True)
        first, *rest = frames
        smaller = folder / f"{path.stem}.webp"
        first.save(smaller, save_all=True, append_images=rest, duration=times, loop=0, **LOSSLESS)
        for picture_node, source in ((moving, smaller), (still, picture)):
            picture_node["uri"] = "/" + Path(os.path.relpath(source, self.app.srcdir)).as_posix()
        still["classes"] = [*node["classes"], "still"]
        moving["classes"] = [*node["classes"], "moving"]
        return nodes.container("", moving, still, classes=["animation"])


def setup(app):
    app.add_transform(Pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
