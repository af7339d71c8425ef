"""What lab 4 says in words about the recorded training runs holds for the records."""

import pytest
import torch

from dgm_helpers import results
from dgm_helpers.schedules import NoiseSchedule
from dgm_helpers.sprites import load_sprites, split_by_group
from dgm_helpers.training import load_pretrained

NAMES = ("dawnlike", "generated")


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_was_run_as_the_lab_says(name):
    record = results.load(f"train-sprites-{name}")
    settings = record["settings"]
    assert settings["lr"] == 2e-4 and settings["batch_size"] == 64
    assert settings["ema_decay"] == 0.9995 and settings["split"] == "group"
    assert settings["mirror"] == (name == "dawnlike")
    assert record["provenance"]["threads"] == 1
    network = load_pretrained(f"sprites-{name}")
    assert record["parameters"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_held_out_loss_stops_falling_before_the_end(name):
    """By about a hundredth of its least value it rises again; the plain network's is least at the end."""
    history = results.load(f"train-sprites-{name}")["history"]
    losses = [entry["ema_held_out_loss"] for entry in history]
    assert min(losses) < losses[-1] < 1.015 * min(losses)
    plain = [e["ema_held_out_loss"] for e in results.load("train-plain-generated")["history"]]
    assert min(plain) == plain[-1] > losses[-1]


def test_with_the_head_a_network_is_better_on_new_pictures_and_nearer_to_memorising():
    plain, head = (
        results.load(f"train-{kind}-generated")["history"][-1] for kind in ("plain", "sprites")
    )
    assert head["ema_held_out_loss"] < 0.75 * plain["ema_held_out_loss"]
    gaps = [last["ema_held_out_loss"] / last["ema_train_loss"] for last in (plain, head)]
    assert gaps[1] > gaps[0]


def test_the_average_of_the_shorter_run_never_reaches_its_decay():
    dawnlike, generated = (results.load(f"train-sprites-{name}")["steps"] for name in NAMES)
    assert (1 + dawnlike) / (10 + dawnlike) < 0.9995 <= (1 + generated) / (10 + generated)


def test_the_run_on_the_generated_set_ends_below_the_affine_floor():
    data = load_sprites("generated")
    record = results.load("train-sprites-generated")
    assert record["settings"]["data_sha256"] == data.sha256
    pictures = split_by_group(data)[0].tensors()[0].flatten(1).double()
    variances = torch.linalg.eigvalsh(torch.cov(pictures.T, correction=0)).clamp(min=0)
    a = NoiseSchedule.linear().alpha_bar[1:, None]
    floor = (a * variances / (a * variances + 1 - a)).mean().item()
    assert record["history"][-1]["ema_held_out_loss"] < 0.25 * floor
