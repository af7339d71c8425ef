"""The pictures: where they come from, how they are verified, how they are split.

Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument; a file that is not what it
should be, ValueError naming the file; one that cannot be read, fetched or written, OSError.
"""

import csv
import hashlib
import os
import re
import unicodedata
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch

from . import pixel_art
from .arguments import described, require_data, require_int
from .pixel_art import SIDE

DAWNLIKE_URL = "https://raw.githubusercontent.com/tommyettinger/DawnLikeAtlas/6bbe86b03b92280f9f279c031e22642750f98097/"
DAWNLIKE_FILES = {  # path below the URL: (bytes, SHA-256)
    "thirteen/Dawnlike.png": (
        406_805,
        "643547c0f253a89bc93841a5c6332a3dd523e05a3e26d97ea30992f941b524d0",
    ),
    "thirteen/Dawnlike.atlas": (
        220_428,
        "f7039cbdf703b30a8fd6b2a030cd4359cc96ab05f52003af96d5f357fa0bc9cc",
    ),
    "image_names.tsv": (84_285, "038fb47a45cad67d1f73d2f16d83e6162896315b2763ef9779c172de8ff8babc"),
}
DAWNLIKE_CLASSES = {  # class: the groups of the name table that belong to it
    "people": "Player Humanoid Engineer Mage Paladin Rogue Warrior",
    "creatures": "Aquatic Avian Cat Demon Dog Elemental Misc Pest Plant Quadruped Reptile Rodent Slime Undead",
    "food": "Food Flesh",
    "spells": "Scroll Book Wand Potion Ring Amulet Effect",
    "gear": "Armor Boots Glove Hat LongWep MedWep ShortWep Shield Ammo Tool Light Music Money Key Rock",
}
# parts of pictures larger than one tile
DAWNLIKE_PIECES = ("burst", "beam", "engulf", "rope", "grappling hook", "ward")

CREDITS = {
    "dawnlike": "DawnLike by DragonDePlatino and DawnBringer, names by Tommy Ettinger (DawnLikeAtlas), CC-BY 4.0",
    "original": "sprites by ElvGames, FrootsnVeggies and kyrise",
}

ORIGINAL_URL = "https://huggingface.co/datasets/ashis-palai/sprites_image_dataset/resolve/main/"
ORIGINAL_FILES = {
    "sprites_1788_16x16.npy": (
        68_659_328,
        "61cf3b7e3184f57f2bc2bf5e75fbcf08ba379241f58966c62a9716ef581b2916",
    ),
    "sprite_labels_nc_1788_16x16.npy": (
        3_576_128,
        "b71222bd58b57cd99b1b92d830393e86ce215e0f69602f2c82aad1522f030ed7",
    ),
}

FORMATS = "PNG GIF BMP DIB JPEG WEBP TIFF PPM ICO AVIF JPEG2000 QOI"  # Pillow's names
# what systems leave in folders, beside names that begin with a dot
HIDDEN = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini")


@dataclass(frozen=True, eq=False)
class SpriteSet:
    """Labelled 16×16 pictures. The set keeps copies of its arrays, and these cannot be written to.

    Parameters
    ----------
    images : uint8 array (N, 16, 16, 3), N >= 1
    labels : int64 array (N,)
        Indices into ``classes``.
    groups : int64 array (N,)
        Equal for copies and near-copies of one picture.
    classes : tuple or list of distinct strings
    source : str
        Where the pictures come from, for records.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple
    source: str
    sha256: str = field(init=False)

    def __post_init__(self):
        _require_array("images", self.images, np.uint8, ("N", SIDE, SIDE, 3))
        n = len(self.images)
        if n == 0:
            raise ValueError("images must hold at least one picture, got none")
        _require_array("labels", self.labels, np.int64, (n,))
        _require_array("groups", self.groups, np.int64, (n,))
        if not isinstance(self.classes, (tuple, list)) or not all(
            isinstance(name, str) for name in self.classes
        ):
            raise TypeError(
                f"classes must be a tuple or list of strings, got {described(self.classes)}"
            )
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"classes must be distinct, at least one, got {described(self.classes)}"
            )
        if not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            most = len(self.classes) - 1
            raise ValueError(
                f"labels must lie in 0…{most}, got {self.labels.min()}…{self.labels.max()}"
            )
        if not isinstance(self.source, str):
            raise TypeError(f"source must be a string, got {described(self.source)}")
        digest = hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()
        object.__setattr__(self, "sha256", digest)
        object.__setattr__(self, "classes", tuple(self.classes))
        for name in ("images", "labels", "groups"):
            array = getattr(self, name)
            copy = np.frombuffer(array.tobytes(), array.dtype)  # of bytes, which nothing can change
            object.__setattr__(self, name, copy.reshape(array.shape))

    def __len__(self):
        return len(self.images)

    def subset(self, rows):
        """The pictures at ``rows``, in that order: whole numbers in 0…N − 1, at least one, or a mask of N bools."""
        rows = _require_rows(rows, len(self))
        return SpriteSet(
            self.images[rows], self.labels[rows], self.groups[rows], self.classes, self.source
        )

    def tensors(self):
        """Pictures as float32 (N, 3, 16, 16) in [−1, 1], and labels as int64 (N,)."""
        return to_tensor(self.images), torch.tensor(self.labels)


def _require_array(name, array, dtype, shape):
    """``array``, if it has that dtype and shape; a string in ``shape`` stands for any size."""
    sizes = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
    wanted = f"{name} must be an array of {np.dtype(dtype)}, shape ({sizes})"
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{wanted}, got {described(array)}")
    pairs = zip(shape, array.shape)
    if array.ndim != len(shape) or any(
        size != got for size, got in pairs if not isinstance(size, str)
    ):
        raise ValueError(f"{wanted}, got shape {array.shape}")
    return array


def _require_rows(rows, n):
    """``rows`` as an index array, if they are rows of n pictures."""
    wanted = f"rows must be whole numbers in 0…{n - 1}, at least one, or a mask of {n} bools"
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{wanted}, got {described(rows)}") from None
    if array.dtype.kind not in "iub" and array.size:
        raise TypeError(f"{wanted}, got {described(rows)}")
    if array.ndim != 1 or array.dtype == bool and len(array) != n:
        raise ValueError(f"{wanted}, got shape {array.shape}")
    array = np.flatnonzero(array) if array.dtype == bool else array
    if len(array) == 0:
        raise ValueError(f"{wanted}, got none")
    if not 0 <= array.min() <= array.max() < n:
        raise ValueError(f"{wanted}, got {array.min()}…{array.max()}")
    return array.astype(np.int64)


def to_tensor(images):
    """Pictures as float32 tensor (N, 3, H, W) in [−1, 1], of a uint8 array (N, H, W, 3)."""
    _require_array("images", images, np.uint8, ("N", "H", "W", 3))
    return torch.tensor(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(x):
    """Pictures as uint8 array (N, H, W, 3), of a float tensor (N, 3, H, W) in [−1, 1]; values outside are clipped."""
    x = require_data("x", x, shape=("N", 3, "H", "W")).detach()
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def tile(images, columns, gap=2):
    """Lay uint8 pictures (N, H, W, 3) out in rows on white, ``gap`` pixels apart; returns one uint8 picture.

    There are 1…1000 columns, and a gap has 0…100 pixels.
    """
    n, h, w, _ = _require_array("images", images, np.uint8, ("N", "H", "W", 3)).shape
    if images.size == 0:
        raise ValueError(
            f"images must hold at least one picture of at least one pixel, got shape {images.shape}"
        )
    columns, gap = require_int("columns", columns, 1, 1000), require_int("gap", gap, 0, 100)
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
    source : str or path
        ``"generated"``: the book's own 4,470 pictures, drawn by :mod:`dgm_helpers.pixel_art`. ``"dawnlike"``: real
        pixel art, DawnLike by DragonDePlatino and DawnBringer (CC-BY 4.0), downloaded once. ``"original"``: the
        assignment's set, downloaded once. Otherwise a folder: with the original's pair of ``.npy`` files, or with one
        sub-folder of 16×16 pictures per class.
    cache : path, optional
        Where downloads are kept; by default the user's cache folder.

    Returns
    -------
    SpriteSet

    Notes
    -----
    A folder of pictures: the classes are the names of its sub-folders, sorted, and a class without pictures is an
    error. PNG, GIF, BMP, JPEG, WebP, TIFF, PPM, ICO, AVIF, JPEG 2000 and QOI are read, under their usual suffixes in
    any case: the first frame, on white ground, 16 bits scaled to 8. Hidden files and folders are passed over, and so
    are ``__MACOSX``, ``Thumbs.db`` and ``desktop.ini``. A warning names whatever else is left out.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a string or a path, got {described(source)}")
    if not isinstance(cache, (str, os.PathLike, type(None))):
        raise TypeError(f"cache must be a path or None, got {described(cache)}")
    if source == "generated":
        return _generated()
    if source == "dawnlike":
        return _dawnlike(*_fetch("dawnlike", DAWNLIKE_URL, DAWNLIKE_FILES, cache))
    if source == "original":
        return _original(*_fetch("original", ORIGINAL_URL, ORIGINAL_FILES, cache), "original")
    if not os.path.isdir(source):
        wanted = '"generated", "dawnlike", "original" or an existing folder'
        raise ValueError(f"source must be {wanted}, got {str(source)!r}")
    folder = Path(source)
    if any(path.suffix.lower() == ".npy" and path.is_file() for _, path in _visible(folder)):
        return _original(
            *(_only(folder, pattern) for pattern in ("sprites_[0-9]*.npy", "sprite_labels_*.npy")),
            str(source),
        )
    return _picture_folder(folder)


def split_by_group(sprites, *, seed=0):
    """Split 80/20 so that no group of copies is divided; returns ``(train, held_out)``.

    Groups, at least two, are shuffled by ``numpy.random.PCG64(seed)`` and fill the training side up to 80% of the
    pictures.
    """
    seed = _require_split(sprites, seed)
    names, sizes = np.unique(sprites.groups, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"sprites must hold at least two groups to be split by group, got {len(names)}"
        )
    order = _shuffled(len(names), seed)
    cut = int(np.searchsorted(np.cumsum(sizes[order]), 0.8 * len(sprites), side="right"))
    train = np.isin(sprites.groups, names[order[: max(cut, 1)]])
    return sprites.subset(train), sprites.subset(~train)


def split_at_random(sprites, *, seed=0):
    """Split 80/20 picture by picture, at least two, whatever the groups; returns ``(train, held_out)``."""
    seed = _require_split(sprites, seed)
    if len(sprites) < 2:
        raise ValueError(f"sprites must hold at least two pictures to be split, got {len(sprites)}")
    order = _shuffled(len(sprites), seed)
    cut = round(0.8 * len(sprites))
    return sprites.subset(np.sort(order[:cut])), sprites.subset(np.sort(order[cut:]))


def _require_split(sprites, seed):
    if not isinstance(sprites, SpriteSet):
        raise TypeError(f"sprites must be a SpriteSet, got {described(sprites)}")
    return require_int("seed", seed, 0, 2**63 - 1)


SPLITS = {"group": split_by_group, "random": split_at_random}


def _shuffled(n, seed):
    bits = np.random.PCG64(seed)
    return np.argsort(bits.random_raw(n), kind="stable")


def _same_pictures(images):
    """For each picture, the index of its first copy among the distinct ones, and the rows of the distinct ones."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    _, first, inverse = np.unique(
        flat.view(f"V{flat.shape[1]}").ravel(), return_index=True, return_inverse=True
    )
    return inverse, first


def _fetch(name, url, known, cache):
    """Download what is missing; return the verified files' paths."""
    import pooch  # not at the top: in a notebook without widgets it warns

    cache = Path(pooch.os_cache("dgm_helpers") if cache is None else cache)
    store = pooch.create(
        cache / name,
        base_url=url,
        registry={path: f"sha256:{sha}" for path, (_, sha) in known.items()},
    )
    paths = []
    for path, (size, sha) in known.items():
        local = cache / name / path
        if not local.exists():
            try:
                store.fetch(path)
            except (OSError, ValueError) as error:
                raise OSError(
                    f'source "{name}": cannot fetch {path} into {cache / name}: {error}'
                ) from error
        content = local.read_bytes()
        if len(content) != size or hashlib.sha256(content).hexdigest() != sha:
            published = f"another SHA-256 than the published file of {size} bytes"
            raise ValueError(
                f"{local} has {len(content)} bytes and {published}; delete it to fetch it again"
            )
        paths.append(local)
    return paths


@cache
def _generated():
    return SpriteSet(*pixel_art.generate_sprites(), pixel_art.CLASSES, "generated")


def _dawnlike(sheet_path, atlas_path, table_path):
    from PIL import Image  # these three not at the top: the generated set needs none of them
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

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
    links = coo_array(
        (np.ones(len(names)), (picture, n + design)), shape=(n + design.max() + 1,) * 2
    )
    # designs that share a picture are one group
    _, groups = connected_components(links, directed=False)
    classes = list(DAWNLIKE_CLASSES)
    rows = np.sort(first)
    labels = np.array([classes.index(class_of[names[row]]) for row in rows], np.int64)
    groups = np.unique(groups[picture[rows]], return_inverse=True)[1].astype(np.int64)
    return SpriteSet(images[rows], labels, groups, classes, "dawnlike")


def _dawnlike_names(path):
    """Map each design of the name table to its class. A table's block starts with its name in a row of its own."""
    class_of_block = {
        block: name for name, blocks in DAWNLIKE_CLASSES.items() for block in blocks.split()
    }
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
    if images.dtype != np.uint8 or images.shape != (n, SIDE, SIDE, 3) or n == 0:
        wanted = f"uint8 (N, {SIDE}, {SIDE}, 3) with N >= 1"
        raise ValueError(f"{images_path} must hold {wanted}, got {images.dtype} {images.shape}")
    if one_hot.shape != (n, k) or one_hot.dtype.kind not in "biuf":
        wanted = f"one row of {k} numbers for each of the {n} pictures"
        raise ValueError(f"{labels_path} must hold {wanted}, got {one_hot.dtype} {one_hot.shape}")
    if not (np.isin(one_hot, (0, 1)).all() and (one_hot.sum(1) == 1).all()):
        raise ValueError(f"{labels_path} must hold one-hot rows: a single 1, zeros otherwise")
    picture, _ = _same_pictures(images)
    return SpriteSet(
        images,
        one_hot.argmax(1).astype(np.int64),
        picture.astype(np.int64),
        pixel_art.CLASSES,
        source,
    )


def _load_npy(path):
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header raises errors of many kinds
        raise ValueError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise ValueError(
            f"{path} must hold one array with an axis of pictures, got {described(array)}"
        )
    return array


def _only(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(
            f"source {folder} must hold exactly one {pattern}, got {[path.name for path in found]}"
        )
    return found[0]


def _visible(folder):
    """Name, in composed Unicode, and path of what a folder holds but for hidden things; sorted, alike everywhere."""
    return sorted(
        (unicodedata.normalize("NFC", path.name), path)
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in HIDDEN
    )


def _picture_folder(folder):
    _, suffixes = _picture_formats()
    classes, files, loose, left_out = [], [], [], []
    for name, path in _visible(folder):
        if path.is_dir():
            classes.append(name)
            files.append([])
            for _, item in _visible(path):
                read = item.suffix.lower() in suffixes and item.is_file()
                (files[-1] if read else left_out).append(item)
        elif path.suffix.lower() in suffixes:
            loose.append(path)
    if not classes:
        wanted = "the original's .npy files or one sub-folder of pictures a class"
        loose = f"; {loose[0].name} lies in no sub-folder, so it has no class" if loose else ""
        raise ValueError(f"source {folder} must hold {wanted}{loose}")
    if empty := [repr(name) for name, paths in zip(classes, files) if not paths]:
        wanted = f"each is a class, and must hold files of {' '.join(sorted(suffixes))}"
        raise ValueError(
            f"source {folder} has sub-folders without pictures: {', '.join(empty)}; {wanted}"
        )
    if left_out := loose + left_out:
        names = [str(path.relative_to(folder)) for path in left_out[:5]] + ["…"][
            : len(left_out) > 5
        ]
        what = f"{', '.join(names)} ({len(left_out)} in all)"
        message = f"source {folder}: left out, as no pictures in a class's sub-folder: {what}"
        warnings.warn(message, stacklevel=3)
    images = np.stack([_load_picture(path) for paths in files for path in paths])
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in files])
    picture, _ = _same_pictures(images)
    return SpriteSet(images, labels, picture.astype(np.int64), classes, str(folder))


@cache
def _picture_formats():
    """The formats that this Pillow reads, and their suffixes."""
    from PIL import Image

    known = Image.registered_extensions().items()
    names = set(FORMATS.split()) & set(Image.OPEN)
    formats = {suffix: name for suffix, name in known if name in names}
    return tuple(sorted(set(formats.values()))), frozenset(formats)


def _load_picture(path):
    """The first frame of a picture on white ground, uint8 (16, 16, 3)."""
    from PIL import Image

    formats, _ = _picture_formats()
    try:
        with Image.open(path, formats=formats) as file:
            size = file.size
            rgba = _rgba(file) if size == (SIDE, SIDE) else None
    except Exception as error:  # a damaged file raises errors of many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is not a whole picture that can be read: {error}") from error
    if rgba is None:
        raise ValueError(f"{path} must be {SIDE}x{SIDE} pixels, got {size[0]}x{size[1]}")
    return _on_white(rgba)


def _rgba(file):
    """An opened picture's first frame as uint8 (H, W, 4)."""
    key = file.info.get("transparency")
    if file.mode.startswith("I;16") or file.mode == "I" and file.format in ("PNG", "PPM"):
        tags = getattr(
            file, "tag_v2", {}
        )  # a TIFF's: 258 is BitsPerSample, 262 PhotometricInterpretation
        if tags.get(258, (16,))[0] != 16 or tags.get(262, 1) != 1:
            raise ValueError("its greys are not 16 bits from black to white")
        values = np.asarray(file).astype(np.int64)
        grey = (values + 128) // 257  # 65535 / 255 = 257
        return np.stack([grey, grey, grey, np.where(values == key, 0, 255)], -1).astype(np.uint8)
    if file.mode in ("I", "F"):
        raise ValueError(f"the range of its numbers, of mode {file.mode}, is not known")
    if isinstance(key, tuple) and max(key) > 255:
        raise ValueError(f"a transparent colour of 16 bits, {key}, is not read")
    return np.asarray(file.convert("RGBA"))


def _on_white(rgba):
    """Composite uint8 (H, W, 4) on white, rounding to the nearest integer."""
    color, alpha = rgba[..., :3].astype(np.int64), rgba[..., 3:].astype(np.int64)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
