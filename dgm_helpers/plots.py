"""The figures that several chapters share. Each returns a matplotlib figure or, for an animation, the bytes of a GIF.

In a notebook, importing this module calls :func:`use_style`.

Wrong type, dtype, shape, range or NaN raises TypeError or ValueError naming the argument, before anything is drawn.
"""

import re
import sys
from collections.abc import Mapping
from io import BytesIO, StringIO

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import ListedColormap, is_color_like, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from .arguments import (
    checked_score,
    described,
    is_finite,
    is_floats,
    require_array,
    require_callable,
    require_data,
    require_int,
    require_number,
)
from .sprites import _on_white, tile, to_uint8

LONGEST = 655_350  # milliseconds: a GIF counts hundredths of a second in 16 bits
WIDTH = 6.75  # inches, at 96 screen pixels each: the width of the book's text column
MANY = 1500  # points of all clouds of a figure, from which on it holds their picture instead of each of them
DECIMALS = re.compile(
    r"(\d\.\d\d)\d+"
)  # of a drawing's coordinates: what is beyond 1/7,000 of an inch

# what the first five stand for can be told apart with any colour-blindness, and all suit a light and a dark page
COLORS = {
    "blue": "#4696e4",
    "orange": "#c57530",
    "green": "#10703f",
    "red": "#df5380",
    "purple": "#8633df",
    "brown": "#9a6a3f",
    "pink": "#d46fb4",
    "grey": "#808690",
    "olive": "#948c1e",
    "cyan": "#1f9fae",
}
# for thin things on the page's own ground: viridis without its ends, of which one is lost on dark and one on white
ARROWS = ListedColormap(plt.colormaps["viridis"](np.linspace(0.3, 0.8, 256)), "arrows")
GROUND = "#fefefe"  # behind a legend; the book shows its page's ground instead, and its text's colour for black
STYLE = {
    "figure.figsize": (WIDTH, 3.4),
    "figure.dpi": 96,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=COLORS.values()),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.linewidth": 0.9,
    "font.size": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "grid.color": COLORS["grey"],
    "grid.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.facecolor": GROUND,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "legend.borderaxespad": 0.3,
    "lines.linewidth": 1.7,
    "svg.fonttype": "path",
    "svg.hashsalt": "figures",
}


def use_style():
    """Give the figures of this notebook the look of the book's: its style, and drawings (SVG) instead of pictures.

    The drawings have no ground of their own and suit a light and a dark page. A figure that is wider than the text
    column, 6.75 inches, is drawn at the column's width. What is dense in a figure, clouds of more than 1,500 points
    together or a field of colours, becomes a picture with two pixels for each of the screen's; pixel art keeps the
    edges of its pixels. Outside a notebook, or if it has another backend than the inline one, only the style changes.
    """
    plt.rcParams.update(STYLE)
    if "IPython" not in sys.modules:
        return
    shell = sys.modules["IPython"].get_ipython()
    if shell is None or "inline" not in matplotlib.get_backend(auto_select=False):
        return
    plt.switch_backend(matplotlib.get_backend())  # registers what draws PNG, which is then replaced
    formatters = shell.display_formatter.formatters
    formatters["image/png"].pop(Figure, None)
    formatters["image/svg+xml"].for_type(Figure, _to_svg)


def _to_svg(figure):
    """The figure as the text of an SVG element; it is changed in place."""
    width, height = figure.get_size_inches()
    if width > WIDTH:
        square = any(ax.get_aspect() != "auto" for ax in figure.axes)
        figure.set_size_inches(WIDTH, height * WIDTH / width if square else height)
    clouds = [*figure.findobj(PathCollection), *figure.findobj(_is_row_of_dots)]
    if sum(map(_points, clouds)) > MANY:
        for cloud in clouds:
            cloud.set_rasterized(_points(cloud) > 50)
    for ax in figure.axes:
        fields = [artist for artist in ax.collections if isinstance(artist, QuadMesh)]
        for field in fields:
            field.set_rasterized(True)
        for image in ax.images:
            if image.get_interpolation() == "nearest":
                image.set_interpolation("none")  # the browser enlarges the pixels themselves
        if ax.images or fields:  # black lines on a picture stay black on a dark page
            for artist in (*ax.lines, *ax.texts):
                if to_hex(artist.get_color()) == "#000000":
                    artist.set_color("#000001")
            for artist in ax.collections:
                if {to_hex(color) for color in artist.get_facecolor()} == {"#000000"}:
                    artist.set_facecolor("#000001")
    text = StringIO()
    figure.savefig(text, format="svg", dpi=192, metadata={"Date": None, "Creator": None})
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", text.getvalue(), flags=re.S)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda match: DECIMALS.sub(r"\1", match[0]), svg)
    return " ".join(svg[svg.index("<svg") :].split("\n"))


def _is_row_of_dots(artist):
    return isinstance(artist, Line2D) and artist.get_linestyle() == "None"


def _points(artist):
    return len(artist.get_xdata() if isinstance(artist, Line2D) else artist.get_offsets())


def plot_samples(images, *, columns=10, title=None, row_labels=None, width=6.2, value_range=None):
    """Draw pictures as a sheet without axes.

    Parameters
    ----------
    images : uint8 array (N, H, W, 3), or RGBA (N, H, W, 4), drawn on white; or float tensor or array (N, 3, H, W)
        One picture may lack the first axis.
    columns : int
        Pictures in a row, 1…1000.
    title : str, optional
    row_labels : list of str, optional
        One for each row, written to its left.
    width : float
        The sheet is at most so many inches wide (labels apart), up to 100; labels and all, it is no wider than the
        text column, 6.75 inches, unless ``width`` is. Each of its pixels is a square of whole screen pixels.
    value_range : (float, float), optional
        What stands for black and white in float pictures; values outside are clipped. By default (−1, 1), but floats
        none of which is below zero might as well lie in [0, 1] or [0, 255]: for these it must be given.
    """
    columns = require_int("columns", columns, 1, 1000)
    width = require_number("width", width, above=0, most=100)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a string or None, got {described(title)}")
    if row_labels is not None:
        _require_strings("row_labels", row_labels)
    images = _require_pictures("images", images, value_range)
    rows, dpi = -(-len(images) // columns), 96
    if row_labels is not None and len(row_labels) != rows:
        wanted = f"one label for each of {rows} rows"
        raise ValueError(f"row_labels must hold {wanted}, got {len(row_labels)}")
    sheet = tile(images, columns)
    left = 8 * max(map(len, row_labels)) + 8 if row_labels else 0
    top = 24 if title else 0
    room = dpi * width if width > WIDTH else min(dpi * width, dpi * WIDTH - left)
    height, width = (max(1, int(room) // sheet.shape[1]) * side for side in sheet.shape[:2])
    figure = plt.figure(
        figsize=((left + width) / dpi, (top + height) / dpi), dpi=dpi, layout="none"
    )
    ax = figure.add_axes(
        (left / (left + width), 0, width / (left + width), height / (top + height))
    )
    ax.imshow(sheet, interpolation="none")
    ax.set_xticks([])
    ax.set_yticks(
        [sheet.shape[0] / rows * (i + 0.5) for i in range(rows)] if row_labels else [], row_labels
    )
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title, fontsize=10)
    return figure


def _require_pictures(name, images, value_range=None):
    """Pictures in one of the forms that :func:`plot_samples` reads, as uint8 (N, H, W, 3)."""
    wanted = f"{name} must be a uint8 array (N, H, W, 3) or (N, H, W, 4), or a float tensor or array (N, 3, H, W)"
    value_range = _require_range(value_range)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        pictures = images[None] if images.ndim == 3 else images
        if pictures.ndim != 4 or pictures.shape[3] not in (3, 4) or pictures.size == 0:
            raise ValueError(f"{wanted}, got {described(images)}")
        return pictures if pictures.shape[3] == 3 else _on_white(pictures)
    if isinstance(images, torch.Tensor) and images.dtype == torch.uint8:
        hint = "of (N, 3, H, W), .permute(0, 2, 3, 1).numpy() makes such an array"
        raise TypeError(f"{wanted}, got {described(images)}; {hint}")
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        x = torch.from_numpy(images.astype(np.float64))
    elif is_floats(images):
        x = images.detach()
    else:
        raise TypeError(f"{wanted}, got {described(images)}")
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] != 3 or x.numel() == 0:
        raise ValueError(f"{wanted}, got {described(images)}")
    if not is_finite(x):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if value_range is not None:
        low, high = value_range
        x = ((x - low) / (high - low)).clamp(0, 1) * 2 - 1
    elif x.max() > 0 and x.min() >= 0:
        span = f"lie in {x.min():.3g}…{x.max():.3g}, none below zero"
        wanted = "what is black and white, such as (0, 1), (0, 255) or (-1, 1)"
        raise ValueError(f"{name} {span}: value_range must say {wanted}")
    return to_uint8(x)


def _require_range(value_range):
    if value_range is None:
        return None
    wanted = "value_range must be two numbers (low, high)"
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        raise TypeError(f"{wanted} or None, got {described(value_range)}")
    low, high = (require_number("value_range", value) for value in value_range)
    if not low < high:
        raise ValueError(f"{wanted} with low < high, got {low}, {high}")
    return low, high


def _require_strings(name, values):
    if not isinstance(values, (tuple, list)) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} must be a list or tuple of strings, got {described(values)}")
    return values


def _require_axes(ax):
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib axes, got {described(ax)}")
    return ax


def plot_loss(history, *, keys, labels, ax=None):
    """Draw columns of a training history against the epoch, on a log scale.

    Parameters
    ----------
    history : list of dict
        One for each epoch, with ``"epoch"`` and ``keys``; the values are positive numbers.
    keys, labels : lists of str, equally long
        The columns, and their names in the legend.
    ax : matplotlib axes, optional
    """
    if len(_require_strings("keys", keys)) != len(_require_strings("labels", labels)) or not keys:
        raise ValueError(
            f"keys and labels must be equally many, at least one, got {len(keys)} and {len(labels)}"
        )
    entries = history if isinstance(history, (list, tuple)) else [None]
    if not all(isinstance(entry, Mapping) for entry in entries):
        wanted = "a list of dictionaries, one for each epoch"
        raise TypeError(f"history must be {wanted}, got {described(history)}")
    if not history:
        raise ValueError("history must hold at least one epoch, got none")
    columns = {}
    for key in ("epoch", *keys):
        for i, entry in enumerate(history):
            if key not in entry:
                what = f"got none in history[{i}] of {list(entry)}"
                raise ValueError(f"history must have {key!r} for each epoch, {what}")
        column = require_array(f"history's {key!r}", [entry[key] for entry in history]).numpy()
        if column.ndim != 1 or not (key == "epoch" or (column > 0).all()):
            wanted = "one positive number for each epoch"
            raise ValueError(
                f"history's {key!r} must be {wanted}, got {described(column.tolist())}"
            )
        columns[key] = column
    if ax is None:
        ax = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")[1]
    _require_axes(ax)
    for key, label in zip(keys, labels, strict=True):
        ax.plot(columns["epoch"], columns[key], label=label, linewidth=1.3)
    ax.set(xlabel="epoch", ylabel="mean squared error per value", yscale="log")
    ax.grid(alpha=0.3, which="both")
    ax.legend()
    return ax.figure


def animate(frames, *, columns, scale=3, milliseconds=80, hold=15, value_range=None):
    """A looping GIF, as bytes, of sheets of pictures.

    Parameters
    ----------
    frames : list
        Each is like ``images`` of :func:`plot_samples`, and all have the same shape.
    columns : int
        Pictures in a row, 1…1000.
    scale : int
        Screen pixels along a pixel's side, at least 1.
    milliseconds : int
        How long a frame is shown, at least 10, a GIF's unit. The whole lasts at most 655,350.
    hold : int
        The last frame is shown this many times as long.
    value_range : (float, float), optional
        As for :func:`plot_samples`.
    """
    columns = require_int("columns", columns, 1, 1000)
    try:
        frames = list(frames)
    except TypeError:
        raise TypeError(f"frames must be a list of pictures, got {described(frames)}") from None
    if not frames:
        raise ValueError("frames must hold at least one frame, got none")
    durations = _require_durations(len(frames), milliseconds, hold)
    for i, frame in enumerate(frames):
        frames[i] = _require_pictures(f"frames[{i}]", frame, value_range)
        if frames[i].shape != frames[0].shape:
            shapes = f"{frames[0].shape} in frames[0] and {frames[i].shape} in frames[{i}]"
            raise ValueError(f"frames must have one shape, got {shapes}")
    sheets = [Image.fromarray(tile(frame, columns)) for frame in frames]
    scale = require_int("scale", scale, 1, max(1, 10_000 // max(sheets[0].size)))
    size = sheets[0].width * scale, sheets[0].height * scale
    # one palette for all frames: what stands still keeps its colours
    some = Image.new("RGB", (sheets[0].width, 3 * sheets[0].height))
    for i, sheet in enumerate((sheets[0], sheets[len(sheets) // 2], sheets[-1])):
        some.paste(sheet, (0, i * sheet.height))
    palette = some.quantize(256)
    colours = np.reshape(palette.getpalette(), (-1, 3))
    colours[(colours > 244).all(1)] = 255  # a white ground stays white
    palette.putpalette(colours.ravel().tolist())
    sheets = [
        sheet.quantize(palette=palette, dither=Image.Dither.NONE).resize(
            size, Image.Resampling.NEAREST
        )
        for sheet in sheets
    ]
    return _gif(sheets, durations)


def animate_plot(draw, frames, *, figsize=(4, 4), milliseconds=80, hold=15):
    """A looping GIF of a plot, as bytes.

    Parameters
    ----------
    draw : callable
        ``draw(ax, i)`` draws frame i of 0…``frames`` − 1 on empty axes.
    frames : int
        At least 1.
    figsize : (float, float)
        Width and height in inches, 0.1…100.
    milliseconds, hold : int
        As for :func:`animate`.
    """
    require_callable("draw", draw)
    frames = require_int("frames", frames, 1)
    durations = _require_durations(frames, milliseconds, hold)
    if not isinstance(figsize, (tuple, list)) or len(figsize) != 2:
        raise TypeError(f"figsize must be two numbers (width, height), got {described(figsize)}")
    figsize = [require_number("figsize", side, least=0.1, most=100) for side in figsize]
    figure, ax = plt.subplots(figsize=figsize, dpi=80, layout="constrained", facecolor="white")
    pictures = []
    try:
        for i in range(frames):
            ax.clear()
            draw(ax, i)
            figure.canvas.draw()
            picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            pictures.append(Image.fromarray(picture).quantize(64))
    finally:
        plt.close(figure)
    return _gif(pictures, durations)


def _require_durations(n, milliseconds, hold):
    """How long each of n frames is shown. Pillow makes one frame of equal ones, so that their sum has to fit."""
    milliseconds, hold = require_int("milliseconds", milliseconds, 10), require_int("hold", hold, 1)
    if milliseconds * (n - 1 + hold) > LONGEST:
        what = f"{n} frames of {milliseconds} milliseconds, the last one held for {hold}"
        raise ValueError(f"milliseconds and hold must add up to at most {LONGEST}, got {what}")
    return [milliseconds] * (n - 1) + [milliseconds * hold]


def _gif(pictures, durations):
    file, (first, *others) = BytesIO(), pictures
    first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return file.getvalue()


def plot_score_field(score, *, limit, log_prob=None, arrows=21, ax=None):
    r"""Draw a score in the plane over [−``limit``, ``limit``]²: arrows for its direction, colour for its length.

    Parameters
    ----------
    score : callable
        ``score(x)`` returns a finite tensor shaped like ``x``, float64 (B, 2).
    limit : float
        Above 0.
    log_prob : callable, optional
        ``log_prob(x)`` returns (B,); contours of the density are drawn at 10⁻¹, 10⁻², 10⁻⁴ and 10⁻⁸ of its largest
        value on the grid.
    arrows : int
        Arrows along one side, 2…200.
    ax : matplotlib axes, optional
    """
    require_callable("score", score)
    limit, arrows = require_number("limit", limit, above=0), require_int("arrows", arrows, 2, 200)
    if log_prob is not None:
        require_callable("log_prob", log_prob)
    if ax is not None:
        _require_axes(ax)

    def grid(n):
        line = torch.linspace(-limit, limit, n, dtype=torch.float64, device="cpu")
        return torch.cartesian_prod(line, line)

    x = grid(arrows)
    with torch.no_grad():
        s = checked_score(score, x).detach().double().cpu()
    if not is_finite(s):
        raise ValueError("score must return finite values, got NaN or infinity")
    if log_prob is not None:
        at = grid(121)
        with torch.no_grad():
            values = log_prob(at.clone())
        if not is_floats(values) or values.shape != at.shape[:1]:
            raise ValueError(
                f"log_prob must return a floating-point tensor of shape {tuple(at.shape[:1])}, got {described(values)}"
            )
        values = values.detach().double().cpu()
        if values.isnan().any() or not values.max().isfinite():
            raise ValueError(
                "log_prob must return numbers, the largest of them finite, got NaN or infinity"
            )

    ax = plt.subplots(figsize=(4.6, 4), layout="constrained")[1] if ax is None else ax
    length = s.norm(dim=1)
    direction = s / length.clamp_min(1e-12)[:, None]
    field = ax.quiver(
        *x.T.numpy(),
        *direction.T.numpy(),
        length.numpy(),
        cmap=ARROWS,
        pivot="mid",
        scale=1.1 * arrows,
        width=0.006,
    )
    ax.figure.colorbar(field, ax=ax, label="length of the score", shrink=0.85)
    if log_prob is not None:
        levels = np.log([1e-8, 1e-4, 1e-2, 1e-1])
        x, y, values = (
            column.reshape(121, 121).numpy() for column in (*at.T, values - values.max())
        )
        ax.contour(x, y, values, levels, colors="gray", linewidths=0.7, linestyles="solid")
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return ax.figure


def plot_trajectories(trajectory, *, ax, color=None):
    """Draw chains in the plane, a tensor (steps + 1, B, 2), as lines from a circle at the start to a cross at the end.

    ``color`` is one of matplotlib's for all chains; by default each has its own.
    """
    trajectory = require_data("trajectory", trajectory, shape=("steps + 1", "B", 2))
    trajectory = trajectory.detach().double().cpu()
    if len(trajectory) == 0:
        raise ValueError(
            f"trajectory must have shape (steps + 1, B, 2) with at least one point, got {tuple(trajectory.shape)}"
        )
    _require_axes(ax)
    if color is not None and not is_color_like(color):
        raise ValueError(f"color must be a colour of matplotlib's, got {described(color)}")
    for i, path in enumerate(trajectory.unbind(1)):
        line = ax.plot(
            *path.T,
            linewidth=0.8,
            alpha=0.8,
            color=f"C{i % 10}" if color is None else color,
            zorder=2,
        )[0]
        ax.plot(
            *path[0], "o", color=line.get_color(), markeredgecolor="black", markersize=5, zorder=3
        )
        ax.plot(
            *path[-1], "X", color=line.get_color(), markeredgecolor="black", markersize=7, zorder=4
        )
    return ax.figure


if "ipykernel" in sys.modules:
    use_style()
