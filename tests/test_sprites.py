"""The sources of sprites, the splits, and what a damaged file leads to."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import results, sprites
from dgm_helpers.sprites import (
    SpriteSet,
    load_sprites,
    split_at_random,
    split_by_group,
    tile,
    to_tensor,
    to_uint8,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
DAWNLIKE = Path(os.environ.get("DGM_DAWNLIKE", SHARED / "dawnlike"))
LABELS = SHARED / "sprite_labels_nc_1788_16x16.npy.gz"
NO_DAWNLIKE = f"DawnLike's files are not in {DAWNLIKE} (set DGM_DAWNLIKE to their folder)"
needs_dawnlike = pytest.mark.skipif(not DAWNLIKE.is_dir(), reason=NO_DAWNLIKE)
needs_labels = pytest.mark.skipif(
    not LABELS.exists(), reason=f"the original's labels are not in {LABELS}"
)


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused(load, error, message, folder):
    """``load()`` raises, and leaves every file below ``folder`` as it was."""
    before = contents(folder)
    with pytest.raises(error, match=message):
        load()
    assert contents(folder) == before


# DawnLike


@pytest.fixture
def dawnlike_cache(tmp_path):
    for path in sprites.DAWNLIKE_FILES:
        local = tmp_path / "dawnlike" / path
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes((DAWNLIKE / local.name).read_bytes())
    return tmp_path


@needs_dawnlike
def test_dawnlike(dawnlike_cache):
    data = load_sprites("dawnlike", cache=dawnlike_cache)
    assert data.classes == ("people", "creatures", "food", "spells", "gear")
    assert np.bincount(data.labels).tolist() == [432, 1044, 103, 317, 297] and len(data) == 2193
    assert len(np.unique(data.images.reshape(len(data), -1), axis=0)) == 2193
    colors = np.unique(data.images.reshape(-1, 3), axis=0).tolist()
    assert len(colors) == 17 and [255, 255, 255] in colors
    assert (data.images == 255).all(-1)[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean() > 0.8


@needs_dawnlike
def test_frames_of_a_design_are_one_group(dawnlike_cache):
    data = load_sprites("dawnlike", cache=dawnlike_cache)
    folder = dawnlike_cache / "dawnlike"
    row_of = {image.tobytes(): row for row, image in enumerate(data.images)}
    sheet = np.asarray(Image.open(folder / "thirteen/Dawnlike.png").convert("RGBA"))
    names, groups_of = sprites._dawnlike_names(folder / "image_names.tsv"), {}
    for name, (x, y, w, h) in sprites._atlas_regions(folder / "thirteen/Dawnlike.atlas"):
        row = row_of.get(sprites._on_white(sheet[y : y + h, x : x + w]).tobytes())
        if row is not None and name in names:
            groups_of.setdefault(name, []).append(data.groups[row])
    assert sum(len(groups) == 2 for groups in groups_of.values()) > 500  # designs of two frames
    assert all(len(set(groups)) == 1 for groups in groups_of.values())
    sizes = np.bincount(data.groups)
    assert (sizes[data.groups[data.labels == 1]] >= 2).all()  # no creature is alone


@needs_dawnlike
def test_dawnlike_splits(dawnlike_cache):
    data = load_sprites("dawnlike", cache=dawnlike_cache)
    train, held_out = split_by_group(data)
    assert abs(len(train) / len(data) - 0.8) < 0.01
    assert not set(train.groups) & set(held_out.groups)
    train, held_out = split_at_random(data)
    assert np.isin(held_out.groups, train.groups).mean() > 0.5  # what a naive split hides


@needs_dawnlike
def test_record_of_dawnlike_is_true(dawnlike_cache):
    data, record = (
        load_sprites("dawnlike", cache=dawnlike_cache),
        results.load("data-sprites")["dawnlike"],
    )
    assert (
        record["pictures"] == len(data)
        and record["groups"] == len(set(data.groups))
        and record["sha256"] == data.sha256
    )
    assert record["classes"] == dict(
        zip(data.classes, np.bincount(data.labels).tolist(), strict=True)
    )
    assert record["colors"] == len(np.unique(data.images.reshape(-1, 3), axis=0))
    for name, split in (("group", split_by_group), ("random", split_at_random)):
        train, held_out = split(data)
        assert record["leak"][name] == pytest.approx(np.isin(held_out.groups, train.groups).mean())


@needs_dawnlike
@pytest.mark.parametrize("path", sprites.DAWNLIKE_FILES)
@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[:1000] + bytes([b[1000] ^ 1]) + b[1001:], lambda b: b""],
)
def test_damaged_dawnlike(dawnlike_cache, path, damage):
    local = dawnlike_cache / "dawnlike" / path
    local.write_bytes(damage(local.read_bytes()))
    message = f"{local.name} has .* another SHA-256.*delete it"
    refused(
        lambda: load_sprites("dawnlike", cache=dawnlike_cache), ValueError, message, dawnlike_cache
    )


# Downloads


@pytest.fixture
def no_network(monkeypatch):
    def call(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("pooch.downloaders.HTTPDownloader.__call__", call)


@pytest.mark.parametrize("source", ["dawnlike", "original"])
def test_no_network(source, tmp_path, no_network):
    refused(
        lambda: load_sprites(source, cache=tmp_path),
        OSError,
        f'source "{source}": cannot fetch .* no route to host',
        tmp_path,
    )


@pytest.mark.parametrize("source", ["dawnlike", "original"])
def test_unwritable_cache(source, tmp_path, no_network):
    (tmp_path / "cache").write_text("a file in the way")
    refused(
        lambda: load_sprites(source, cache=tmp_path / "cache"),
        OSError,
        f'source "{source}": cannot fetch',
        tmp_path,
    )


def test_download_of_other_bytes_is_refused_and_not_kept(tmp_path, monkeypatch):
    def call(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"a page that says: not found")

    monkeypatch.setattr("pooch.downloaders.HTTPDownloader.__call__", call)
    refused(
        lambda: load_sprites("dawnlike", cache=tmp_path),
        OSError,
        "cannot fetch thirteen/Dawnlike.png",
        tmp_path,
    )


@pytest.mark.parametrize("cache", [0, False, b"cache", ["cache"]])
def test_a_cache_that_is_no_path_is_named_before_the_download(cache):
    for source in ("dawnlike", "generated"):
        with pytest.raises(TypeError, match="cache must be a path or None, got"):
            load_sprites(source, cache=cache)


def test_a_folder_in_the_place_of_a_cached_file(tmp_path):
    (tmp_path / "dawnlike" / "thirteen" / "Dawnlike.png").mkdir(parents=True)
    refused(
        lambda: load_sprites("dawnlike", cache=str(tmp_path)), OSError, "Dawnlike.png", tmp_path
    )


def test_altered_original_in_the_cache(tmp_path):
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "sprites_1788_16x16.npy").write_bytes(b"half of it")
    refused(
        lambda: load_sprites("original", cache=tmp_path),
        ValueError,
        "has 10 bytes .* 68659328 bytes",
        tmp_path,
    )


# The original's files, by path


@needs_labels
def test_original_labels_repeat_with_period_894():
    raw = gzip.decompress(LABELS.read_bytes())
    size, sha = sprites.ORIGINAL_FILES["sprite_labels_nc_1788_16x16.npy"]
    assert len(raw) == size and hashlib.sha256(raw).hexdigest() == sha
    one_hot = np.load(io.BytesIO(raw), allow_pickle=False)
    assert (
        one_hot.shape == (89_400, 5) and one_hot.dtype == np.float64 and (one_hot.sum(1) == 1).all()
    )
    labels = one_hot.argmax(1)
    assert next(p for p in range(1, len(labels)) if (labels[p:] == labels[:-p]).all()) == 894
    counts = np.bincount(labels[:894]).tolist()
    assert counts == [80, 324, 60, 350, 80] and 89_400 == 894 * 100
    record = results.load("data-sprites")["original_labels"]
    assert record["period"] == 894 and list(record["classes"].values()) == counts
    assert record["pictures"] == 89_400 and record["sha256"] == sha


@pytest.fixture
def pair(tmp_path):
    """A folder like the original's: 894 pictures, three times over, and one-hot labels."""
    data = load_sprites().subset(np.arange(894))
    np.save(tmp_path / "sprites_2682_16x16.npy", np.tile(data.images, (3, 1, 1, 1)))
    np.save(tmp_path / "sprite_labels_nc_2682_16x16.npy", np.tile(np.eye(5)[data.labels], (3, 1)))
    return tmp_path


def test_copies_of_a_periodic_set_are_one_group(pair):
    data = load_sprites(pair)
    assert (
        len(data) == 2682
        and data.classes == ("human", "non-human", "food", "spell", "side-facing")
        and data.source == str(pair)
    )
    assert (data.groups[894:] == data.groups[:-894]).all() and len(set(data.groups)) == 894
    assert (data.labels[:894] == load_sprites().labels[:894]).all()
    train, held_out = split_by_group(data)
    assert not set(train.groups) & set(held_out.groups)
    train, held_out = split_at_random(data)
    assert np.isin(held_out.groups, train.groups).mean() > 0.9


def damaged(name, change):
    """A function that loads the file ``name``'s array, changes it and saves it again."""

    def act(folder):
        path = folder / name
        np.save(path, change(np.load(path)))

    return act


def raw(name, change):
    def act(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return act


IMAGES, ONE_HOT = "sprites_2682_16x16.npy", "sprite_labels_nc_2682_16x16.npy"


@pytest.mark.parametrize(
    "damage, message",
    [
        (raw(IMAGES, lambda b: b[:-1]), f"{IMAGES} is not a whole .npy file"),
        (raw(ONE_HOT, lambda b: b[:50]), f"{ONE_HOT} is not a whole .npy file"),
        (raw(IMAGES, lambda b: b""), f"{IMAGES} is not a whole .npy file"),
        (raw(IMAGES, lambda b: bytes([b[0] ^ 1]) + b[1:]), f"{IMAGES} is not a whole .npy file"),
        (
            raw(ONE_HOT, lambda b: b[:80] + bytes([b[80] ^ 8]) + b[81:]),
            f"{ONE_HOT} is not a whole .npy file",
        ),
        (raw(ONE_HOT, lambda b: b[:-1] + bytes([b[-1] ^ 64])), f"{ONE_HOT} must hold one-hot rows"),
        (
            damaged(IMAGES, lambda x: x.astype(object)),
            f"{IMAGES} is not a whole .npy file of numbers: .*allow_pickle",
        ),
        (
            damaged(IMAGES, lambda x: x / 255),
            rf"{IMAGES} must hold uint8 \(N, 16, 16, 3\) with N >= 1, got float64",
        ),
        (
            damaged(IMAGES, lambda x: x[:, :8]),
            rf"{IMAGES} must hold uint8 .* got uint8 \(2682, 8, 16, 3\)",
        ),
        (damaged(IMAGES, lambda x: np.array(5)), f"{IMAGES} must hold one array"),
        (
            damaged(IMAGES, lambda x: x[:0]),
            rf"{IMAGES} must hold uint8 .* with N >= 1, got uint8 \(0, 16, 16, 3\)",
        ),
        (
            damaged(ONE_HOT, lambda x: x[:-1]),
            rf"{ONE_HOT} must hold one row of 5 numbers for each of the 2682 pictures, got float64 \(2681, 5\)",
        ),
        (
            damaged(ONE_HOT, lambda x: x[:, :4]),
            rf"{ONE_HOT} must hold one row of 5 .* got float64 \(2682, 4\)",
        ),
        (
            damaged(ONE_HOT, lambda x: x.argmax(1)),
            rf"{ONE_HOT} must hold one row of 5 .* got int64 \(2682,\)",
        ),
        (
            damaged(ONE_HOT, lambda x: x.astype(str)),
            rf"{ONE_HOT} must hold one row of 5 numbers .* got <U32 \(2682, 5\)",
        ),
        (
            damaged(ONE_HOT, lambda x: x.astype("m8[s]")),
            rf"{ONE_HOT} must hold one row of 5 numbers .* got timedelta64",
        ),
        (
            damaged(ONE_HOT, lambda x: x + 0j),
            rf"{ONE_HOT} must hold one row of 5 numbers .* got complex128",
        ),
        (damaged(ONE_HOT, lambda x: x * 0), f"{ONE_HOT} must hold one-hot rows"),
        (damaged(ONE_HOT, lambda x: x + 1), f"{ONE_HOT} must hold one-hot rows"),
        (damaged(ONE_HOT, lambda x: x * np.nan), f"{ONE_HOT} must hold one-hot rows"),
        (
            lambda folder: (folder / ONE_HOT).unlink(),
            r"must hold exactly one sprite_labels_\*.npy, got \[\]",
        ),
        (
            lambda folder: np.save(folder / "sprites_1_16x16.npy", 0),
            r"must hold exactly one sprites_\[0-9\]\*.npy, got \['sprites_1_",
        ),
    ],
)
def test_bad_npy(pair, damage, message):
    damage(pair)
    refused(lambda: load_sprites(pair), ValueError, message, pair)


def test_a_pair_without_pictures(tmp_path):
    np.save(tmp_path / "sprites_0_16x16.npy", np.zeros((0, 16, 16, 3), np.uint8))
    np.save(tmp_path / "sprite_labels_nc_0_16x16.npy", np.zeros((0, 5)))
    refused(
        lambda: load_sprites(tmp_path),
        ValueError,
        "sprites_0_16x16.npy must hold .* with N >= 1",
        tmp_path,
    )


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, ">f8"])
def test_one_hot_labels_of_any_real_dtype(pair, dtype):
    expected = load_sprites(pair).labels
    damaged(ONE_HOT, lambda x: x.astype(dtype))(pair)
    assert (load_sprites(pair).labels == expected).all()


def test_every_flipped_bit_of_a_header_is_noticed_or_harmless(tmp_path):
    data = load_sprites().subset(np.arange(3))
    np.save(tmp_path / "sprites_3_16x16.npy", data.images)
    np.save(tmp_path / "sprite_labels_nc_3_16x16.npy", np.eye(5)[data.labels])
    path = tmp_path / "sprites_3_16x16.npy"
    whole = path.read_bytes()
    for i in range(0, 128):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        try:
            assert len(load_sprites(tmp_path)) == 3
        except ValueError as error:
            assert str(path) in str(error) or "labels" in str(error)


# A folder of pictures


@pytest.fixture
def pngs(tmp_path):
    """Six pictures in two classes, beside a third folder for what else a test needs."""
    data = load_sprites().subset(np.arange(6))
    for i, image in enumerate(data.images):
        folder = tmp_path / "pngs" / ("birds", "fish")[i % 2]
        folder.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path / "pngs"


def loaded(folder):
    """The set, if it loads without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_sprites(folder)


def test_picture_folder(pngs):
    data = loaded(pngs)
    assert (
        data.classes == ("birds", "fish")
        and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
        and data.source == str(pngs)
    )
    assert (data.images == load_sprites().images[[0, 2, 4, 1, 3, 5]]).all()
    assert len(set(data.groups)) == 6
    assert loaded(str(pngs)).sha256 == data.sha256


def test_what_systems_leave_in_folders_is_passed_over(pngs):
    expected = loaded(pngs)
    for hidden in (".git", ".ipynb_checkpoints", ".birds", "__MACOSX", "__macosx"):
        (pngs / hidden).mkdir()
        (pngs / hidden / "0.png").write_bytes((pngs / "birds" / "0.png").read_bytes())
    (pngs / "birds" / ".ipynb_checkpoints").mkdir()
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini"):
        (pngs / "birds" / name).write_bytes(b"\0\5\x16\7")
        (pngs / name).write_bytes(b"\0\5\x16\7")
    (pngs / "._labels.npy").write_bytes(b"\0\5\x16\7")
    (pngs / "README.md").write_text("about the pictures")
    data = loaded(pngs)
    assert data.classes == ("birds", "fish") and data.sha256 == expected.sha256


RGB = np.arange(768, dtype=np.uint8).reshape(16, 16, 3) // 3 + 40


@pytest.mark.parametrize(
    "suffix, options, tolerance",
    [
        ("png", {}, 0),
        ("PNG", {}, 0),
        ("apng", {}, 0),
        ("gif", {}, 0),
        ("Gif", {}, 0),
        ("bmp", {}, 0),
        ("BMP", {}, 0),
        ("dib", {}, 0),
        ("jpg", {"quality": 100, "subsampling": 0}, 3),
        ("JPG", {"quality": 100, "subsampling": 0}, 3),
        ("jpeg", {"quality": 100, "subsampling": 0}, 3),
        ("jfif", {"quality": 100, "subsampling": 0}, 3),
        ("webp", {"lossless": True}, 0),
        ("WebP", {"lossless": True}, 0),
        ("tif", {}, 0),
        ("TIF", {"compression": "tiff_lzw"}, 0),
        ("tiff", {"compression": "tiff_deflate"}, 0),
        ("ppm", {}, 0),
        ("pnm", {}, 0),
        ("ico", {"sizes": [(16, 16)]}, 0),
        ("jp2", {}, 0),
        ("qoi", {}, 0),
    ],
)
def test_every_ordinary_format_in_any_case_of_suffix(pngs, suffix, options, tolerance):
    picture = Image.fromarray(RGB).quantize(200).convert("RGB")  # few enough colours for a GIF
    picture.save(
        pngs / "birds" / f"9.{suffix}",
        Image.registered_extensions()[f".{suffix.lower()}"],
        **options,
    )
    data = loaded(pngs)
    assert np.bincount(data.labels).tolist() == [4, 3]
    assert np.abs(data.images[3].astype(int) - np.asarray(picture)).max() <= tolerance


def test_a_picture_under_another_formats_suffix(pngs):
    Image.fromarray(RGB).save(pngs / "birds" / "9.jpg", "PNG")
    assert (loaded(pngs).images[3] == RGB).all()


def test_the_first_frame_of_an_animation(pngs):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    for suffix in ("gif", "webp", "tif", "png"):
        frames[0].save(
            pngs / "birds" / f"9{suffix}.{suffix}", save_all=True, append_images=frames[1:]
        )
    assert np.abs(loaded(pngs).images[3:7].astype(int) - [255, 0, 0]).max() <= 4


def grey_png(width, values, *chunks, color_type=0):
    """A 16×16 PNG of 16 bits a value, written by hand; ``values`` has one entry a channel."""
    row = b"\0" + struct.pack(f">{len(values)}H", *values) * 16
    pieces = [
        (b"IHDR", struct.pack(">2I5B", 16, 16, width, color_type, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(row * 16)),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in pieces
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("value", [0, 128, 129, 257, 511, 1000, 40_000, 65_407, 65_535])
def test_sixteen_bits_are_scaled_to_eight(pngs, value):
    folder = pngs / "birds"
    (folder / "a.png").write_bytes(grey_png(16, [value]))
    (folder / "b.png").write_bytes(grey_png(16, [value] * 3, color_type=2))
    (folder / "c.png").write_bytes(grey_png(16, [value, 65_535], color_type=4))
    (folder / "d.png").write_bytes(grey_png(16, [value] * 3 + [65_535], color_type=6))
    (folder / "e.pgm").write_bytes(b"P5 16 16 65535\n" + struct.pack(">H", value) * 256)
    (folder / "f.ppm").write_bytes(b"P6 16 16 65535\n" + struct.pack(">H", value) * 768)
    grey = np.full((16, 16), value, np.uint16)
    Image.fromarray(grey).save(folder / "g.tif")
    Image.frombytes("I;16B", (16, 16), grey.astype(">u2").tobytes()).save(folder / "h.tif")
    Image.fromarray(grey).save(folder / "i.tif", compression="tiff_lzw")
    Image.fromarray(grey).save(folder / "j.jp2")
    images = loaded(pngs).images[3:13].astype(int)
    assert (images == images[:, :1, :1, :1]).all()
    exactly = round(value / 257)
    assert images[[0, 4, 6, 7, 8], 0, 0, 0].tolist() == [exactly] * 5  # greys
    assert np.abs(images[:, 0, 0, 0] - exactly).max() <= 1  # Pillow keeps the high byte of colours


def test_a_sixteen_bit_grey_may_stand_for_transparent(pngs):
    (pngs / "birds" / "8.png").write_bytes(grey_png(16, [300], (b"tRNS", struct.pack(">H", 300))))
    (pngs / "birds" / "9.png").write_bytes(grey_png(16, [300], (b"tRNS", struct.pack(">H", 301))))
    images = loaded(pngs).images
    assert (images[3] == 255).all() and (images[4] == 1).all()
    (pngs / "birds" / "9.png").write_bytes(
        grey_png(16, [300] * 3, (b"tRNS", struct.pack(">3H", 300, 300, 300)), color_type=2)
    )
    refused(
        lambda: load_sprites(pngs), ValueError, "9.png .* a transparent colour of 16 bits", pngs
    )


def tiff(bits, photometric, content):
    """A 16×16 TIFF of one value a pixel, written by hand."""
    entries = [
        (256, 16),
        (257, 16),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 200),
        (277, 1),
        (278, 16),
        (279, len(content)),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries
    )
    return (b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)).ljust(200, b"\0") + content


def test_numbers_of_unknown_range_are_refused_by_name(pngs):
    Image.fromarray(np.full((16, 16), 0.5, np.float32)).save(pngs / "birds" / "9.tif")
    refused(
        lambda: load_sprites(pngs),
        ValueError,
        "9.tif is not a whole picture that can be read: the range of its numbers, of mode F",
        pngs,
    )
    Image.fromarray(np.full((16, 16), 70_000, np.int32)).save(pngs / "birds" / "9.tif")
    refused(
        lambda: load_sprites(pngs),
        ValueError,
        "9.tif .* the range of its numbers, of mode I, is not known",
        pngs,
    )
    (pngs / "birds" / "9.tif").write_bytes(tiff(16, 0, struct.pack("<H", 300) * 256))
    refused(
        lambda: load_sprites(pngs),
        ValueError,
        "9.tif .* its greys are not 16 bits from black to white",
        pngs,
    )
    (pngs / "birds" / "9.tif").write_bytes(tiff(12, 1, bytes(384)))
    refused(lambda: load_sprites(pngs), ValueError, "9.tif .* its greys are not 16 bits", pngs)
    (pngs / "birds" / "9.tif").unlink()
    (pngs / "birds" / "9.pfm").write_bytes(b"Pf\n16 16\n-1.0\n" + bytes(1024))
    refused(lambda: load_sprites(pngs), ValueError, "9.pfm .* of mode F", pngs)
    (pngs / "birds" / "9.pfm").unlink()
    (pngs / "birds" / "9.tif").write_bytes(tiff(16, 1, struct.pack("<H", 300) * 256))
    assert (loaded(pngs).images[3] == 1).all()


def test_every_mode_is_put_on_white(pngs):
    folder, color = pngs / "birds", (10, 20, 30)
    Image.new("1", (16, 16), 1).save(folder / "a.png")
    Image.new("1", (16, 16), 0).save(folder / "b.bmp")
    Image.new("L", (16, 16), 77).save(folder / "c.png")
    Image.new("LA", (16, 16), (0, 128)).save(folder / "d.png")
    Image.new("RGBA", (16, 16), (*color, 128)).save(folder / "e.webp", lossless=True)
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, *color])
    palette.save(folder / "f.png")
    palette.save(folder / "g.gif", transparency=1)
    palette.save(folder / "h.png", transparency=b"\xff\x80")
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(folder / "i.tif")
    Image.new("CMYK", (16, 16), (0, 255, 0, 0)).save(folder / "j.jpg", quality=100)
    Image.new("RGB", (16, 16), color).save(folder / "k.png", transparency=color)
    on_white = [(v * 128 + 255 * 127 + 127) // 255 for v in color]
    wanted = [
        [255] * 3,
        [0] * 3,
        [77] * 3,
        [127] * 3,
        on_white,
        color,
        [255] * 3,
        on_white,
        [0, 255, 255],
        [255, 0, 255],
        [255] * 3,
    ]
    images = loaded(pngs).images[3:14].astype(int)
    assert np.abs(images - np.array(wanted)[:, None, None]).max(axis=(1, 2, 3)).tolist() == [
        0
    ] * 9 + [pytest.approx(0, abs=2)] + [0]


def test_transparent_png_is_put_on_white(pngs):
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[0] = [10, 20, 30, 255]
    rgba[1] = [10, 20, 30, 128]
    Image.fromarray(rgba).save(pngs / "birds" / "0.png")
    image = load_sprites(pngs).images[0]
    assert (image[0] == [10, 20, 30]).all() and (image[2:] == 255).all()
    assert (
        image[1] == np.round([10 * 128 / 255 + 127, 20 * 128 / 255 + 127, 30 * 128 / 255 + 127])
    ).all()


@pytest.mark.parametrize(
    "damage, message",
    [
        (raw("birds/2.png", lambda b: b[: len(b) // 2]), "birds/2.png is not a whole picture"),
        (
            raw("birds/2.png", lambda b: b[:60] + bytes([b[60] ^ 16]) + b[61:]),
            "birds/2.png is not a whole picture",
        ),
        (raw("birds/2.png", lambda b: b"not a picture"), "birds/2.png is not a whole picture"),
        (raw("birds/2.png", lambda b: b""), "birds/2.png is not a whole picture"),
        (
            raw("birds/2.png", lambda b: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n"),
            "birds/2.png is not a whole picture",
        ),
        (
            lambda folder: Image.new("RGB", (16, 17)).save(folder / "birds" / "2.png"),
            "birds/2.png must be 16x16 pixels, got 16x17",
        ),
        (
            lambda folder: Image.new("RGB", (32, 32)).save(folder / "fish" / "x.JPEG"),
            "fish/x.JPEG must be 16x16 pixels, got 32x32",
        ),
        (
            lambda folder: (folder / "fish" / "x.ppm").write_bytes(b"P6 20000 20000 255 "),
            "fish/x.ppm is not a whole picture.* bomb",
        ),
        (
            lambda folder: (folder / "empty").mkdir(),
            r"sub-folders without pictures: 'empty'; each is a class",
        ),
        (
            lambda folder: (folder / "notes" / "more").mkdir(parents=True),
            r"sub-folders without pictures: 'notes'",
        ),
        (
            lambda folder: (folder / "loop").symlink_to(folder),
            r"sub-folders without pictures: 'loop'",
        ),
        (
            lambda folder: [(folder / name).mkdir() for name in "yx"],
            r"sub-folders without pictures: 'x', 'y'",
        ),
    ],
)
def test_bad_picture_folders(pngs, damage, message):
    damage(pngs)
    refused(lambda: load_sprites(pngs), ValueError, message, pngs)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize(
    "format", ["png", "gif", "bmp", "jpg", "webp", "tif", "ppm", "ico", "jp2", "qoi"]
)
def test_a_file_cut_short_is_named_or_holds_its_whole_picture(pngs, format):
    path = pngs / "birds" / f"9.{format}"
    Image.fromarray(RGB).save(path)
    whole, expected = path.read_bytes(), load_sprites(pngs).images[3]
    for cut in [*range(0, len(whole), len(whole) // 17), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        try:
            assert (load_sprites(pngs).images[3] == expected).all()
        except ValueError as error:
            assert str(path) in str(error)


def left_out(folder, *names):
    with pytest.warns(UserWarning, match="left out") as caught:
        data = load_sprites(folder)
    assert len(caught) == 1 and f": {', '.join(names)} ({len(names)} in all)" in str(
        caught[0].message
    )
    assert caught[0].filename == __file__
    return data


def test_what_is_left_out_is_said(pngs):
    for name in ("a.svg", "b.txt", "c.png~", "d", "e.tga"):
        (pngs / "birds" / name).write_bytes(b"")
    assert left_out(
        pngs, *(f"birds/{name}" for name in ("a.svg", "b.txt", "c.png~", "d", "e.tga"))
    ).labels.tolist() == [0, 0, 0, 1, 1, 1]
    (pngs / "birds" / "f.txt").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"birds/e.tga, … \(6 in all\)"):
        load_sprites(pngs)


def test_folders_in_a_class_and_links_are_left_out_and_do_not_hang(pngs):
    (pngs / "birds" / "more.png").mkdir()
    (pngs / "birds" / "self.png").symlink_to("self.png")
    (pngs / "birds" / "up").symlink_to(pngs)
    (pngs / "fish" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(pngs / "fish" / "pipe.png")
    (pngs / "round").symlink_to("round")
    data = left_out(
        pngs, "birds/more.png", "birds/self.png", "birds/up", "fish/gone.png", "fish/pipe.png"
    )
    assert data.classes == ("birds", "fish")


def test_a_linked_picture_and_a_linked_class_are_read(pngs):
    (pngs / "birds" / "9.png").symlink_to(pngs / "fish" / "1.png")
    (pngs / "more").symlink_to(pngs / "fish", target_is_directory=True)
    data = loaded(pngs)
    assert data.classes == ("birds", "fish", "more") and np.bincount(data.labels).tolist() == [
        4,
        3,
        3,
    ]
    assert len(set(data.groups)) == 6


def test_pictures_beside_the_classes_are_left_out(pngs):
    (pngs / "birds" / "0.png").rename(pngs / "0.png")
    assert left_out(pngs, "0.png").labels.tolist() == [0, 0, 1, 1, 1]


def test_pictures_without_classes(tmp_path):
    wanted = r"must hold the original's .npy files or one sub-folder of pictures a class"
    refused(lambda: load_sprites(tmp_path), ValueError, wanted + "$", tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "loose.GIF")
    (tmp_path / ".git").mkdir()
    refused(
        lambda: load_sprites(tmp_path),
        ValueError,
        wanted + "; loose.GIF lies in no sub-folder, so it has no class",
        tmp_path,
    )
    refused(
        lambda: load_sprites(tmp_path / "loose.GIF"),
        ValueError,
        "an existing folder, got .*loose.GIF",
        tmp_path,
    )


def test_classes_are_sorted_by_composed_names(tmp_path):
    names = [
        "z",
        "Z",
        "\u00e9t\u00e9",
        "e\u0301cole",
        "\u732b",
        "10",
        "9",
        "a b",
    ]  # one é composed, one of two characters
    for i, name in enumerate(names):
        (tmp_path / name).mkdir()
        for picture in ("\u00fc.png", "b.png"):
            Image.new("RGB", (16, 16), (i, ord(picture[0]) % 256, 0)).save(
                tmp_path / name / picture
            )
    data = loaded(tmp_path)
    assert data.classes == ("10", "9", "Z", "a b", "z", "\u00e9cole", "\u00e9t\u00e9", "\u732b")
    assert data.images[::2, 0, 0, 0].tolist() == [5, 6, 1, 7, 0, 3, 2, 4]
    assert data.images[:2, 0, 0, 1].tolist() == [ord("b"), 0xFC]
    (tmp_path / "\u00e9cole").mkdir()
    (tmp_path / "\u00e9cole" / "b.png").write_bytes((tmp_path / "z" / "b.png").read_bytes())
    refused(lambda: load_sprites(tmp_path), ValueError, "classes must be distinct", tmp_path)


@pytest.mark.parametrize("source", ["dawnlik", "/no/such/folder", "", "a\0b", "x" * 300])
def test_unknown_source(source):
    with pytest.raises(ValueError) as caught:
        load_sprites(source)
    assert (
        str(caught.value)
        == f'source must be "generated", "dawnlike", "original" or an existing folder, got {source!r}'
    )


@pytest.mark.parametrize(
    "source", [None, 3, True, b"generated", ["generated"], np.array(["generated"]), torch.zeros(2)]
)
def test_a_source_of_another_kind(source):
    with pytest.raises(TypeError, match="source must be a string or a path, got"):
        load_sprites(source)


# Sets, splits, conversions


def small_set(**changes):
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((10, 16, 16, 3), np.uint8)
    arguments = {
        "images": images,
        "labels": np.arange(10) % 2,
        "groups": np.arange(10) // 2,
        "classes": ("a", "b"),
        "source": "test",
    }
    return SpriteSet(**(arguments | changes))


@pytest.mark.parametrize(
    "changes, error, message",
    [
        (
            {"images": np.zeros((10, 16, 16, 3))},
            TypeError,
            "images must be an array of uint8, .* got a numpy array of float64",
        ),
        (
            {"images": torch.zeros(10, 16, 16, 3, dtype=torch.uint8)},
            TypeError,
            "images must be an array of uint8, .* got a tensor of torch.uint8",
        ),
        (
            {"images": [[[[0] * 3] * 16] * 16] * 10},
            TypeError,
            r"images must be an array of uint8, shape \(N, 16, 16, 3\), got list",
        ),
        ({"images": None}, TypeError, "images must be .* got None"),
        (
            {"images": np.zeros((10, 16, 16), np.uint8)},
            ValueError,
            r"images must be an array of uint8, .* got shape \(10, 16, 16\)",
        ),
        (
            {"images": np.zeros((10, 3, 16, 16), np.uint8)},
            ValueError,
            r"images must be an array of uint8, .* got shape \(10, 3, 16, 16\)",
        ),
        ({"images": np.uint8(3)}, TypeError, "images must be an array of uint8"),
        (
            {"images": np.zeros((0, 16, 16, 3), np.uint8)},
            ValueError,
            "images must hold at least one picture",
        ),
        (
            {"labels": np.arange(9) % 2},
            ValueError,
            r"labels must be an array of int64, shape \(10,\), got shape \(9,\)",
        ),
        (
            {"labels": np.zeros(10)},
            TypeError,
            "labels must be an array of int64, .* got a numpy array of float64",
        ),
        (
            {"labels": np.zeros(10, np.int32)},
            TypeError,
            "labels must be an array of int64, .* got a numpy array of int32",
        ),
        ({"labels": [0] * 10}, TypeError, "labels must be an array of int64, .* got list"),
        (
            {"labels": torch.zeros(10, dtype=torch.int64)},
            TypeError,
            "labels must be an array of int64, .* got a tensor",
        ),
        ({"groups": np.arange(11)}, ValueError, r"groups must be an array of int64, shape \(10,\)"),
        ({"groups": None}, TypeError, "groups must be an array of int64, .* got None"),
        ({"labels": np.full(10, 2)}, ValueError, r"labels must lie in 0…1, got 2…2"),
        ({"labels": np.full(10, -1)}, ValueError, r"labels must lie in 0…1, got -1…-1"),
        ({"classes": "ab"}, TypeError, "classes must be a tuple or list of strings, got str 'ab'"),
        ({"classes": ("a", 1)}, TypeError, "classes must be a tuple or list of strings"),
        ({"classes": None}, TypeError, "classes must be a tuple or list of strings, got None"),
        ({"classes": {"a", "b"}}, TypeError, "classes must be a tuple or list of strings, got set"),
        ({"classes": ("a", "a")}, ValueError, "classes must be distinct"),
        ({"classes": ()}, ValueError, r"classes must be distinct, at least one, got tuple \(\)"),
        ({"source": None}, TypeError, "source must be a string, got None"),
        ({"source": Path("x")}, TypeError, "source must be a string, got PosixPath"),
    ],
)
def test_bad_sets(changes, error, message):
    with pytest.raises(error, match=message):
        small_set(**changes)


def test_a_set_cannot_be_changed():
    data = small_set(classes=["a", "b"])
    with pytest.raises(AttributeError):
        data.labels = data.labels + 1
    for array in (
        data.images,
        data.labels,
        data.groups,
        data.subset([0]).images,
        load_sprites().images,
    ):
        with pytest.raises(ValueError):
            array[0] = 0
        with pytest.raises(ValueError):
            array.flags.writeable = True
    assert data.classes == ("a", "b")
    assert data.sha256 != small_set(labels=(np.arange(10) + 1) % 2).sha256


def test_a_set_leaves_its_arrays_to_the_caller():
    labels, groups, classes = np.arange(10) % 2, np.arange(10), ["a", "b"]
    images = np.asfortranarray(
        np.arange(7680, dtype=np.uint16).astype(np.uint8).reshape(10, 16, 16, 3)
    )
    before = images.copy()
    data = small_set(images=images, labels=labels, groups=groups, classes=classes)
    images[:], labels[:], groups[:], classes[0] = 0, 0, 0, "c"
    assert (
        (data.images == before).all()
        and data.labels.tolist() == [0, 1] * 5
        and data.groups.tolist() == list(range(10))
    )
    assert (
        data.classes == ("a", "b")
        and data.sha256 == small_set(images=before, classes=("a", "b")).sha256
    )
    reversed_rows = small_set(images=before[::-1], labels=data.labels[::-1])
    assert (reversed_rows.images == before[::-1]).all() and (
        to_uint8(reversed_rows.tensors()[0]) == before[::-1]
    ).all()


def test_a_set_survives_a_copy():
    data = small_set()
    twin = pickle.loads(pickle.dumps(data))
    assert (twin.images == data.images).all() and twin.sha256 == data.sha256


@pytest.mark.parametrize(
    "rows",
    [
        [3, 1, 1],
        (3, 1, 1),
        np.array([3, 1, 1], np.uint8),
        np.array([3, 1, 1], np.int32),
        torch.tensor([3, 1, 1]),
    ],
)
def test_rows_of_a_subset(rows):
    part = small_set().subset(rows)
    assert (
        part.images[:, 0, 0, 0].tolist() == [3, 1, 1]
        and part.labels.tolist() == [1, 1, 1]
        and part.groups.tolist() == [1, 0, 0]
    )


def test_rows_of_a_subset_as_a_mask():
    for mask in (np.arange(10) > 7, (np.arange(10) > 7).tolist(), torch.arange(10) > 7):
        assert small_set().subset(mask).images[:, 0, 0, 0].tolist() == [8, 9]


@pytest.mark.parametrize(
    "rows, error",
    [
        ([10], ValueError),
        ([-1], ValueError),
        ([0, 2**70], TypeError),
        (np.array([2**64 - 1], np.uint64), ValueError),
        (np.ones(9, bool), ValueError),
        ([True] * 11, ValueError),
        (np.zeros(10, bool), ValueError),
        ([], ValueError),
        (3, ValueError),
        ([[0, 1]], ValueError),
        ([[0], [1, 2]], TypeError),
        ([1.0], TypeError),
        (np.array([np.nan]), TypeError),
        (["0"], TypeError),
        ([None], TypeError),
        (None, TypeError),
        (slice(3), TypeError),
        (torch.zeros(3, requires_grad=True), TypeError),
    ],
)
def test_bad_rows_of_a_subset(rows, error):
    with pytest.raises(
        error, match="rows must be whole numbers in 0…9, at least one, or a mask of 10 bools, got"
    ):
        small_set().subset(rows)


@pytest.mark.parametrize("split", [split_by_group, split_at_random])
def test_splits_part_the_set_and_depend_on_the_seed_only(split):
    data = load_sprites("generated")
    train, held_out = split(data)
    assert len(train) + len(held_out) == len(data) and abs(len(train) / len(data) - 0.8) < 0.01
    assert {x.tobytes() for x in train.images} | {x.tobytes() for x in held_out.images} == {
        x.tobytes() for x in data.images
    }
    assert train.sha256 == split(data)[0].sha256 != split(data, seed=1)[0].sha256
    shares = [np.bincount(x.labels) / len(x) for x in (train, held_out)]
    assert np.abs(shares[0] - shares[1]).max() < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_group_split_never_divides_a_group(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, generator.integers(2, 60), 100)
    data = SpriteSet(
        np.zeros((100, 16, 16, 3), np.uint8), np.zeros(100, np.int64), groups, ("a",), "test"
    )
    train, held_out = split_by_group(data, seed=seed)
    assert not set(train.groups) & set(held_out.groups)
    assert len(train) and len(held_out) and len(train) + len(held_out) == 100


def test_sets_too_small_to_split():
    one = small_set().subset(np.arange(1))
    with pytest.raises(ValueError, match="at least two groups to be split by group, got 1"):
        split_by_group(one)
    with pytest.raises(ValueError, match="at least two pictures to be split, got 1"):
        split_at_random(one)


@pytest.mark.parametrize("split", [split_by_group, split_at_random])
def test_arguments_of_splits(split):
    data = small_set()
    expected = [part.sha256 for part in split(data, seed=5)]
    for seed in (np.int64(5), np.uint8(5)):
        assert [part.sha256 for part in split(data, seed=seed)] == expected
    assert len(split(data, seed=2**63 - 1)[0]) == len(split(data, seed=0)[0]) == 8
    for seed in (-1, 2**63, 10**30):
        with pytest.raises(ValueError, match="seed must be an int in 0…9223372036854775807, got"):
            split(data, seed=seed)
    for seed in (None, True, np.True_, 1.0, "1", [1], np.arange(2)):
        with pytest.raises(TypeError, match="seed must be an int in 0…9223372036854775807, got"):
            split(data, seed=seed)
    for sprites_ in (None, data.images, "generated", [1, 2]):
        with pytest.raises(TypeError, match="sprites must be a SpriteSet, got"):
            split(sprites_)


def test_pictures_and_tensors():
    images = load_sprites("generated").images[:20]
    x = to_tensor(images)
    assert (
        x.shape == (20, 3, 16, 16) and x.dtype == torch.float32 and x.min() >= -1 and x.max() == 1
    )
    assert (to_uint8(x) == images).all()
    assert (to_uint8(x.double().requires_grad_()) == images).all()
    assert torch.equal(to_tensor(images[:, ::-1]), x.flip(2))
    assert np.abs(to_uint8(x.half()).astype(int) - images).max() <= 1
    assert to_uint8(torch.full((1, 3, 1, 1), 7.0)).tolist() == [[[[255, 255, 255]]]]
    assert to_uint8(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5, 3)


def test_pictures_and_tensors_do_not_share_memory():
    images = np.zeros((1, 2, 2, 3), np.uint8)
    x = to_tensor(images)
    again = to_uint8(x)
    images[:], x[:] = 9, 0
    assert (again == 0).all() and (x == 0).all()


@pytest.mark.parametrize(
    "images, error",
    [
        (np.zeros((2, 4, 4, 3)), TypeError),
        (np.zeros((2, 4, 4, 3), np.int64), TypeError),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), TypeError),
        ([[1]], TypeError),
        (None, TypeError),
        (np.zeros((4, 4, 3), np.uint8), ValueError),
        (np.zeros((2, 3, 4, 4), np.uint8), ValueError),
        (np.zeros((2, 4, 4, 4), np.uint8), ValueError),
    ],
)
def test_bad_pictures(images, error):
    for function in (to_tensor, lambda images: tile(images, 2)):
        with pytest.raises(
            error, match=r"images must be an array of uint8, shape \(N, H, W, 3\), got"
        ):
            function(images)


@pytest.mark.parametrize(
    "x, error, message",
    [
        (torch.full((1, 3, 2, 2), torch.nan), ValueError, "x must be finite"),
        (torch.full((1, 3, 2, 2), torch.inf), ValueError, "x must be finite"),
        (
            torch.zeros(1, 3, 2, 2, dtype=torch.complex64),
            TypeError,
            "x must be a floating-point tensor, got a tensor of torch.complex64",
        ),
        (
            torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
            TypeError,
            "x must be a floating-point tensor, got a tensor of torch.uint8",
        ),
        (
            np.zeros((1, 3, 2, 2)),
            TypeError,
            "x must be a floating-point tensor, got a numpy array of float64.*from_numpy",
        ),
        (None, TypeError, "x must be a floating-point tensor, got None"),
        (torch.zeros(3, 2, 2), ValueError, r"x must have shape \(N, 3, H, W\), got \(3, 2, 2\)"),
        (
            torch.zeros(1, 2, 2, 3),
            ValueError,
            r"x must have shape \(N, 3, H, W\), got \(1, 2, 2, 3\)",
        ),
    ],
)
def test_bad_tensors(x, error, message):
    with pytest.raises(error, match=message):
        to_uint8(x)


def test_a_sheet():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 3, 3), np.uint8)
    sheet = tile(images, columns=np.int64(3), gap=1)
    assert sheet.shape == (7, 13, 3)
    for i in range(5):
        y, x = 1 + 3 * (i // 3), 1 + 4 * (i % 3)
        assert (sheet[y : y + 2, x : x + 3] == i).all()
        sheet[y : y + 2, x : x + 3] = 255
    assert (sheet == 255).all()
    assert tile(images, 5, gap=0).shape == (2, 15, 3)


@pytest.mark.parametrize("name, low", [("columns", 1), ("gap", 0)])
def test_bad_sheets(name, low):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    for value in (low - 1, -5, 10**9):
        with pytest.raises(ValueError, match=f"{name} must be an int in {low}…"):
            tile(images, **{"columns": 2, name: value})
    for value in (None, 1.5, "2", True, [1]):
        with pytest.raises(TypeError, match=f"{name} must be an int in {low}…"):
            tile(images, **{"columns": 2, name: value})
    for empty in (images[:0], images[:, :0]):
        with pytest.raises(
            ValueError, match="images must hold at least one picture of at least one pixel"
        ):
            tile(empty, 2)


def test_the_generated_set_needs_neither_pillow_nor_scipy():
    heavy = "[m for m in ('PIL', 'scipy', 'matplotlib') if m in sys.modules]"
    code = (
        f"import sys; from dgm_helpers.sprites import load_sprites; load_sprites(); print({heavy})"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
