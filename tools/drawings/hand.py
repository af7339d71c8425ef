"""The hand of all drawings: style, colours, and the strokes that several of them need.

Thin lines and letters have the colour of the page's text, and two accents suit a light and a dark page and can be told
apart by people with colour-blindness. Letters are outlines, so that a page needs no font.
"""

import re
from io import StringIO

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from dgm_helpers.sprites import to_uint8

INK, BLUE, ORANGE, GREY = (
    "#010203",
    "#3b8ed8",
    "#e07b2a",
    "#8a8f98",
)  # INK becomes the colour of the text
STYLE = {
    "svg.hashsalt": "drawings",
    "svg.fonttype": "path",
    "font.size": 10,
    "mathtext.fontset": "cm",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}
SPRITE = 25  # the picture of the generated set that the drawings show
DRAWINGS = {}


def drawing(function):
    """Mark a function that returns a figure as the drawing of its name, with hyphens."""
    DRAWINGS[function.__name__.replace("_", "-")] = function
    return function


def canvas(width, height):
    """Axes without frame over the whole figure, in units of inches; most drawings are 6.7 wide, the width of the
    text.
    """
    figure = plt.figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return figure, ax


def arrow(ax, start, end, color=INK, bend=0.0, **options):
    style = {
        "arrowstyle": "-|>",
        "mutation_scale": 11,
        "linewidth": 1.3,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    connection = {"connectionstyle": f"arc3,rad={bend}"}
    ax.annotate("", end, start, arrowprops=style | connection | {"color": color} | options)


def sprite(ax, picture, x, y, side):
    """A float picture (3, 16, 16) in [-1, 1] with its centre at (x, y)."""
    half = side / 2
    ax.imshow(
        to_uint8(picture[None])[0],
        extent=(x - half, x + half, y - half, y + half),
        interpolation="nearest",
        zorder=2,
    )
    ax.add_patch(
        plt.Rectangle(
            (x - half, y - half), side, side, fill=False, edgecolor=GREY, linewidth=0.8, zorder=3
        )
    )


def to_svg(figure):
    buffer = StringIO()
    with plt.rc_context(STYLE):
        figure.savefig(buffer, format="svg", dpi=250, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = buffer.getvalue().replace(INK, "currentColor")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s+<metadata>.*?</metadata>", "", svg, flags=re.S)
    return re.sub(
        r'(<svg [^>]*?)width="([\d.]+)pt" height="[\d.]+pt"',
        r'\1style="width: 100%; max-width: \2pt"',
        svg,
        count=1,
    )
