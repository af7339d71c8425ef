"""The figures that several chapters share. Each returns a matplotlib figure or, for an animation, the bytes of a GIF."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from .sprites import tile, to_uint8


def _as_uint8(images):
    return images if isinstance(images, np.ndarray) else to_uint8(images)


def plot_samples(images, *, columns=10, title=None, row_labels=None, width=6.2):
    """Draw pictures, uint8 (N, H, W, 3) or float tensor (N, 3, H, W) in [−1, 1], as a sheet without axes.

    ``row_labels`` are written to the left of the rows. The sheet is at most ``width`` inches wide, labels apart, and each of its
    pixels a square of whole screen pixels. Raises ValueError on NaN.
    """
    sheet = tile(_as_uint8(images), columns)
    rows, dpi = -(-len(images) // columns), 100
    height, width = (max(1, int(dpi * width) // sheet.shape[1]) * side for side in sheet.shape[:2])
    left = 8 * max(map(len, row_labels), default=0) if row_labels else 0
    top = 24 if title else 0
    figure = plt.figure(figsize=((left + width) / dpi, (top + height) / dpi), dpi=dpi)
    ax = figure.add_axes((left / (left + width), 0, width / (left + width), height / (top + height)))
    ax.imshow(sheet, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([sheet.shape[0] / rows * (i + 0.5) for i in range(rows)] if row_labels else [], row_labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title, fontsize=10)
    return figure


def plot_loss(history, *, keys, labels, ax=None):
    """Draw columns ``keys`` of a training history (a list of one dictionary per epoch) against the epoch, on a log scale."""
    ax = ax or plt.subplots(figsize=(6.5, 3.6), layout="constrained")[1]
    epochs = [entry["epoch"] for entry in history]
    for key, label in zip(keys, labels, strict=True):
        ax.plot(epochs, [entry[key] for entry in history], label=label, linewidth=1.2)
    ax.set(xlabel="epoch", ylabel="mean squared error per value", yscale="log")
    ax.grid(alpha=0.3, which="both")
    ax.legend()
    return ax.figure


def animate(frames, *, columns, scale=3, milliseconds=80, hold=15):
    """A looping GIF of ``frames`` (each like the ``images`` of :func:`plot_samples`), as bytes; the last frame is held ``hold`` frames long."""
    sheets = []
    for frame in frames:
        sheet = Image.fromarray(tile(_as_uint8(frame), columns))
        sheets.append(sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).quantize(64))
    return _gif(sheets, milliseconds, hold)


def animate_plot(draw, frames, *, figsize=(4, 4), milliseconds=80, hold=15):
    """A looping GIF of a plot, as bytes: ``draw(ax, i)`` draws frame i of 0…``frames`` − 1 on empty axes; the last one is held ``hold`` frames long."""
    figure, ax = plt.subplots(figsize=figsize, dpi=80, layout="constrained")
    pictures = []
    for i in range(frames):
        ax.clear()
        draw(ax, i)
        figure.canvas.draw()
        pictures.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(64))
    plt.close(figure)
    return _gif(pictures, milliseconds, hold)


def _gif(pictures, milliseconds, hold):
    file = BytesIO()
    durations = [milliseconds] * (len(pictures) - 1) + [milliseconds * hold]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return file.getvalue()


def plot_score_field(score, *, limit, log_prob=None, arrows=21, ax=None):
    r"""Draw a score in the plane over the square [−``limit``, ``limit``]²: arrows for its direction, colour for its length.

    Parameters
    ----------
    score : callable
        ``score(x)`` returns a tensor shaped like ``x``, float64 (B, 2).
    limit : float
    log_prob : callable, optional
        ``log_prob(x)`` returns (B,); contours of the density are drawn at 10⁻¹, 10⁻², 10⁻⁴ and 10⁻⁸ of its largest value on the grid.
    arrows : int
        Arrows along one side.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib figure
    """
    ax = ax or plt.subplots(figsize=(4.6, 4), layout="constrained")[1]

    def on_grid(function, n):
        line = torch.linspace(-limit, limit, n, dtype=torch.float64)
        x = torch.cartesian_prod(line, line)
        with torch.no_grad():
            return *x.T.numpy(), function(x).double().numpy()

    x, y, s = on_grid(score, arrows)
    length = np.linalg.norm(s, axis=1)
    direction = s / np.maximum(length, 1e-12)[:, None]
    field = ax.quiver(x, y, *direction.T, length, cmap="viridis", pivot="mid", scale=1.1 * arrows, width=0.006)
    ax.figure.colorbar(field, ax=ax, label="length of the score", shrink=0.85)
    if log_prob is not None:
        x, y, values = on_grid(log_prob, 121)
        grid = (121, 121)
        levels = np.log([1e-8, 1e-4, 1e-2, 1e-1])
        ax.contour(
            x.reshape(grid), y.reshape(grid), (values - values.max()).reshape(grid), levels, colors="gray", linewidths=0.7, linestyles="solid"
        )
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return ax.figure


def plot_trajectories(trajectory, *, ax, color=None):
    """Draw chains in the plane, (steps + 1, B, 2), as lines from a circle at the start to a cross at the end."""
    for i, path in enumerate(trajectory.unbind(1)):
        line = ax.plot(*path.T, linewidth=0.8, alpha=0.8, color=color or f"C{i % 10}", zorder=2)[0]
        ax.plot(*path[0], "o", color=line.get_color(), markeredgecolor="black", markersize=5, zorder=3)
        ax.plot(*path[-1], "X", color=line.get_color(), markeredgecolor="black", markersize=7, zorder=4)
    return ax.figure
