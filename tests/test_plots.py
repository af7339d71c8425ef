"""The figures that several chapters share: what they draw, counted, and what they refuse."""

import re
from base64 import b64decode
from io import BytesIO
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from nbclient import NotebookClient
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from dgm_helpers.mixtures import GaussianMixture  # noqa: E402
from dgm_helpers.plots import (  # noqa: E402
    COLORS,
    GROUND,
    STYLE,
    WIDTH,
    _to_svg,
    animate,
    animate_plot,
    plot_loss,
    plot_samples,
    plot_score_field,
    plot_trajectories,
)
from dgm_helpers.sprites import load_sprites, tile, to_tensor  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
mixture = GaussianMixture([0.2, 0.8], [[3.0, 0.0], [-3.0, 0.0]], [1.0, 1.0])


@pytest.fixture(autouse=True)
def no_figure_is_left_open_by_an_error(request):
    yield
    if "error" in request.fixturenames:
        assert not plt.get_fignums()
    plt.close("all")


# The look


def test_a_notebook_that_draws_gets_the_books_style_and_drawings_from_the_package():
    code = "import matplotlib.pyplot as plt\nimport dgm_helpers\nplt.plot([1, 2])\nplt.show()"
    lab = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(lab, kernel_name="python3").execute()
    (output,) = lab.cells[0].outputs
    assert set(output.data) == {"image/svg+xml", "text/plain"}
    assert output.data["image/svg+xml"].startswith("<svg")
    assert COLORS["blue"] in output.data["image/svg+xml"]


def as_svg(figure):
    return ElementTree.fromstring(_to_svg(figure))


@pytest.fixture
def style():
    with plt.rc_context(STYLE):
        yield


def embedded(svg):
    """The pictures that a drawing holds."""
    links = [image.get("{http://www.w3.org/1999/xlink}href") for image in svg.iter(f"{SVG}image")]
    return [Image.open(BytesIO(b64decode(link.split(",")[1]))) for link in links]


def test_a_drawing_fits_the_text_column_has_no_ground_and_is_the_same_each_time(style):
    def draw():
        figure, ax = plt.subplots(figsize=(9, 3))
        ax.plot([1, 2], "k", label="x")
        ax.legend()
        return figure

    text = _to_svg(draw())
    assert text == _to_svg(draw())
    svg = ElementTree.fromstring(text)
    assert (svg.get("width"), svg.get("height")) == (f"{72 * WIDTH:g}pt", "216pt")
    filled = re.findall(r"fill: (#\w+)", text)
    assert set(filled) == {GROUND}  # the legend's; black is what is meant where no colour stands
    assert re.search("stroke: #000000", text)
    figure, ax = plt.subplots(figsize=(13.5, 8))
    ax.set_aspect("equal")
    assert as_svg(figure).get("height") == "288pt"  # as much lower as it is narrower


def test_pixel_art_is_embedded_pixel_by_pixel(style):
    sheet = tile(IMAGES, 3)
    (alone,) = embedded(as_svg(plot_samples(IMAGES, columns=3)))
    assert (np.asarray(alone.convert("RGB")) == sheet).all()
    figure, ax = plt.subplots()
    ax.imshow(sheet, interpolation="nearest")
    svg = as_svg(figure)
    assert embedded(svg)[0].size == (56, 38)
    assert "pixelated" in next(svg.iter(f"{SVG}image")).get("style")


def test_crowds_and_fields_become_pictures_and_a_few_points_do_not(style):
    def pictures(n):
        figure, (left, right) = plt.subplots(1, 2)
        left.scatter(np.arange(n), np.arange(n))
        left.scatter([0, 1], [0, 1])
        right.plot(np.arange(n), np.ones(n), "o")
        return len(embedded(as_svg(figure)))

    assert pictures(100) == 0
    assert pictures(800) == 2
    figure, ax = plt.subplots()
    ax.pcolormesh(np.eye(3))
    ax.plot([0, 1], "black")
    ax.quiver([1], [1], color="black")
    assert len(embedded(as_svg(figure))) == 1
    assert ax.lines[0].get_color() == "#000001"  # black, on a dark page too
    assert to_hex(ax.collections[1].get_facecolor()[0]) == "#000001"


def test_the_book_shows_a_drawing_in_the_colours_of_its_page(style, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "book" / "_ext"))
    from pictures import inline  # noqa: PLC0415

    figure, ax = plt.subplots()
    ax.plot([0, 1], "black", label="x")
    ax.plot([1, 0], COLORS["green"])
    ax.plot([0, 0], COLORS["purple"])
    ax.legend()
    text = inline(_to_svg(figure), 'a "line" & its end')
    svg = ElementTree.fromstring(text)
    assert svg.get("aria-label") == 'a "line" & its end' and svg.get("role") == "img"
    assert svg.get("width") == f"{96 * WIDTH:g}"
    assert all(f"stroke:var(--{name}, {COLORS[name]})" in text for name in ("green", "purple"))
    assert "stroke:currentColor" in text and "#000000" not in text and GROUND not in text
    ids = [element.get("id") for element in svg.iter() if element.get("id")]
    used = re.findall(r'(?:url\(|href=")#([^")]+)', text)
    assert set(ids) == set(used) and len(ids) == len(set(ids))

    sheet = inline(_to_svg(plot_samples(IMAGES, columns=3)), "sprites")
    assert (
        "round(down, 100%, 56.0000px" in sheet
    )  # whole pixels of the screen for each of the sheet's 56


def contrast(one, other):
    bright, dark = sorted([luminance(one), luminance(other)])[::-1]
    return (bright + 0.05) / (dark + 0.05)


def linear(color):
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(color):
    return linear(color) @ [0.2126, 0.7152, 0.0722]


STYLE_SHEET = (Path(__file__).parent.parent / "book/_static/book.css").read_text(encoding="utf-8")
ON_DARK = COLORS | dict(re.findall(r"--(green): (#\w{6});", STYLE_SHEET))


def test_the_colours_stand_out_from_a_light_and_a_dark_page():
    for name, color in COLORS.items():
        assert contrast(color, "white") >= 3 and contrast(ON_DARK[name], "#121212") >= 3, name
    assert contrast(ON_DARK["green"], "#121212") >= 6  # it often draws dots and thin lines


# Machado, Oliveira, Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, severity 1.0
SEEN_WITH = {
    "normal vision": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab_color(rgb):
    """CIE L*a*b* of a linear sRGB colour."""
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ rgb / [0.9505, 1, 1.0888], 0.0089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", SEEN_WITH)
@pytest.mark.parametrize("colors", [COLORS, ON_DARK], ids=["light", "dark"])
def test_the_first_colours_can_be_told_apart_by_everyone(vision, colors):
    first = [lab_color(np.array(SEEN_WITH[vision]) @ linear(c)) for c in list(colors.values())[:5]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(first, 2)) >= 15


# Sheets


IMAGES = load_sprites().images[:6]
X = to_tensor(IMAGES)


def drawn(images, **options):
    """The pictures that a sheet of one column shows, (N, H, W, 3)."""
    sheet = np.asarray(
        plot_samples(images, columns=1, **options).axes[0].images[0].get_array()
    ).astype(int)
    return np.stack([sheet[2 + 18 * i : 18 + 18 * i, 2:18] for i in range(len(sheet) // 18)])


@pytest.mark.parametrize(
    "images, options",
    [
        (IMAGES, {}),
        (IMAGES[:, ::-1][:, ::-1], {}),
        (IMAGES, {"value_range": (0, 1)}),  # uint8 says itself what is white
        (X, {}),
        (X.numpy(), {}),
        (X.numpy().astype(">f8"), {}),
        (X.double().requires_grad_(), {}),
        (X, {"value_range": (-1, 1)}),
        (X * 3, {"value_range": [-3, 3]}),
        ((X + 1) / 2, {"value_range": (0, 1)}),
        ((X.numpy() + 1) / 2, {"value_range": (0, 1)}),
        (torch.tensor(IMAGES).permute(0, 3, 1, 2).float(), {"value_range": (0, 255)}),
    ],
)
def test_pictures_that_people_have(images, options):
    before = images.copy() if isinstance(images, np.ndarray) else images.clone()
    assert (drawn(images, **options) == IMAGES).all()
    assert (before == images).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pictures_in_half_precision(dtype):
    assert np.abs(drawn(X.to(dtype)) - IMAGES).max() <= 1
    assert np.abs(drawn(X.half().numpy()) - IMAGES).max() <= 1


def test_one_picture():
    assert (drawn(IMAGES[2]) == IMAGES[2]).all()
    assert (drawn(X[2]) == IMAGES[2]).all()
    assert (drawn(X[2].numpy()) == IMAGES[2]).all()


def test_rgba_is_put_on_white():
    alpha = np.full((6, 16, 16, 1), 128, np.uint8)
    half = drawn(np.concatenate([IMAGES, alpha], -1))
    assert np.abs(half - (IMAGES * 128.0 + 255 * 127) / 255).max() <= 0.5
    assert (drawn(np.concatenate([IMAGES, 0 * alpha], -1)) == 255).all()
    assert (drawn(np.concatenate([IMAGES, 0 * alpha + 255], -1)[0]) == IMAGES[0]).all()


def test_values_outside_the_range_are_clipped():
    x = torch.zeros(4, 3, 16, 16) + torch.tensor([-1.2, -1.0, 1.0, 1.3])[:, None, None, None]
    assert drawn(x)[:, 0, 0, 0].tolist() == [0, 0, 255, 255]
    assert drawn(x, value_range=(-1.3, 2))[:, 0, 0, 0].tolist() == [8, 23, 178, 201]
    assert drawn(torch.zeros(1, 3, 16, 16))[0, 0, 0].tolist() == [128] * 3


@pytest.mark.parametrize(
    "images, error",
    [
        (IMAGES / 255, ValueError),
        (IMAGES / 127.5 - 1, ValueError),
        (torch.tensor(IMAGES) / 255, ValueError),
        (torch.tensor(IMAGES), TypeError),
        (torch.tensor(IMAGES).permute(0, 3, 1, 2), TypeError),
        (IMAGES.transpose(0, 3, 1, 2), ValueError),
        (IMAGES.astype(np.int64), TypeError),
        (IMAGES > 9, TypeError),
        (IMAGES.astype(np.complex64), TypeError),
        (X.to(torch.complex64), TypeError),
        (X > 0, TypeError),
        (X.long(), TypeError),
        (X[:, :1], ValueError),
        (torch.cat([X, X[:, :1]], 1), ValueError),
        (IMAGES[..., :1], ValueError),
        (X[0, 0], ValueError),
        (IMAGES[None], ValueError),
        (X[None], ValueError),
        (X[:0], ValueError),
        (IMAGES[:0], ValueError),
        (X[:, :, :0], ValueError),
        (list(X), TypeError),
        (list(IMAGES), TypeError),
        ("images", TypeError),
        (None, TypeError),
        (Image.fromarray(IMAGES[0]), TypeError),
        (torch.where(X > 0.9, torch.nan, X), ValueError),
        (np.where(X > 0.9, np.inf, X), ValueError),
    ],
)
def test_refused_pictures(images, error):
    with pytest.raises(error, match="^images must be "):
        plot_samples(images)


@pytest.mark.parametrize(
    "images", [(X + 1) / 2, (X.numpy() + 1) / 2, (X + 1) * 127.5, ((X + 1) / 2)[0]]
)
def test_a_range_that_cannot_be_told_is_asked_for(images):
    with pytest.raises(
        ValueError,
        match=r"images lie in .*, none below zero: value_range must say .* \(0, 1\), \(0, 255\) or \(-1, 1\)",
    ):
        plot_samples(images)
    assert plot_samples(images, value_range=(-1, 1))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"columns": 0}, ValueError, "columns must be an int in 1…1000, got 0"),
        ({"columns": -1}, ValueError, "columns must be an int in 1…1000, got -1"),
        ({"columns": 10**9}, ValueError, "columns must be an int in 1…1000, got 1000000000"),
        ({"columns": 1.5}, TypeError, "columns must be an int in 1…1000, got float 1.5"),
        ({"columns": None}, TypeError, "columns must be an int in 1…1000, got None"),
        ({"columns": True}, TypeError, "columns must be an int in 1…1000, got bool"),
        ({"width": 0}, ValueError, "width must be a finite number above 0 .* got 0"),
        ({"width": -2.0}, ValueError, "width must be a finite number above 0 .* got -2.0"),
        ({"width": np.nan}, ValueError, "width must be a finite number above 0 .* got nan"),
        ({"width": 1e9}, ValueError, "width must be .* of at most 100"),
        ({"width": None}, TypeError, "width must be .* got None"),
        ({"width": "6"}, TypeError, "width must be .* got str"),
        ({"title": 3}, TypeError, "title must be a string or None, got int 3"),
        ({"title": ["a"]}, TypeError, "title must be a string or None, got list"),
        (
            {"row_labels": ["a"]},
            ValueError,
            "row_labels must hold one label for each of 2 rows, got 1",
        ),
        (
            {"row_labels": ["a", "b", "c"]},
            ValueError,
            "row_labels must hold one label for each of 2 rows, got 3",
        ),
        (
            {"row_labels": []},
            ValueError,
            "row_labels must hold one label for each of 2 rows, got 0",
        ),
        ({"row_labels": "ab"}, TypeError, "row_labels must be a list or tuple of strings, got str"),
        (
            {"row_labels": [1, 2]},
            TypeError,
            "row_labels must be a list or tuple of strings, got list",
        ),
        ({"row_labels": 2}, TypeError, "row_labels must be a list or tuple of strings, got int"),
        (
            {"value_range": (1, 0)},
            ValueError,
            "value_range must be two numbers .* with low < high, got 1.0, 0.0",
        ),
        ({"value_range": (0, 0)}, ValueError, "value_range must be two numbers .* with low < high"),
        ({"value_range": (0, np.inf)}, ValueError, "value_range must be a finite number, got inf"),
        ({"value_range": (0, "1")}, TypeError, "value_range must be a finite number, got str"),
        (
            {"value_range": (0, 1, 2)},
            TypeError,
            r"value_range must be two numbers \(low, high\) or None, got tuple",
        ),
        (
            {"value_range": 1},
            TypeError,
            r"value_range must be two numbers \(low, high\) or None, got int 1",
        ),
        (
            {"value_range": "01"},
            TypeError,
            r"value_range must be two numbers \(low, high\) or None, got str",
        ),
    ],
)
def test_bad_arguments_of_sheets(options, error, message):
    for images in (X, IMAGES):
        with pytest.raises(error, match=message):
            plot_samples(images, **({"columns": 3} | options))


def test_a_sheet_has_its_title_and_labels():
    figure = plot_samples(
        X, columns=np.int64(3), title="six", row_labels=("above", "below"), width=np.float32(3)
    )
    (ax,) = figure.axes
    assert ax.get_title() == "six" and [label.get_text() for label in ax.get_yticklabels()] == [
        "above",
        "below",
    ]
    assert np.asarray(ax.images[0].get_array()).shape == (38, 56, 3)
    assert (figure.get_size_inches() * 96).round().tolist() == [8 * 5 + 8 + 5 * 56, 24 + 5 * 38]


def test_a_sheet_and_its_labels_fit_the_text_column_unless_the_sheet_is_to_be_wider():
    labels = ["a label of 24 characters"]
    tens = np.concatenate([IMAGES, IMAGES[:4]])  # 182 pixels wide
    assert plot_samples(tens).get_size_inches()[0] * 96 == pytest.approx(3 * 182)
    inside = plot_samples(tens, row_labels=labels).get_size_inches()[0]
    assert inside * 96 == pytest.approx(8 * 24 + 8 + 2 * 182) and inside <= WIDTH
    outside = plot_samples(tens, row_labels=labels, width=8).get_size_inches()[0]
    assert outside * 96 == pytest.approx(8 * 24 + 8 + 4 * 182)


# Histories


HISTORY = [{"epoch": i + 1, "a": 1 / (i + 1), "b": np.float32(2)} for i in range(4)]


def test_a_history_is_drawn_column_by_column():
    (ax,) = plot_loss(HISTORY, keys=["a", "b"], labels=["one", "other"]).axes
    assert [line.get_label() for line in ax.lines] == ["one", "other"] and ax.get_yscale() == "log"
    assert (
        ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
        and ax.lines[1].get_ydata().tolist() == [2] * 4
    )
    assert (
        plot_loss(tuple(HISTORY), keys=("b",), labels=("other",), ax=ax) is ax.figure
        and len(ax.lines) == 3
    )


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"history": []}, ValueError, "history must hold at least one epoch, got none"),
        (
            {"history": None},
            TypeError,
            "history must be a list of dictionaries, one for each epoch, got None",
        ),
        (
            {"history": HISTORY[0]},
            TypeError,
            "history must be a list of dictionaries, one for each epoch, got dict",
        ),
        (
            {"history": [1, 2]},
            TypeError,
            "history must be a list of dictionaries, one for each epoch, got list",
        ),
        (
            {"history": [*HISTORY, {"epoch": 5}]},
            ValueError,
            r"history must have 'a' for each epoch, got none in history\[4\] of \['epoch'\]",
        ),
        (
            {"history": [{"a": 1.0}]},
            ValueError,
            r"history must have 'epoch' for each epoch, got none in history\[0\]",
        ),
        (
            {"keys": ["c"]},
            ValueError,
            r"history must have 'c' for each epoch, got none in history\[0\] of \['epoch', 'a', 'b'\]",
        ),
        ({"history": [{"epoch": 1, "a": np.nan}]}, ValueError, "history's 'a' must be finite"),
        (
            {"history": [{"epoch": 1, "a": "0.5"}]},
            TypeError,
            "history's 'a' must hold real numbers",
        ),
        ({"history": [{"epoch": 1, "a": None}]}, TypeError, "history's 'a' must hold real numbers"),
        ({"history": [{"epoch": 1, "a": 1j}]}, TypeError, "history's 'a' must hold real numbers"),
        (
            {"history": [{"epoch": 1, "a": [0.5]}]},
            ValueError,
            "history's 'a' must be one positive number for each epoch",
        ),
        (
            {"history": [{"epoch": 1, "a": 0.0}]},
            ValueError,
            "history's 'a' must be one positive number for each epoch",
        ),
        (
            {"history": [{"epoch": 1, "a": -1.0}]},
            ValueError,
            "history's 'a' must be one positive number for each epoch",
        ),
        (
            {"keys": ["a", "b"]},
            ValueError,
            "keys and labels must be equally many, at least one, got 2 and 1",
        ),
        (
            {"keys": [], "labels": []},
            ValueError,
            "keys and labels must be equally many, at least one, got 0 and 0",
        ),
        ({"keys": "a"}, TypeError, "keys must be a list or tuple of strings, got str 'a'"),
        ({"keys": None}, TypeError, "keys must be a list or tuple of strings, got None"),
        ({"labels": "l"}, TypeError, "labels must be a list or tuple of strings, got str 'l'"),
        ({"labels": [1]}, TypeError, "labels must be a list or tuple of strings, got list"),
        ({"ax": plt}, TypeError, "ax must be matplotlib axes, got module"),
        ({"ax": 0}, TypeError, "ax must be matplotlib axes, got int 0"),
    ],
)
def test_bad_arguments_of_histories(options, error, message):
    with pytest.raises(error, match=message):
        plot_loss(**({"history": HISTORY, "keys": ["a"], "labels": ["loss"]} | options))


# Animations


def test_an_animation_of_pictures_has_its_frames_and_times():
    frames = [X, IMAGES, X.numpy()]
    gif = Image.open(
        BytesIO(animate(frames, columns=3, scale=2, milliseconds=np.int64(50), hold=4))
    )
    assert (gif.n_frames, gif.size) == (
        1,
        (112, 76),
    )  # three frames that are the same are one, shown longer
    gif = Image.open(
        BytesIO(animate((x for x in (X, -X, X)), columns=3, scale=2, milliseconds=50, hold=4))
    )
    assert (gif.n_frames, gif.size) == (3, (112, 76))
    times = []
    for i in range(3):
        gif.seek(i)
        times.append(gif.info["duration"])
        shown = np.asarray(gif.convert("RGB"))[::2, ::2].astype(int)
        # 64 colours are left of a sheet's, so the pictures are near, not the same
        assert np.abs(shown - tile((IMAGES, 255 - IMAGES, IMAGES)[i], 3)).mean() < 4
    assert times == [50, 50, 200]


def test_a_white_ground_stays_white_in_an_animation():
    x = 1 - 0.1 * torch.rand(
        3, 3, 16, 16, generator=torch.Generator().manual_seed(0)
    )  # more tints than a GIF has colours
    gif = Image.open(BytesIO(animate([x, x.flip(0)], columns=3, scale=1, value_range=(0, 1))))
    assert gif.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_an_animation_of_a_range():
    frames = [(X + 1) / 2, (1 - X) / 2]
    assert animate(frames, columns=3, value_range=(0, 1)) == animate([X, -X], columns=3)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"frames": []}, ValueError, "frames must hold at least one frame, got none"),
        ({"frames": iter(())}, ValueError, "frames must hold at least one frame, got none"),
        ({"frames": None}, TypeError, "frames must be a list of pictures, got None"),
        ({"frames": 3}, TypeError, "frames must be a list of pictures, got int 3"),
        (
            {"frames": torch.tensor(1.0)},
            TypeError,
            "frames must be a list of pictures, got a tensor",
        ),
        ({"frames": [X, "x"]}, TypeError, r"frames\[1\] must be a uint8 array .* got str 'x'"),
        (
            {"frames": [X, X * torch.nan]},
            ValueError,
            r"frames\[1\] must be finite, got NaN or infinity",
        ),
        (
            {"frames": [X, (X + 1) / 2]},
            ValueError,
            r"frames\[1\] lie in .*…1, none below zero: value_range must say",
        ),
        (
            {"frames": [X, X[:3]]},
            ValueError,
            r"frames must have one shape, got \(6, 16, 16, 3\) in frames\[0\] and \(3, 16, 16, 3\) in frames\[1\]",
        ),
        (
            {"frames": [X, X[..., 1:]]},
            ValueError,
            r"frames must have one shape, .* and \(6, 16, 15, 3\) in frames\[1\]",
        ),
        ({"columns": 0}, ValueError, "columns must be an int in 1…1000, got 0"),
        ({"columns": "3"}, TypeError, "columns must be an int in 1…1000, got str '3'"),
        ({"scale": 0}, ValueError, "scale must be an int in 1…178, got 0"),
        ({"scale": -1}, ValueError, "scale must be an int in 1…178, got -1"),
        ({"scale": 10**6}, ValueError, "scale must be an int in 1…178, got 1000000"),
        ({"scale": 1.5}, TypeError, "scale must be an int in 1…178, got float 1.5"),
        ({"scale": None}, TypeError, "scale must be an int in 1…178, got None"),
        ({"milliseconds": 0}, ValueError, "milliseconds must be an int of at least 10, got 0"),
        ({"milliseconds": -80}, ValueError, "milliseconds must be an int of at least 10, got -80"),
        (
            {"milliseconds": 10**6},
            ValueError,
            "milliseconds and hold must add up to at most 655350, got 2 frames of 1000000 milliseconds",
        ),
        (
            {"milliseconds": 80.0},
            TypeError,
            "milliseconds must be an int of at least 10, got float 80.0",
        ),
        ({"hold": 0}, ValueError, "hold must be an int of at least 1, got 0"),
        (
            {"hold": 10**4},
            ValueError,
            "milliseconds and hold must add up to at most 655350, got .*, the last one held for 10000",
        ),
        ({"hold": None}, TypeError, "hold must be an int of at least 1, got None"),
        ({"value_range": 1}, TypeError, "value_range must be two numbers"),
    ],
)
def test_bad_arguments_of_animations(options, error, message):
    with pytest.raises(error, match=message):
        animate(**({"frames": [X, X], "columns": 3} | options))


def test_the_longest_animation():
    gif = Image.open(BytesIO(animate([X, X, X], columns=3, milliseconds=109_225, hold=4)))
    assert (gif.n_frames, gif.info["duration"]) == (1, 655_350)


def test_an_animation_has_its_frames():
    gif = Image.open(
        BytesIO(animate_plot(lambda ax, i: ax.plot([0, i], [0, 1]), 4, figsize=(2, 1)))
    )
    assert (gif.n_frames, gif.size) == (4, (160, 80))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"draw": None}, TypeError, "draw must be a callable, got None"),
        ({"frames": 0}, ValueError, "frames must be an int of at least 1, got 0"),
        ({"frames": -2}, ValueError, "frames must be an int of at least 1, got -2"),
        ({"frames": [X]}, TypeError, "frames must be an int of at least 1, got list"),
        ({"frames": 2.0}, TypeError, "frames must be an int of at least 1, got float 2.0"),
        ({"figsize": 3}, TypeError, r"figsize must be two numbers \(width, height\), got int 3"),
        (
            {"figsize": (1, 2, 3)},
            TypeError,
            r"figsize must be two numbers \(width, height\), got tuple",
        ),
        (
            {"figsize": (0, 1)},
            ValueError,
            "figsize must be a finite number of at least 0.1 .* got 0",
        ),
        (
            {"figsize": (1, np.nan)},
            ValueError,
            "figsize must be a finite number of at least 0.1 .* got nan",
        ),
        ({"figsize": (1e6, 1)}, ValueError, "figsize must be .* of at most 100, got 1000000.0"),
        ({"figsize": ("1", 1)}, TypeError, "figsize must be .* got str '1'"),
        ({"milliseconds": 9}, ValueError, "milliseconds must be an int of at least 10, got 9"),
        ({"hold": -1}, ValueError, "hold must be an int of at least 1, got -1"),
    ],
)
def test_bad_arguments_of_animated_plots(options, error, message):
    def draw(ax, i):
        pytest.fail("nothing is drawn")

    with pytest.raises(error, match=message):
        animate_plot(**({"draw": draw, "frames": 2} | options))


def test_an_error_in_draw_is_the_callers_and_the_plot_is_closed():
    with pytest.raises(ZeroDivisionError):
        animate_plot(lambda ax, i: 1 / i, 2)
    assert not plt.get_fignums()


# The plane


def test_arrows_have_the_direction_of_the_score():
    figure = plot_score_field(mixture.score, limit=5, log_prob=mixture.log_prob, arrows=11)
    field = next(c for c in figure.axes[0].collections if hasattr(c, "U"))
    at = torch.tensor(field.get_offsets(), dtype=torch.float64)
    drawn = torch.tensor([field.U.tolist(), field.V.tolist()], dtype=torch.float64).T
    score = mixture.score(at)
    assert len(at) == 121
    assert torch.allclose(drawn * score.norm(dim=1, keepdim=True), score)
    assert torch.allclose(
        torch.as_tensor(field.get_array(), dtype=torch.float64), score.norm(dim=1)
    )


def test_scores_of_other_kinds():
    def by_autograd(x):
        with torch.enable_grad():
            x = x.requires_grad_()
            return torch.autograd.grad(mixture.log_prob(x).sum(), x, create_graph=True)[0]

    def fields(score, **options):
        figure = plot_score_field(score, limit=np.float32(5), arrows=np.int64(3), **options)
        return next(c for c in figure.axes[0].collections if hasattr(c, "U")).get_array()

    expected = fields(mixture.score)
    assert np.allclose(fields(by_autograd), expected) and np.allclose(
        fields(lambda x: mixture.score(x).float()), expected
    )
    assert np.allclose(fields(lambda x: x.mul_(0)), 0)
    outside = fields(
        mixture.score, log_prob=lambda x: torch.where(x[:, 0] > 0, -torch.inf, mixture.log_prob(x))
    )
    assert np.allclose(outside, expected)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"score": None}, TypeError, "score must be a callable, got None"),
        ({"score": mixture}, TypeError, "score must be a callable, got GaussianMixture"),
        (
            {"score": lambda x: x[:, 0]},
            ValueError,
            r"score must return a floating-point tensor of shape \(441, 2\), got a tensor",
        ),
        (
            {"score": lambda x: x.numpy()},
            ValueError,
            "score must return a floating-point tensor .* got a numpy array",
        ),
        ({"score": lambda x: x.long()}, ValueError, "score must return a floating-point tensor"),
        ({"score": lambda x: x + 0j}, ValueError, "score must return a floating-point tensor"),
        (
            {"score": lambda x: None},
            ValueError,
            "score must return a floating-point tensor .* got None",
        ),
        (
            {"score": lambda x: x / 0},
            ValueError,
            "score must return finite values, got NaN or infinity",
        ),
        ({"log_prob": 1.0}, TypeError, "log_prob must be a callable, got float 1.0"),
        (
            {"log_prob": lambda x: x},
            ValueError,
            r"log_prob must return a floating-point tensor of shape \(14641,\), got a tensor",
        ),
        (
            {"log_prob": lambda x: x[:, 0].numpy()},
            ValueError,
            "log_prob must return a floating-point tensor .* got a numpy array",
        ),
        ({"log_prob": lambda x: x[:, 0] * torch.nan}, ValueError, "log_prob must return numbers"),
        (
            {"log_prob": lambda x: x[:, 0] * 0 - torch.inf},
            ValueError,
            "log_prob must return numbers, the largest of them finite",
        ),
        (
            {"log_prob": lambda x: x[:, 0].exp() / 0},
            ValueError,
            "log_prob must return numbers, the largest of them finite",
        ),
        ({"limit": 0}, ValueError, "limit must be a finite number above 0, got 0"),
        ({"limit": -1.0}, ValueError, "limit must be a finite number above 0, got -1.0"),
        ({"limit": torch.inf}, ValueError, "limit must be a finite number above 0, got inf"),
        ({"limit": (-1, 1)}, TypeError, "limit must be a finite number above 0, got tuple"),
        ({"limit": None}, TypeError, "limit must be a finite number above 0, got None"),
        ({"arrows": 1}, ValueError, "arrows must be an int in 2…200, got 1"),
        ({"arrows": 10**6}, ValueError, "arrows must be an int in 2…200, got 1000000"),
        ({"arrows": 21.0}, TypeError, "arrows must be an int in 2…200, got float 21.0"),
        ({"ax": "ax"}, TypeError, "ax must be matplotlib axes, got str 'ax'"),
    ],
)
def test_bad_arguments_of_score_fields(options, error, message):
    with pytest.raises(error, match=message):
        plot_score_field(**({"score": mixture.score, "limit": 5} | options))


def test_each_chain_is_a_line_with_its_start_and_end():
    walk = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    ax = matplotlib.figure.Figure().subplots()
    plot_trajectories(walk.requires_grad_(), ax=ax)
    lines = [torch.tensor(line.get_xydata(), dtype=torch.float32) for line in ax.lines]
    assert len(lines) == 9
    for i in range(3):
        path, start, end = lines[3 * i : 3 * i + 3]
        assert torch.equal(path, walk[:, i])
        assert torch.equal(start[0], walk[0, i]) and torch.equal(end[0], walk[-1, i])
    plot_trajectories(walk, ax=ax, color="black")
    assert len({line.get_color() for line in ax.lines[9:]}) == 1


WALK = torch.zeros(4, 3, 2)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"trajectory": WALK[0]},
            ValueError,
            r"trajectory must have shape \(steps \+ 1, B, 2\), got \(3, 2\)",
        ),
        (
            {"trajectory": WALK[..., :1]},
            ValueError,
            r"trajectory must have shape \(steps \+ 1, B, 2\), got \(4, 3, 1\)",
        ),
        (
            {"trajectory": WALK[:0]},
            ValueError,
            r"trajectory must have shape .* with at least one point, got \(0, 3, 2\)",
        ),
        ({"trajectory": WALK / 0}, ValueError, "trajectory must be finite"),
        (
            {"trajectory": WALK.numpy()},
            TypeError,
            "trajectory must be a floating-point tensor, got a numpy array",
        ),
        ({"trajectory": WALK.long()}, TypeError, "trajectory must be a floating-point tensor"),
        ({"trajectory": WALK + 0j}, TypeError, "trajectory must be a floating-point tensor"),
        (
            {"trajectory": list(WALK)},
            TypeError,
            "trajectory must be a floating-point tensor, got list",
        ),
        ({"ax": None}, TypeError, "ax must be matplotlib axes, got None"),
        (
            {"color": "no colour"},
            ValueError,
            "color must be a colour of matplotlib's, got str 'no colour'",
        ),
        ({"color": 3}, ValueError, "color must be a colour of matplotlib's, got int 3"),
    ],
)
def test_bad_arguments_of_trajectories(options, error, message):
    ax = matplotlib.figure.Figure().subplots()
    with pytest.raises(error, match=message):
        plot_trajectories(**({"trajectory": WALK, "ax": ax} | options))
    assert not ax.lines
