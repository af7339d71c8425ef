"""The figures that several chapters share. Each returns a matplotlib figure or, for an animation, the bytes of a GIF."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from .sprites import tile, to_uint8


def _as_uint8(images):
    return images if isinstance(images, np.ndarray) else to_uint8(images)


def plot_samples(images, *, columns=10, title=None, row_labels=None, width=7.0):
    """Draw pictures, uint8 (N, H, W, 3) or float tensor (N, 3, H, W) in [−1, 1], as a sheet without axes.

    ``row_labels`` are written to the left of the rows, ``width`` is in inches. Raises ValueError on NaN.
    """
    sheet = tile(_as_uint8(images), columns)
    figure, ax = plt.subplots(figsize=(width, width * sheet.shape[0] / sheet.shape[1]), layout="constrained")
    ax.imshow(sheet, interpolation="nearest")
    if row_labels is not None:
        pitch = sheet.shape[0] / len(row_labels)
        ax.set_yticks([pitch * (i + 0.5) for i in range(len(row_labels))], row_labels)
    ax.set_xticks([])
    if row_labels is None:
        ax.set_yticks([])
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
