"""The generated set: its bytes, its class shares, what the pictures look like, and the art files' syntax."""

import hashlib

import numpy as np
import pytest

from dgm_helpers import pixel_art
from dgm_helpers.pixel_art import CLASSES, COUNTS, generate_sprites, parse_designs
from dgm_helpers.sprites import load_sprites

SHA256 = "5374c88024c0d0c6fa23d90dfe88ca248751f1536cb1ef4076df9da5c868f8ec"  # of the default set's images and labels


def test_default_set():
    sprites = load_sprites("generated")
    assert sprites.classes == CLASSES == ("human", "non-human", "food", "spell", "side-facing")
    assert np.bincount(sprites.labels).tolist() == list(COUNTS) == [400, 1620, 300, 1750, 400]
    assert len(np.unique(sprites.images.reshape(4470, -1), axis=0)) == 4470
    assert sprites.sha256 == SHA256


def digest(arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_same_seed_same_bytes():
    assert digest(generate_sprites(200, seed=3)) == digest(generate_sprites(200, seed=3))
    assert digest(generate_sprites(200, seed=3)) != digest(generate_sprites(200, seed=4))


@pytest.mark.parametrize("n", [1, 5, 447, 894])
def test_any_number_keeps_the_class_shares(n):
    images, labels, groups = generate_sprites(n)
    assert images.shape == (n, 16, 16, 3) and images.dtype == np.uint8
    assert labels.shape == groups.shape == (n,) and labels.dtype == groups.dtype == np.int64
    counts = np.bincount(labels, minlength=5)
    assert np.abs(counts - n * np.array(COUNTS) / 4470).max() <= 1
    assert len(np.unique(images.reshape(n, -1), axis=0)) == n


def test_pictures_look_like_pixel_art():
    images = load_sprites("generated").images
    colors = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in images]
    assert min(colors) >= 3 and max(colors) <= 20  # white, ink and six materials in three tones
    assert len(np.unique(images.reshape(-1, 3), axis=0)) <= 2 + 3 * len(pixel_art.RAMPS)
    white = (images == 255).all(-1)
    assert white.mean((1, 2)).min() > 0.1 and 0.3 < white.mean() < 0.6
    assert white[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean() > 0.99  # the ground shows in the corners


def test_a_group_is_one_drawing_in_other_colors_or_mirrored():
    sprites = load_sprites("generated")
    ink = (sprites.images == list(bytes.fromhex(pixel_art.INK_COLOR))).all(-1)
    names, sizes = np.unique(sprites.groups, return_counts=True)
    assert (sizes > 1).any()
    for name in names[sizes > 1]:
        rows = np.flatnonzero(sprites.groups == name)
        shapes = {min(ink[row].tobytes(), ink[row][:, ::-1].tobytes()) for row in rows}
        assert len(shapes) == 1 and len(set(sprites.labels[rows])) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_every_drawing_of_every_design_fits_with_its_outline(name):
    bits = np.random.PCG64(0)
    for design in pixel_art._designs(name):
        assert design["layers"] and all(design["layers"]), f"{design['name']} has an empty layer"
        for choice in range(max(len(layer) for layer in design["layers"])):
            # each layer shows its drawing number `choice`; flips and colours are drawn
            picks = iter([0, *(choice % len(layer) for layer in design["layers"])])
            codes, image = pixel_art._draw(
                [design], lambda count: next(picks, bits.random_raw() % count)
            )
            assert image.shape == (16, 16, 3) and (codes > pixel_art.INK).sum() > 10, design["name"]
            border = np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]])
            assert (border <= pixel_art.INK).all(), f"{design['name']}: no room for the outline"
            materials = {(code - 3) // 3 for code in codes[codes > pixel_art.WHITE].tolist()}
            assert materials <= set(design["colors"]), (
                f"{design['name']} uses a material without colours"
            )


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_designs_are_unique_within_a_class(name):
    names = [design["name"] for design in pixel_art._designs(name)]
    assert len(names) == len(set(names)) > 10


START = ":design ball\n:colors abc red\n:layer\n"


def test_parser():
    (design,) = parse_designs("% a comment\n" + START + ":draw 2 3\n.a\nb_#W\n:none\n")
    assert design["name"] == "ball" and design["colors"] == {0: ["red"]} and not design["mirror"]
    drawing, empty = design["layers"][0]
    assert drawing[2, 3] == -1 and drawing[2, 4] == 3 and drawing[3, 3:7].tolist() == [4, 0, 1, 2]
    assert (empty == -1).all()


@pytest.mark.parametrize(
    "text, message",
    [
        (START + "abc\n", "outside of a :draw block"),
        (START + ":draw 0 14\nabc\n", "ball: 'abc' leaves the 16x16 square"),
        (START + ":draw 15 0\na\na\n", "ball: 'a' leaves the 16x16 square"),
        (START + ":draw 0 0\naZ\n", "ball: unknown character 'Z'"),
        (START + ":rotate\n", "':rotate': expected :design"),
        (":design ball\n:colors abc crimson\n", "unknown ramps .*crimson"),
        (":design ball\n:colors xyz red\n", "a material is one of"),
        (":design ball\n:colors abc\n", "':colors abc': names no ramp"),
        (":colors abc red\n", "':colors abc red': before the first :design"),
        (":mirror\n", "':mirror': before the first :design"),
        (":design\n", "':design': expected :design NAME"),
        (":design ball\n:draw 0 0\na\n", "':draw 0 0': before the first :layer of ball"),
        (START + ":draw 0 0\na\n:design cube\n:none\n", "':none': before the first :layer of cube"),
        (START + ":draw a 0\n", "':draw a 0': expected .* :draw ROW COLUMN"),
        (START + ":draw -1 0\na\n", "':draw -1 0': expected .* :draw ROW COLUMN"),
        (START + ":draw 0 1.5\na\n", "':draw 0 1.5': expected .* :draw ROW COLUMN"),
        (START + ":draw 16 0\na\n", "ball: 'a' leaves the 16x16 square"),
        (START + ":draw 0\na\n", "':draw 0': expected .* :draw ROW COLUMN"),
    ],
)
def test_errors_in_art_files(text, message):
    with pytest.raises(ValueError, match=message):
        parse_designs(text)


@pytest.mark.parametrize("text", [None, b":design ball", ["a"], 3])
def test_art_that_is_no_text(text):
    with pytest.raises(TypeError, match="text must be a string, got"):
        parse_designs(text)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"n": 0}, ValueError, "n must be an int of at least 1, got 0"),
        ({"n": np.int64(-3)}, ValueError, "n must be an int of at least 1, got -3"),
        ({"n": 2.5}, TypeError, "n must be an int of at least 1, got float 2.5"),
        ({"n": 2.0}, TypeError, "n must be an int of at least 1, got float 2.0"),
        ({"n": True}, TypeError, "n must be an int of at least 1, got bool True"),
        ({"n": None}, TypeError, "n must be an int of at least 1, got None"),
        ({"n": [3]}, TypeError, "n must be an int of at least 1, got list"),
        ({"seed": -1}, ValueError, "seed must be an int in 0…9223372036854775807, got -1"),
        (
            {"seed": 2**63},
            ValueError,
            "seed must be an int in 0…9223372036854775807, got 9223372036854775808",
        ),
        ({"seed": "a"}, TypeError, "seed must be an int in .*, got str 'a'"),
        ({"seed": None}, TypeError, "seed must be an int in .*, got None"),
        ({"seed": np.True_}, TypeError, "seed must be an int in .*, got bool"),
        (
            {"n": 10**9},
            ValueError,
            "n = 1000000000 is more than the art can draw: class 'non-human' ran out",
        ),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        generate_sprites(**options)


def test_numpy_integers_are_integers():
    expected = digest(generate_sprites(9, seed=200))
    assert (
        digest(generate_sprites(np.int32(9), seed=np.uint8(200)))
        == digest(generate_sprites(np.int8(9), seed=np.int64(200)))
        == expected
    )
    assert len(generate_sprites(2, seed=2**63 - 1)[0]) == 2


def test_the_bound_on_the_number_of_pictures_counts_every_way_to_draw_a_design():
    colors = ":design ball\n:mirror\n:colors abc red blue pink\n:colors def red lime\n"
    text = colors + ":layer\n:draw 5 5\nab\n:draw 6 5\nad\n:layer\n:draw 3 3\nf\n:none\n"
    (design,) = parse_designs(text)
    assert pixel_art._combinations(design) == 2 * 3 * 2 * 2 * 2
    bits = np.random.PCG64(0)
    drawn = {
        pixel_art._draw([design], lambda count: int(bits.random_raw() % count))[1].tobytes()
        for _ in range(2000)
    }
    assert 20 < len(drawn) <= 48


def test_more_pictures_than_the_art_can_draw(monkeypatch):
    drawn = pixel_art._draw(parse_designs(START + ":draw 5 5\nabc\n"), lambda count: 0)
    monkeypatch.setattr(pixel_art, "_draw", lambda designs, pick: drawn)  # always the same picture
    with pytest.raises(
        ValueError, match="n = 50 is more than the art can draw: class 'human' ran out"
    ):
        generate_sprites(50)
