"""The figures that several chapters share. Each returns a matplotlib figure or, for an animation, the bytes of a GIF."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
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
    file = BytesIO()
    durations = [milliseconds] * (len(sheets) - 1) + [milliseconds * hold]
    sheets[0].save(file, "GIF", save_all=True, append_images=sheets[1:], duration=durations, loop=0)
    return file.getvalue()
