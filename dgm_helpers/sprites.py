"""The pictures: where they come from, how they are verified, how they are split."""

import csv
import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from . import pixel_art
from .pixel_art import SIDE

DAWNLIKE_URL = "https://raw.githubusercontent.com/tommyettinger/DawnLikeAtlas/6bbe86b03b92280f9f279c031e22642750f98097/"
DAWNLIKE_FILES = {  # path below the URL: (bytes, SHA-256)
    "thirteen/Dawnlike.png": (406_805, "643547c0f253a89bc93841a5c6332a3dd523e05a3e26d97ea30992f941b524d0"),
    "thirteen/Dawnlike.atlas": (220_428, "f7039cbdf703b30a8fd6b2a030cd4359cc96ab05f52003af96d5f357fa0bc9cc"),
    "image_names.tsv": (84_285, "038fb47a45cad67d1f73d2f16d83e6162896315b2763ef9779c172de8ff8babc"),
}
DAWNLIKE_CLASSES = {  # class: the groups of the name table that belong to it
    "people": "Player Humanoid Engineer Mage Paladin Rogue Warrior",
    "creatures": "Aquatic Avian Cat Demon Dog Elemental Misc Pest Plant Quadruped Reptile Rodent Slime Undead",
    "food": "Food Flesh",
    "spells": "Scroll Book Wand Potion Ring Amulet Effect",
    "gear": "Armor Boots Glove Hat LongWep MedWep ShortWep Shield Ammo Tool Light Music Money Key Rock",
}
DAWNLIKE_PIECES = ("burst", "beam", "engulf", "rope", "grappling hook", "ward")  # parts of pictures larger than one tile

CREDITS = {
    "dawnlike": "DawnLike by DragonDePlatino and DawnBringer, names by Tommy Ettinger (DawnLikeAtlas), CC-BY 4.0",
    "original": "sprites by ElvGames, FrootsnVeggies and kyrise",
}

ORIGINAL_URL = "https://huggingface.co/datasets/ashis-palai/sprites_image_dataset/resolve/main/"
ORIGINAL_FILES = {
    "sprites_1788_16x16.npy": (68_659_328, "61cf3b7e3184f57f2bc2bf5e75fbcf08ba379241f58966c62a9716ef581b2916"),
    "sprite_labels_nc_1788_16x16.npy": (3_576_128, "b71222bd58b57cd99b1b92d830393e86ce215e0f69602f2c82aad1522f030ed7"),
}


@dataclass(frozen=True, eq=False)
class SpriteSet:
    """Labelled 16×16 pictures.

    Parameters
    ----------
    images : uint8 array (N, 16, 16, 3)
    labels : int64 array (N,)
        Indices into ``classes``.
    groups : int64 array (N,)
        Equal for copies and near-copies of one picture.
    classes : tuple of str
    source : str
        Where the pictures come from, for records.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is wrong, the arrays differ in length, or a label has no class.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple
    source: str
    sha256: str = field(init=False)

    def __post_init__(self):
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.shape != (n, SIDE, SIDE, 3) or n == 0:
            raise ValueError(f"images must be uint8 (N, {SIDE}, {SIDE}, 3) with N >= 1, got {self.images.dtype} {self.images.shape}")
        for name in ("labels", "groups"):
            array = getattr(self, name)
            if array.dtype != np.int64 or array.shape != (n,):
                raise ValueError(f"{name} must be int64 ({n},), one per picture, got {array.dtype} {array.shape}")
        if not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels must lie in 0…{len(self.classes) - 1}, got {self.labels.min()}…{self.labels.max()}")
        digest = hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()
        object.__setattr__(self, "sha256", digest)
        for array in (self.images, self.labels, self.groups):
            array.flags.writeable = False

    def __len__(self):
        return len(self.images)

    def subset(self, rows):
        """The pictures at ``rows`` (an index array), in that order."""
        return SpriteSet(self.images[rows], self.labels[rows], self.groups[rows], self.classes, self.source)

    def tensors(self):
        """Pictures as float32 (N, 3, 16, 16) in [−1, 1], and labels as int64 (N,)."""
        return to_tensor(self.images), torch.tensor(self.labels)


def to_tensor(images):
    """uint8 pictures (N, H, W, 3) as float32 (N, 3, H, W) in [−1, 1]."""
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(x):
    """Pictures (N, 3, H, W) in [−1, 1] as uint8 (N, H, W, 3); values outside are clipped. Raises ValueError on NaN."""
    if not x.isfinite().all():
        raise ValueError("x must be finite, got NaN or infinity")
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def tile(images, columns, gap=2):
    """Lay uint8 pictures (N, H, W, 3) out in rows on white, ``gap`` pixels apart; returns one uint8 picture."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = gap + (i // columns) * (h + gap), gap + (i % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet


def load_sprites(source="generated", *, cache=None):
    """Load a set of sprites.

    Parameters
    ----------
    source : str or Path
        ``"generated"``: the book's own 4,470 pictures, drawn by :mod:`dgm_helpers.pixel_art`. ``"dawnlike"``: real pixel art,
        DawnLike by DragonDePlatino and DawnBringer (CC-BY 4.0), downloaded once. ``"original"``: the assignment's set,
        downloaded once. Otherwise a folder: with the original's pair of ``.npy`` files, or with one sub-folder of 16×16
        PNGs per class.
    cache : path, optional
        Where downloads are kept; by default the user's cache folder.

    Returns
    -------
    SpriteSet

    Raises
    ------
    ValueError
        If the source is unknown, or a file is truncated, altered, of the wrong shape, or does not match its labels.
    OSError
        If a file cannot be read or downloaded, or the cache cannot be written.
    """
    if source == "generated":
        return _generated()
    if source == "dawnlike":
        return _dawnlike(*_fetch("dawnlike", DAWNLIKE_URL, DAWNLIKE_FILES, cache))
    if source == "original":
        return _original(*_fetch("original", ORIGINAL_URL, ORIGINAL_FILES, cache), "original")
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(f'source must be "generated", "dawnlike", "original" or an existing folder, got {str(source)!r}')
    if any(folder.glob("*.npy")):
        return _original(*(_only(folder, pattern) for pattern in ("sprites_[0-9]*.npy", "sprite_labels_*.npy")), str(source))
    return _png_folder(folder)


def split_by_group(sprites, *, seed=0):
    """Split 80/20 so that no group of copies is divided; returns ``(train, held_out)``.

    Groups are shuffled by ``numpy.random.PCG64(seed)`` and fill the training side up to 80% of the pictures. Raises ValueError
    if there are fewer than two groups.
    """
    names, sizes = np.unique(sprites.groups, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"sprites must hold at least two groups to be split by group, got {len(names)}")
    order = _shuffled(len(names), seed)
    cut = int(np.searchsorted(np.cumsum(sizes[order]), 0.8 * len(sprites), side="right"))
    train = np.isin(sprites.groups, names[order[: max(cut, 1)]])
    return sprites.subset(np.flatnonzero(train)), sprites.subset(np.flatnonzero(~train))


def split_at_random(sprites, *, seed=0):
    """Split 80/20 picture by picture, whatever the groups; returns ``(train, held_out)``. Raises ValueError below 2 pictures."""
    if len(sprites) < 2:
        raise ValueError(f"sprites must hold at least two pictures to be split, got {len(sprites)}")
    order = _shuffled(len(sprites), seed)
    cut = round(0.8 * len(sprites))
    return sprites.subset(np.sort(order[:cut])), sprites.subset(np.sort(order[cut:]))


SPLITS = {"group": split_by_group, "random": split_at_random}


def _shuffled(n, seed):
    bits = np.random.PCG64(seed)
    return np.argsort(bits.random_raw(n), kind="stable")


def _same_pictures(images):
    """For each picture, the index of its first copy among the distinct ones, and the rows of the distinct ones."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    _, first, inverse = np.unique(flat.view(f"V{flat.shape[1]}").ravel(), return_index=True, return_inverse=True)
    return inverse, first


def _fetch(name, url, known, cache):
    """Download what is missing; return the verified files' paths."""
    import pooch  # not at the top: in a notebook without widgets it warns

    cache = Path(cache or pooch.os_cache("dgm_helpers"))
    store = pooch.create(cache / name, base_url=url, registry={path: f"sha256:{sha}" for path, (_, sha) in known.items()})
    paths = []
    for path, (size, sha) in known.items():
        local = cache / name / path
        if not local.exists():
            try:
                store.fetch(path)
            except (OSError, ValueError) as error:
                raise OSError(f'source "{name}": cannot fetch {path} into {cache / name}: {error}') from error
        content = local.read_bytes()
        if len(content) != size or hashlib.sha256(content).hexdigest() != sha:
            raise ValueError(f"{local} has {len(content)} bytes and another SHA-256 than the published file of {size} bytes; delete it to fetch it again")
        paths.append(local)
    return paths


@cache
def _generated():
    return SpriteSet(*pixel_art.generate_sprites(), pixel_art.CLASSES, "generated")


def _dawnlike(sheet_path, atlas_path, table_path):
    sheet = np.asarray(Image.open(sheet_path).convert("RGBA"))
    class_of = _dawnlike_names(table_path)
    images, names = [], []
    for name, (x, y, w, h) in _atlas_regions(atlas_path):
        if name in class_of and (w, h) == (SIDE, SIDE):
            images.append(_on_white(sheet[y : y + h, x : x + w]))
            names.append(name)
    images = np.stack(images)
    picture, first = _same_pictures(images)
    design = np.unique(names, return_inverse=True)[1]
    n = len(first)
    links = coo_array((np.ones(len(names)), (picture, n + design)), shape=(n + design.max() + 1,) * 2)
    groups = connected_components(links, directed=False)[1]  # designs that share a picture are one group
    classes = list(DAWNLIKE_CLASSES)
    rows = np.sort(first)
    labels = np.array([classes.index(class_of[names[row]]) for row in rows])
    return SpriteSet(images[rows], labels, np.unique(groups[picture[rows]], return_inverse=True)[1], tuple(classes), "dawnlike")


def _dawnlike_names(path):
    """Map each design of the name table to its class. A table's block starts with its name in a row of its own."""
    class_of_block = {block: name for name, blocks in DAWNLIKE_CLASSES.items() for block in blocks.split()}
    class_of, block, after_gap = {}, None, True
    with open(path, newline="", encoding="utf-8") as file:
        for row in list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]:
            cells = [cell for cell in row if cell]
            if after_gap and len(cells) == 1:
                block = cells[0].rstrip("0")
            elif block in class_of_block:
                for cell in cells:
                    if block != "Effect" or not any(piece in cell for piece in DAWNLIKE_PIECES):
                        class_of[re.sub(r"_\d+$", "", cell)] = class_of_block[block]
            after_gap = not cells
    return class_of


def _atlas_regions(path):
    """Name and bounds (x, y, w, h) of each region of a libGDX texture atlas."""
    name = None
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("bounds:"):
            yield name, tuple(int(value) for value in line.removeprefix("bounds:").split(","))
        elif ":" not in line:
            name = line


def _original(images_path, labels_path, source):
    images, one_hot = _load_npy(images_path), _load_npy(labels_path)
    n, k = len(images), len(pixel_art.CLASSES)
    if images.dtype != np.uint8 or images.shape != (n, SIDE, SIDE, 3):
        raise ValueError(f"{images_path} must hold uint8 (N, {SIDE}, {SIDE}, 3), got {images.dtype} {images.shape}")
    if one_hot.shape != (n, k):
        raise ValueError(f"{labels_path} must hold one row of {k} for each of the {n} pictures, got {one_hot.shape}")
    if not (np.isin(one_hot, (0, 1)).all() and (one_hot.sum(1) == 1).all()):
        raise ValueError(f"{labels_path} must hold one-hot rows: a single 1, zeros otherwise")
    picture, _ = _same_pictures(images)
    return SpriteSet(images, one_hot.argmax(1).astype(np.int64), picture.astype(np.int64), pixel_art.CLASSES, source)


def _load_npy(path):
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header raises errors of many kinds
        raise ValueError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise ValueError(f"{path} must hold one array with an axis of pictures")
    return array


def _only(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(f"source {folder} must hold exactly one {pattern}, got {[path.name for path in found]}")
    return found[0]


def _png_folder(folder):
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*.png")):
            images.append(_load_png(path))
            labels.append(label)
    if not images:
        raise ValueError(f"source {folder} holds neither .npy files nor sub-folders with PNGs")
    images = np.stack(images)
    picture, _ = _same_pictures(images)
    return SpriteSet(images, np.array(labels), picture.astype(np.int64), tuple(classes), str(folder))


def _load_png(path):
    """A PNG on white ground, uint8 (16, 16, 3)."""
    try:
        with Image.open(path) as file:
            picture = file.convert("RGBA")
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a whole PNG: {error}") from error
    if picture.size != (SIDE, SIDE):
        raise ValueError(f"{path} must be {SIDE}x{SIDE} pixels, got {picture.width}x{picture.height}")
    return _on_white(np.asarray(picture))


def _on_white(rgba):
    """Composite uint8 (H, W, 4) on white, rounding to the nearest integer."""
    color, alpha = rgba[..., :3].astype(np.int64), rgba[..., 3:].astype(np.int64)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
