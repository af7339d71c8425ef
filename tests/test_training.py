"""The training loop: exact resumption after kill -9, files that notice damage, errors that name the argument."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from dgm_helpers.networks import UNet
from dgm_helpers.training import load_checkpoint, load_pretrained, save_checkpoint, save_pretrained, train

TINY = ["--channels", "8", "8", "8", "--batch-size", "256", "--threads", "1"]


def test_killed_five_times_and_resumed_equals_an_uninterrupted_run(tmp_path):
    def command(name):
        return [sys.executable, "-m", "dgm_helpers", "train", "--epochs", "2", *TINY, "--out", str(tmp_path), "--name", name]

    start = time.monotonic()
    subprocess.run(command("whole"), check=True, capture_output=True)
    whole_seconds = time.monotonic() - start

    moments = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0.3, 1.0) * whole_seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command("killed"), check=True, capture_output=True)

    whole, _ = load_checkpoint(tmp_path / "whole" / "checkpoint.safetensors")
    killed, _ = load_checkpoint(tmp_path / "killed" / "checkpoint.safetensors")
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert load_pretrained(tmp_path / "killed" / "killed.safetensors").info["steps"] == 28


def regression(generator=0, **options):
    """A small regression run; returns its network, its losses and its averaged network."""
    g = torch.Generator().manual_seed(generator)
    x = torch.randn(100, 3, generator=g)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    arguments = {"epochs": 40, "batch_size": 32, "lr": 0.05, "ema_decay": 0.9, "generator": g} | options
    steps = list(train(model, lambda net, a, b, generator: (net(a) - b).square().mean(1), (x, y), **arguments))
    return model, [step.loss for step in steps], steps[-1].ema if steps else None


def test_training_finds_the_regression_weights():
    model, losses, ema = regression()
    assert len(losses) == 160  # 40 epochs of 4 batches, the last of 4 items
    assert losses[-1] < 1e-4 * losses[0]
    torch.testing.assert_close(ema.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.02, rtol=0)


def test_average_is_the_exponential_moving_average_with_its_warm_up():
    weights, g = [], torch.Generator().manual_seed(0)
    model = nn.Linear(1, 1)
    data = (torch.ones(3, 1),)
    for step in train(model, lambda net, x, generator: net(x).square().flatten(), data, epochs=3, batch_size=1, ema_decay=0.5, generator=g):
        weights.append(model.weight.item())
        k = len(weights) - 1
        decay = min(0.5, (1 + k) / (10 + k))  # reaches 0.5 at k = 8
        average = decay * average + (1 - decay) * weights[-1] if k else weights[0]
        assert step.ema.weight.item() == pytest.approx(average, abs=1e-6)


def test_stopping_between_epochs_changes_nothing(tmp_path):
    whole = regression(epochs=6)[0]
    regression(epochs=2, checkpoint=tmp_path / "c.safetensors")
    resumed = regression(epochs=6, checkpoint=tmp_path / "c.safetensors")[0]
    assert torch.equal(whole.weight, resumed.weight)


def test_checkpoint_of_another_run_is_refused(tmp_path):
    regression(epochs=1, checkpoint=tmp_path / "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    with pytest.raises(ValueError, match="checkpoint .* belongs to another run"):
        regression(epochs=1, lr=0.1, checkpoint=tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs must be a positive int, got 0"),
        ({"batch_size": -1}, "batch_size must be a positive int, got -1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\), got 1.0"),
        ({"lr": 1e30}, "the loss became (nan|inf) at step"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        regression(**options)


def test_unequal_data_are_refused_before_work_starts():
    with pytest.raises(ValueError, match=r"data must be tensors of one positive length, got lengths \[2, 3\]"):
        train(nn.Linear(1, 1), None, (torch.ones(2), torch.ones(3)), epochs=1, generator=torch.Generator())


def test_checkpoint_round_trip_and_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"w": torch.arange(6.0).reshape(2, 3)}, {"note": "π", "history": [{"loss": 0.1}]})
    tensors, info = load_checkpoint(path)
    assert torch.equal(tensors["w"], torch.arange(6.0).reshape(2, 3))
    assert info == {"note": "π", "history": [{"loss": 0.1}]}
    assert list(tmp_path.iterdir()) == [path]

    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_checkpoint(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="is damaged: the SHA-256"):
        load_checkpoint(path)
    path.write_bytes(whole.replace(b"note", b"nose"))
    with pytest.raises(ValueError, match="is damaged: the SHA-256"):
        load_checkpoint(path)
    with pytest.raises(OSError):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_unwritable_folder_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "a.safetensors", {}, {})
    assert (tmp_path / "file").read_text() == "in the way"


def test_pretrained_round_trip(tmp_path):
    torch.manual_seed(0)
    model = UNet((8, 8, 16), n_classes=2)
    save_pretrained(tmp_path / "net.safetensors", model, {"steps": 3})
    loaded = load_pretrained(tmp_path / "net.safetensors")
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([1, 1000]), torch.tensor([0, 1])
    torch.testing.assert_close(loaded(x, t, y), model(x, t, y))
    assert loaded.info["steps"] == 3 and not loaded.training


def test_pretrained_errors(tmp_path):
    with pytest.raises(ValueError, match="name must be one of .* got 'sprites-nowhere'"):
        load_pretrained("sprites-nowhere")
    save_checkpoint(tmp_path / "c.safetensors", {"x": torch.ones(1)}, {"number": 1})
    with pytest.raises(ValueError, match="holds no network"):
        load_pretrained(tmp_path / "c.safetensors")
