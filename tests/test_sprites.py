"""The sources of sprites, the splits, and what a damaged file leads to."""

import gzip
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import results, sprites
from dgm_helpers.sprites import SpriteSet, load_sprites, split_at_random, split_by_group, to_tensor, to_uint8

SHARED = Path(__file__).parents[2] / "shared" / "data"
DAWNLIKE = Path(os.environ.get("DGM_DAWNLIKE", SHARED / "dawnlike"))
LABELS = SHARED / "sprite_labels_nc_1788_16x16.npy.gz"
NO_DAWNLIKE = f"DawnLike's files are not in {DAWNLIKE} (set DGM_DAWNLIKE to their folder)"
needs_dawnlike = pytest.mark.skipif(not DAWNLIKE.is_dir(), reason=NO_DAWNLIKE)
needs_labels = pytest.mark.skipif(not LABELS.exists(), reason=f"the original's labels are not in {LABELS}")


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
    data, record = load_sprites("dawnlike", cache=dawnlike_cache), results.load("data-sprites")["dawnlike"]
    assert record["pictures"] == len(data) and record["groups"] == len(set(data.groups)) and record["sha256"] == data.sha256
    assert record["classes"] == dict(zip(data.classes, np.bincount(data.labels).tolist(), strict=True))
    assert record["colors"] == len(np.unique(data.images.reshape(-1, 3), axis=0))
    for name, split in (("group", split_by_group), ("random", split_at_random)):
        train, held_out = split(data)
        assert record["leak"][name] == pytest.approx(np.isin(held_out.groups, train.groups).mean())


@needs_dawnlike
@pytest.mark.parametrize("path", sprites.DAWNLIKE_FILES)
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:1000] + bytes([b[1000] ^ 1]) + b[1001:], lambda b: b""])
def test_damaged_dawnlike(dawnlike_cache, path, damage):
    local = dawnlike_cache / "dawnlike" / path
    local.write_bytes(damage(local.read_bytes()))
    message = f"{local.name} has .* another SHA-256.*delete it"
    refused(lambda: load_sprites("dawnlike", cache=dawnlike_cache), ValueError, message, dawnlike_cache)


# Downloads


@pytest.fixture
def no_network(monkeypatch):
    def call(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("pooch.downloaders.HTTPDownloader.__call__", call)


@pytest.mark.parametrize("source", ["dawnlike", "original"])
def test_no_network(source, tmp_path, no_network):
    refused(lambda: load_sprites(source, cache=tmp_path), OSError, f'source "{source}": cannot fetch .* no route to host', tmp_path)


@pytest.mark.parametrize("source", ["dawnlike", "original"])
def test_unwritable_cache(source, tmp_path, no_network):
    (tmp_path / "cache").write_text("a file in the way")
    refused(lambda: load_sprites(source, cache=tmp_path / "cache"), OSError, f'source "{source}": cannot fetch', tmp_path)


def test_download_of_other_bytes_is_refused_and_not_kept(tmp_path, monkeypatch):
    def call(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"a page that says: not found")

    monkeypatch.setattr("pooch.downloaders.HTTPDownloader.__call__", call)
    refused(lambda: load_sprites("dawnlike", cache=tmp_path), OSError, "cannot fetch thirteen/Dawnlike.png", tmp_path)


def test_altered_original_in_the_cache(tmp_path):
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "sprites_1788_16x16.npy").write_bytes(b"half of it")
    refused(lambda: load_sprites("original", cache=tmp_path), ValueError, "has 10 bytes .* 68659328 bytes", tmp_path)


# The original's files, by path


@needs_labels
def test_original_labels_repeat_with_period_894():
    raw = gzip.decompress(LABELS.read_bytes())
    size, sha = sprites.ORIGINAL_FILES["sprite_labels_nc_1788_16x16.npy"]
    assert len(raw) == size and hashlib.sha256(raw).hexdigest() == sha
    one_hot = np.load(io.BytesIO(raw), allow_pickle=False)
    assert one_hot.shape == (89_400, 5) and one_hot.dtype == np.float64 and (one_hot.sum(1) == 1).all()
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
    assert len(data) == 2682 and data.classes == ("human", "non-human", "food", "spell", "side-facing") and data.source == str(pair)
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
        (raw(ONE_HOT, lambda b: b[:80] + bytes([b[80] ^ 8]) + b[81:]), f"{ONE_HOT} is not a whole .npy file"),
        (raw(ONE_HOT, lambda b: b[:-1] + bytes([b[-1] ^ 64])), f"{ONE_HOT} must hold one-hot rows"),
        (damaged(IMAGES, lambda x: x.astype(object)), f"{IMAGES} is not a whole .npy file of numbers: .*allow_pickle"),
        (damaged(IMAGES, lambda x: x / 255), rf"{IMAGES} must hold uint8 \(N, 16, 16, 3\), got float64"),
        (damaged(IMAGES, lambda x: x[:, :8]), rf"{IMAGES} must hold uint8 .* got uint8 \(2682, 8, 16, 3\)"),
        (damaged(IMAGES, lambda x: np.array(5)), f"{IMAGES} must hold one array"),
        (damaged(IMAGES, lambda x: x[:0]), f"{ONE_HOT} must hold one row of 5 for each of the 0 pictures"),
        (damaged(ONE_HOT, lambda x: x[:-1]), rf"{ONE_HOT} must hold one row of 5 for each of the 2682 pictures, got \(2681, 5\)"),
        (damaged(ONE_HOT, lambda x: x[:, :4]), rf"{ONE_HOT} must hold one row of 5 .* got \(2682, 4\)"),
        (damaged(ONE_HOT, lambda x: x.argmax(1)), rf"{ONE_HOT} must hold one row of 5 .* got \(2682,\)"),
        (damaged(ONE_HOT, lambda x: x * 0), f"{ONE_HOT} must hold one-hot rows"),
        (damaged(ONE_HOT, lambda x: x + 1), f"{ONE_HOT} must hold one-hot rows"),
        (damaged(ONE_HOT, lambda x: x * np.nan), f"{ONE_HOT} must hold one-hot rows"),
        (lambda folder: (folder / ONE_HOT).unlink(), r"must hold exactly one sprite_labels_\*.npy, got \[\]"),
        (lambda folder: np.save(folder / "sprites_1_16x16.npy", 0), r"must hold exactly one sprites_\[0-9\]\*.npy, got \['sprites_1_"),
    ],
)
def test_bad_npy(pair, damage, message):
    damage(pair)
    refused(lambda: load_sprites(pair), ValueError, message, pair)


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


# A folder of PNGs


@pytest.fixture
def pngs(tmp_path):
    data = load_sprites().subset(np.arange(6))
    for i, image in enumerate(data.images):
        folder = tmp_path / ("birds", "fish")[i % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path


def test_png_folder(pngs):
    data = load_sprites(pngs)
    assert data.classes == ("birds", "fish") and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.images == load_sprites().images[[0, 2, 4, 1, 3, 5]]).all()
    assert len(set(data.groups)) == 6


def test_transparent_png_is_put_on_white(pngs):
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[0] = [10, 20, 30, 255]
    rgba[1] = [10, 20, 30, 128]
    Image.fromarray(rgba).save(pngs / "birds" / "0.png")
    image = load_sprites(pngs).images[0]
    assert (image[0] == [10, 20, 30]).all() and (image[2:] == 255).all()
    assert (image[1] == np.round([10 * 128 / 255 + 127, 20 * 128 / 255 + 127, 30 * 128 / 255 + 127])).all()


@pytest.mark.parametrize(
    "damage, message",
    [
        (raw("birds/2.png", lambda b: b[: len(b) // 2]), "birds/2.png is not a whole PNG"),
        (raw("birds/2.png", lambda b: b[:60] + bytes([b[60] ^ 16]) + b[61:]), "birds/2.png is not a whole PNG"),
        (raw("birds/2.png", lambda b: b"not a picture"), "birds/2.png is not a whole PNG"),
        (lambda folder: Image.new("RGB", (16, 17)).save(folder / "birds" / "2.png"), "birds/2.png must be 16x16 pixels, got 16x17"),
    ],
)
def test_bad_png(pngs, damage, message):
    damage(pngs)
    refused(lambda: load_sprites(pngs), ValueError, message, pngs)


def test_folder_without_pictures(tmp_path):
    (tmp_path / "birds").mkdir()
    (tmp_path / "loose.png").write_bytes(b"")
    refused(lambda: load_sprites(tmp_path), ValueError, r"holds neither .npy files nor sub-folders with PNGs", tmp_path)


@pytest.mark.parametrize("source", ["dawnlik", "/no/such/folder"])
def test_unknown_source(source):
    with pytest.raises(ValueError, match=f'source must be "generated", "dawnlike", "original" or an existing folder, got {source!r}'):
        load_sprites(source)


# Sets, splits, conversions


def small_set(**changes):
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((10, 16, 16, 3), np.uint8)
    arguments = {"images": images, "labels": np.arange(10) % 2, "groups": np.arange(10) // 2, "classes": ("a", "b"), "source": "test"}
    return SpriteSet(**(arguments | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": np.zeros((10, 16, 16, 3))}, "images must be uint8 .* got float64"),
        ({"images": np.zeros((10, 16, 16), np.uint8)}, r"images must be uint8 .* got uint8 \(10, 16, 16\)"),
        ({"images": np.zeros((0, 16, 16, 3), np.uint8)}, "with N >= 1"),
        ({"labels": np.arange(9) % 2}, r"labels must be int64 \(10,\), one per picture, got int64 \(9,\)"),
        ({"labels": np.zeros(10)}, "labels must be int64 .* got float64"),
        ({"groups": np.arange(11)}, r"groups must be int64 \(10,\)"),
        ({"labels": np.full(10, 2)}, r"labels must lie in 0…1, got 2…2"),
        ({"labels": np.full(10, -1)}, r"labels must lie in 0…1, got -1…-1"),
    ],
)
def test_bad_sets(changes, message):
    with pytest.raises(ValueError, match=message):
        small_set(**changes)


def test_a_set_cannot_be_changed():
    data = small_set()
    with pytest.raises(ValueError):
        data.images[0] = 0
    with pytest.raises(AttributeError):
        data.labels = data.labels + 1
    assert data.sha256 != small_set(labels=(np.arange(10) + 1) % 2).sha256


@pytest.mark.parametrize("split", [split_by_group, split_at_random])
def test_splits_part_the_set_and_depend_on_the_seed_only(split):
    data = load_sprites("generated")
    train, held_out = split(data)
    assert len(train) + len(held_out) == len(data) and abs(len(train) / len(data) - 0.8) < 0.01
    assert {x.tobytes() for x in train.images} | {x.tobytes() for x in held_out.images} == {x.tobytes() for x in data.images}
    assert train.sha256 == split(data)[0].sha256 != split(data, seed=1)[0].sha256
    shares = [np.bincount(x.labels) / len(x) for x in (train, held_out)]
    assert np.abs(shares[0] - shares[1]).max() < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_group_split_never_divides_a_group(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, generator.integers(2, 60), 100)
    data = SpriteSet(np.zeros((100, 16, 16, 3), np.uint8), np.zeros(100, np.int64), groups, ("a",), "test")
    train, held_out = split_by_group(data, seed=seed)
    assert not set(train.groups) & set(held_out.groups)
    assert len(train) and len(held_out) and len(train) + len(held_out) == 100


def test_sets_too_small_to_split():
    one = small_set().subset(np.arange(1))
    with pytest.raises(ValueError, match="at least two groups to be split by group, got 1"):
        split_by_group(one)
    with pytest.raises(ValueError, match="at least two pictures to be split, got 1"):
        split_at_random(one)


def test_pictures_and_tensors():
    images = load_sprites("generated").images[:20]
    x = to_tensor(images)
    assert x.shape == (20, 3, 16, 16) and x.dtype == torch.float32 and x.min() >= -1 and x.max() == 1
    assert (to_uint8(x) == images).all()
    assert to_uint8(torch.full((1, 3, 1, 1), 7.0)).tolist() == [[[[255, 255, 255]]]]
    with pytest.raises(ValueError, match="x must be finite"):
        to_uint8(x / 0)
