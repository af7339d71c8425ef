r"""Draws the book's own set of 16×16 sprites from a seed, with integer arithmetic only.

The drawings are text files in ``dgm_helpers/art/``. A *design* is a stack of layers, a layer a choice of
drawings, a drawing a block of characters:

- ``.`` leaves a pixel as it is, ``_`` clears it, ``#`` is the outline colour, ``W`` is white;
- ``abc``, ``def``, … ``pqr`` are six materials in three tones each, dark, middle and light. ``:colors abc red blue``
  says which ramps of :data:`RAMPS` the material may take; the materials of one sprite take different ramps.

To draw a sprite: pick a design, pick one drawing per layer, stack them, put a dark outline around the result, colour
it.

A wrong argument raises TypeError or ValueError naming it, a wrong line of an art file ValueError naming the line.
"""

import math
from functools import cache
from importlib.resources import files

import numpy as np

from .arguments import described, require_int

SIDE = 16
ART = {  # the files of each class
    "human": ("people",),
    "non-human": ("beasts", "monsters"),
    "food": ("food",),
    "spell": ("wares", "magic"),
    "side-facing": ("side",),
}
CLASSES = tuple(ART)
COUNTS = (400, 1620, 300, 1750, 400)  # pictures of each class in the default set
TOTAL = sum(COUNTS)
MATERIALS = ("abc", "def", "ghi", "jkl", "mno", "pqr")

CLEAR, INK, WHITE = 0, 1, 2  # pixel codes; material m in tone k has the code 3 + 3 m + k
CODES = {"_": CLEAR, "#": INK, "W": WHITE} | {c: 3 + i for i, c in enumerate("".join(MATERIALS))}

INK_COLOR = "1b1728"
RAMPS = {  # dark, middle, light
    "pale": "b5765a f0b98d ffdcb8",
    "tan": "8f5537 d08b5b f0b98d",
    "brown_skin": "5a3426 8f5537 b5765a",
    "green_skin": "2f5a2e 5f9a3c a3cc58",
    "red": "7a1f2e c93a3a f0705a",
    "pink": "a0406c e0749a ffb3c6",
    "orange": "a8481f e8832e ffb84d",
    "yellow": "b07a1c f0c23a fff09a",
    "gold": "8a5a1c d8a02c ffdf70",
    "lime": "4c7a1e 8fc23a d6ee7a",
    "green": "1f4f33 3a8a45 7cc46a",
    "teal": "17505c 2a8f96 73d0c4",
    "sky": "2c5f9e 56a0dc a8dcf8",
    "blue": "24306e 3a56b4 6f8fe6",
    "purple": "44246a 7a48b0 b48ae0",
    "magenta": "6a1c5c b03a8e e87ac0",
    "brown": "44281c 7a4a2a b07a48",
    "wood": "5a3a22 96683a c89a5c",
    "beige": "96805a d0b888 f0e4c0",
    "bone": "8c8674 d6cfb8 f8f4e4",
    "black": "221e30 3c3a50 62627c",
    "grey": "4a4a5c 82869a b8bcc8",
    "steel": "50607a 94a8bc dce6ee",
    "silver": "8088a0 bcc4d4 f0f4f8",
    "ice": "5a9cc8 a8dcf0 eefcff",
    "blood": "4a1420 8c2230 c03848",
}


def _material(group, line):
    if group not in MATERIALS:
        raise ValueError(f"{line!r}: a material is one of {MATERIALS}")
    return MATERIALS.index(group)


def parse_designs(text):
    """Read the designs of one class from the text of an art file.

    Returns a list of dictionaries with ``name``, ``mirror`` (may the sprite be flipped), ``colors`` (material → ramp
    names) and ``layers`` (lists of drawings; a drawing is a (16, 16) int array with −1 where it leaves a pixel alone).
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {described(text)}")
    designs, drawing = [], None
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("%"):
            continue
        if not line.startswith(":"):
            if drawing is None:
                raise ValueError(f"{line!r}: a row of pixels outside of a :draw block")
            row = drawing["row"]
            if row >= SIDE or drawing["column"] + len(line.rstrip()) > SIDE:
                raise ValueError(f"{designs[-1]['name']}: {line!r} leaves the 16x16 square")
            for x, character in enumerate(line.rstrip()):
                if character != ".":
                    if character not in CODES:
                        raise ValueError(
                            f"{designs[-1]['name']}: unknown character {character!r} in {line!r}"
                        )
                    drawing["pixels"][row, drawing["column"] + x] = CODES[character]
            drawing["row"] += 1
            continue
        drawing = None
        if words[0] != ":design" and not designs:
            raise ValueError(f"{line!r}: before the first :design")
        if words[0] in (":draw", ":none") and not designs[-1]["layers"]:
            raise ValueError(f"{line!r}: before the first :layer of {designs[-1]['name']}")
        match words:
            case [":design", name]:
                designs.append({"name": name, "mirror": False, "colors": {}, "layers": []})
            case [":mirror"]:
                designs[-1]["mirror"] = True
            case [":colors", group, *ramps]:
                if unknown := sorted(set(ramps) - set(RAMPS)):
                    raise ValueError(
                        f"{line!r}: unknown ramps {unknown}, known are {sorted(RAMPS)}"
                    )
                if not ramps:
                    raise ValueError(f"{line!r}: names no ramp, known are {sorted(RAMPS)}")
                designs[-1]["colors"][_material(group, line)] = ramps
            case [":layer"]:
                designs[-1]["layers"].append([])
            case [":draw", row, column] if row.isdecimal() and column.isdecimal():
                pixels = np.full((SIDE, SIDE), -1)
                designs[-1]["layers"][-1].append(pixels)
                drawing = {"pixels": pixels, "row": int(row), "column": int(column)}
            case [":none"]:
                designs[-1]["layers"][-1].append(np.full((SIDE, SIDE), -1))
            case _:
                raise ValueError(
                    f"{line!r}: expected :design NAME, :mirror, :colors GROUP RAMPS, :layer, :draw ROW COLUMN or :none"
                )
    return designs


@cache
def _designs(name):
    art = files("dgm_helpers").joinpath("art")
    return [
        design
        for stem in ART[name]
        for design in parse_designs(art.joinpath(f"{stem}.txt").read_text(encoding="utf-8"))
    ]


def _combinations(design):
    """How many ways there are to draw a design, alike ones among them."""
    ways = [len(layer) for layer in design["layers"]] + [
        len(ramps) for ramps in design["colors"].values()
    ]
    return math.prod(ways) * (2 if design["mirror"] else 1)


def _outlined(codes):
    """Turn each clear pixel that touches a coloured one (up, down, left, right) into outline."""
    solid = np.pad(codes > INK, 1)
    touched = solid[:-2, 1:-1] | solid[2:, 1:-1] | solid[1:-1, :-2] | solid[1:-1, 2:]
    return np.where((codes == CLEAR) & touched, INK, codes)


def _draw(designs, pick):
    """Draw one sprite: its pixel codes (16, 16) and its colours (16, 16, 3)."""
    design = designs[pick(len(designs))]
    codes = np.full((SIDE, SIDE), CLEAR)
    for layer in design["layers"]:
        drawing = layer[pick(len(layer))]
        codes = np.where(drawing >= 0, drawing, codes)
    codes = _outlined(codes)
    if design["mirror"] and pick(2):
        codes = codes[:, ::-1]
    palette = np.full((3 + 3 * len(MATERIALS), 3), 255)
    palette[INK] = list(bytes.fromhex(INK_COLOR))
    taken = set()
    for material, ramps in sorted(design["colors"].items()):
        free = [ramp for ramp in ramps if ramp not in taken] or ramps
        ramp = free[pick(len(free))]
        taken.add(ramp)
        for tone, color in enumerate(RAMPS[ramp].split()):
            palette[3 + 3 * material + tone] = list(bytes.fromhex(color))
    return codes, palette[codes].astype(np.uint8)


def generate_sprites(n=TOTAL, seed=0):
    """Draw ``n`` distinct sprites in the class shares of the original set, if the art holds as many.

    Parameters
    ----------
    n : int
        Number of pictures, at least 1.
    seed : int
        Seed of NumPy's PCG64, in 0…2⁶³ − 1; the same seed gives the same bytes on every machine.

    Returns
    -------
    images : uint8 array (n, 16, 16, 3)
        Distinct pictures on white ground, in shuffled order.
    labels : int64 array (n,)
        Index into :data:`CLASSES`.
    groups : int64 array (n,)
        Equal for pictures that are one drawing (or its mirror image) in different colours.
    """
    n = require_int("n", n, 1)
    bits = np.random.PCG64(require_int("seed", seed, 0, 2**63 - 1))
    bounds = [n * total // TOTAL for total in np.cumsum((0, *COUNTS)).tolist()]
    for name, first, end in zip(CLASSES, bounds, bounds[1:], strict=False):
        if end - first > sum(map(_combinations, _designs(name))):
            raise _too_many(n, name)

    def pick(count):
        return int(bits.random_raw() % count)

    images, labels, shapes, seen = [], [], [], set()
    for label, name in enumerate(CLASSES):
        misses = 0
        while len(images) < bounds[label + 1]:
            codes, image = _draw(_designs(name), pick)
            if image.tobytes() in seen:
                misses += 1
                if misses > 100_000:
                    raise _too_many(n, name)
                continue
            seen.add(image.tobytes())
            images.append(image)
            labels.append(label)
            shapes.append(min(codes.tobytes(), codes[:, ::-1].tobytes()))
    order = sorted(range(n), key=lambda i: (bits.random_raw(), i))
    _, groups = np.unique(np.array(shapes), return_inverse=True)
    return (
        np.stack(images)[order],
        np.array(labels, np.int64)[order],
        groups.astype(np.int64)[order],
    )


def _too_many(n, name):
    return ValueError(
        f"n = {n} is more than the art can draw: class {name!r} ran out of distinct pictures"
    )
