"""The training loop: exact resumption after kill -9, files that notice damage, errors that name the argument."""

import copy
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dgm_helpers.arguments import seeded
from dgm_helpers.networks import VAE, PCAGaussian, ScoreMLP, SpriteClassifier, UNet
from dgm_helpers.sprites import load_sprites
from dgm_helpers.training import (
    Step,
    load_average,
    load_pretrained,
    load_tensors,
    save_pretrained,
    save_tensors,
    train,
)

RUN = """
import sys
from dgm_helpers.recipes import train_sprites
source, out, name = sys.argv[1:]
options = {"epochs": 4, "batch_size": 32, "channels": (16, 8, 8), "threads": 1, "progress": False}
train_sprites(source=source, out=out, name=name, **options)
"""


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder with a few of the generated sprites."""
    folder, data = tmp_path_factory.mktemp("few"), load_sprites()
    rows = [i for label in range(5) for i in np.flatnonzero(data.labels == label)[:40]]
    for i in rows:
        (folder / data.classes[data.labels[i]]).mkdir(exist_ok=True)
        Image.fromarray(data.images[i]).save(folder / data.classes[data.labels[i]] / f"{i}.png")
    return folder


def test_killed_five_times_and_resumed_equals_an_uninterrupted_run(tmp_path, few):
    def command(name):
        return [sys.executable, "-c", RUN, str(few), str(tmp_path), name]

    start = time.monotonic()
    subprocess.run(command("whole"), check=True, capture_output=True)
    whole_seconds = time.monotonic() - start

    moments = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(moments.uniform(0.3, 1.0) * whole_seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command("killed"), check=True, capture_output=True)

    whole, _ = load_tensors(tmp_path / "whole" / "checkpoint.safetensors")
    killed, _ = load_tensors(tmp_path / "killed" / "checkpoint.safetensors")
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert load_pretrained(tmp_path / "killed" / "killed.safetensors").info["steps"] == 20


def regression(generator=0, **options):
    """A small regression run; returns its network, its losses and its averaged network."""
    g = seeded(generator)
    x = torch.randn(100, 3, generator=g)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    arguments = {
        "epochs": 40,
        "batch_size": 32,
        "lr": 0.05,
        "ema_decay": 0.9,
        "generator": g,
    } | options
    steps = list(
        train(
            model, lambda net, a, b, generator: (net(a) - b).square().mean(1), (x, y), **arguments
        )
    )
    return model, [step.loss for step in steps], steps[-1].ema if steps else None


def test_training_finds_the_regression_weights():
    model, losses, ema = regression()
    assert len(losses) == 160  # 40 epochs of 4 batches, the last of 4 items
    assert losses[-1] < 1e-4 * losses[0]
    torch.testing.assert_close(ema.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.02, rtol=0)


def test_average_is_the_exponential_moving_average_with_its_warm_up():
    weights, average, g = [], math.nan, seeded(0)
    model = nn.Linear(1, 1)
    data = (torch.ones(3, 1),)
    for step in train(
        model,
        lambda net, x, generator: net(x).square().flatten(),
        data,
        epochs=3,
        batch_size=1,
        ema_decay=0.5,
        generator=g,
    ):
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


def mean_square(model, x, generator):
    return (model(x) - x).square().flatten(1).mean(1)


def run(path=None, *, epochs=1, **options):
    """A tiny run; returns its network."""
    torch.manual_seed(0)
    arguments = {"model": nn.Linear(2, 2), "loss": mean_square, "data": (torch.ones(4, 2),)}
    arguments |= {"generator": seeded(0), "checkpoint": path, "epochs": epochs} | options
    steps = train(**arguments)
    for step in steps:
        assert isinstance(step, Step)
    return arguments["model"]


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": (24, 48, 72)},
        {1: "one", 2.5: (1, [2, (3,)]), None: {3: {4: ()}}},
        {"name": "é\ud800", "float": np.float64(0.1), "nested": [{"a": (1,)}, ((), {})]},
        {},
        None,
    ],
)
def test_a_run_continues_from_its_own_checkpoint(tmp_path, settings):
    whole = run(epochs=3, settings=settings)
    before = copy.deepcopy(settings)
    run(tmp_path / "new" / "folder" / "c.safetensors", epochs=1, settings=settings)
    resumed = run(str(tmp_path / "new" / "folder" / "c.safetensors"), epochs=3, settings=settings)
    assert torch.equal(whole.weight, resumed.weight) and settings == before


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"a": {1, 2}}, TypeError),
        ({"a": np.int64(1)}, TypeError),
        ({"a": torch.ones(1)}, TypeError),
        ({"a": b"x"}, TypeError),
        ({(1, 2): 3}, TypeError),
        ({"a": math.nan}, ValueError),
        ({"a": [{"b": math.inf}]}, ValueError),
        ([1], TypeError),
        ("a", TypeError),
        ({"lr": 0.1}, ValueError),
    ],
)
def test_settings_that_json_cannot_hold_are_refused_before_the_first_step(
    tmp_path, settings, error
):
    with pytest.raises(error, match="^settings must "):
        run(tmp_path / "c.safetensors", settings=settings, loss=never)
    assert list(tmp_path.iterdir()) == []


def never(*arguments):
    raise AssertionError("work was begun")


@pytest.mark.parametrize(
    "make, shape", [(lambda: UNet((8, 8, 8)), (3, 16, 16)), (VAE, (3, 16, 16))]
)
def test_a_convolutional_network_is_trained_in_channels_last_also_when_it_continues(
    tmp_path, make, shape
):
    """Weights and average lie in one format from the first step on; a continued run has the same bits."""
    x = torch.rand(12, *shape, generator=seeded(1))

    def loss(model, x, generator):
        if isinstance(model, VAE):
            return model.negative_elbo(x, torch.zeros(len(x), dtype=torch.int64), generator)
        return (model(x, 5) - x).square().flatten(1).mean(1)

    def trained(path, epochs):
        torch.manual_seed(0)
        model = make()
        options = {"epochs": epochs, "batch_size": 4, "lr": 1e-3, "generator": seeded(0)}
        steps = list(train(model, loss, (x,), checkpoint=path, **options))
        return model, steps[-1].ema

    whole, average = trained(None, 3)
    trained(tmp_path / "c.safetensors", 1)
    resumed, again = trained(tmp_path / "c.safetensors", 3)
    for network in (whole, average, resumed, again):
        for name, weight in network.named_parameters():
            if weight.ndim == 4:
                assert weight.is_contiguous(memory_format=torch.channels_last), name
    for one, other in ((whole, resumed), (average, again)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))


def test_moments_are_restored_in_the_memory_format_of_their_parameter(tmp_path, monkeypatch):
    made, Adam = [], torch.optim.Adam
    monkeypatch.setattr(
        torch.optim, "Adam", lambda *arguments: made.append(Adam(*arguments)) or made[-1]
    )
    x = torch.rand(4, 3, 16, 16, generator=seeded(1))
    for epochs in (1, 2):
        torch.manual_seed(0)
        options = {"epochs": epochs, "generator": seeded(0), "checkpoint": tmp_path / "c"}
        list(
            train(
                UNet((8, 8, 8)),
                lambda model, x, g: (model(x, 5) - x).square().mean((1, 2, 3)),
                (x,),
                **options,
            )
        )
    for optimizer in made:
        for weight, state in optimizer.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()


def test_networks_of_others_keep_their_memory_format():
    class Old(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(16, 3)

        def forward(self, x):
            h = self.convolution(x)
            return self.linear(h.view(len(h), -1))  # a view of channels_last would be an error

    torch.manual_seed(0)
    x = torch.rand(3, 3, 4, 4, generator=seeded(0))
    run(model=Old(), data=(x,), loss=lambda model, x, generator: model(x).square().mean(1))


def test_nothing_is_made_on_the_default_device():
    expected = run(epochs=2).weight
    torch.manual_seed(0)
    model, x = nn.Linear(2, 2), torch.ones(4, 2)
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        run(model=model, data=(x,), epochs=2)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(model.weight, expected)


def test_the_global_random_state_is_left_alone(tmp_path):
    model = nn.Linear(2, 2)
    before = torch.get_rng_state()
    list(
        train(
            model,
            mean_square,
            (torch.ones(4, 2),),
            epochs=2,
            generator=seeded(0),
            checkpoint=tmp_path / "c",
        )
    )
    load_pretrained("vae-generated"), load_average(model, tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), before)


FROZEN = nn.Linear(2, 2).requires_grad_(False)
FOUR = torch.ones(4, 2)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"model": None}, TypeError, "model must be a torch.nn.Module, got None"),
        ({"model": lambda x: x}, TypeError, "model must be a torch.nn.Module, got function"),
        (
            {"model": FROZEN},
            ValueError,
            "model must have parameters that require a gradient, got none",
        ),
        ({"model": nn.ReLU()}, ValueError, "model must have parameters that require a gradient"),
        ({"loss": None}, TypeError, "loss must be a callable, got None"),
        ({"data": None}, TypeError, "data must be a tuple of tensors, got None"),
        ({"data": ()}, TypeError, "data must be a tuple of tensors, got tuple"),
        (
            {"data": FOUR},
            TypeError,
            "data must be a tuple of tensors, got a tensor of torch.float32",
        ),
        (
            {"data": (FOUR.numpy(),)},
            TypeError,
            "data must hold tensors .* got a numpy array of float32",
        ),
        ({"data": (FOUR, [1, 2, 3, 4])}, TypeError, "data must hold tensors .* got list"),
        (
            {"data": (FOUR, torch.tensor(1.0))},
            TypeError,
            "data must hold tensors with an axis of items",
        ),
        (
            {"data": (FOUR, FOUR[:3])},
            ValueError,
            r"data must be .* one positive length, got lengths \[4, 3\]",
        ),
        (
            {"data": (FOUR[:0],)},
            ValueError,
            r"data must be .* one positive length, got lengths \[0\]",
        ),
        ({"data": (FOUR / 0 * 0,)}, ValueError, "data must be finite"),
        ({"epochs": 0}, ValueError, "epochs must be an int of at least 1, got 0"),
        ({"epochs": 1.0}, TypeError, "epochs must be an int of at least 1, got float 1.0"),
        ({"epochs": None}, TypeError, "epochs must be an int"),
        ({"epochs": True}, TypeError, "epochs must be an int"),
        ({"batch_size": -1}, ValueError, "batch_size must be an int of at least 1, got -1"),
        ({"batch_size": "64"}, TypeError, "batch_size must be an int of at least 1, got str '64'"),
        ({"lr": 0.0}, ValueError, "lr must be a finite number above 0, got 0.0"),
        ({"lr": math.nan}, ValueError, "lr must be a finite number above 0, got nan"),
        ({"lr": "1e-3"}, TypeError, "lr must be a finite number above 0, got str '1e-3'"),
        (
            {"ema_decay": 1.0},
            ValueError,
            "ema_decay must be a finite number of at least 0 and below 1, got 1.0",
        ),
        ({"ema_decay": None}, TypeError, "ema_decay must be a finite number"),
        ({"generator": None}, TypeError, "generator must be a torch.Generator"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator"),
        ({"evaluate": 3}, TypeError, "evaluate must be a callable, got int 3"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path, got int 3"),
        ({"checkpoint": ""}, ValueError, "checkpoint must be the path of a file"),
    ],
)
def test_arguments_are_checked_before_the_first_step(options, error, message):
    arguments = {
        "model": nn.Linear(2, 2),
        "loss": never,
        "data": (FOUR,),
        "epochs": 1,
        "generator": seeded(0),
    }
    with pytest.raises(error, match=f"^{message}"):
        train(**arguments | options)  # not iterated over


def test_numpy_numbers_are_numbers(tmp_path):
    numbers = {
        "epochs": np.int64(2),
        "batch_size": np.int32(3),
        "lr": np.float32(0.1),
        "ema_decay": np.float64(0.5),
    }
    run(tmp_path / "c", **numbers | {"epochs": np.int64(1)})
    run(tmp_path / "c", **numbers)
    assert load_tensors(tmp_path / "c")[1]["settings"] == {
        "batch_size": 3,
        "lr": float(np.float32(0.1)),
        "ema_decay": 0.5,
        "items": 4,
    }


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match="checkpoint: cannot write .*file"):
        train(
            nn.Linear(2, 2),
            never,
            (FOUR,),
            epochs=1,
            generator=seeded(0),
            checkpoint=tmp_path / "file" / "c",
        )
    with pytest.raises(ValueError, match="checkpoint must be the path of a file, got the folder"):
        train(nn.Linear(2, 2), never, (FOUR,), epochs=1, generator=seeded(0), checkpoint=tmp_path)
    train(
        nn.Linear(2, 2),
        never,
        (FOUR,),
        epochs=1,
        generator=seeded(0),
        checkpoint=tmp_path / "a" / "b" / "c",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]  # asking makes nothing


@pytest.mark.parametrize(
    "loss, message",
    [
        (
            lambda model, x, g: mean_square(model, x, g).mean(),
            r"loss must return the loss of each item, .* \(4,\), got a tensor of torch.float32, shape \(\)",
        ),
        (
            lambda model, x, g: mean_square(model, x, g)[:, None],
            r"loss must return .* shape \(4, 1\)",
        ),
        (
            lambda model, x, g: mean_square(model, x, g).mean().item(),
            "loss must return .* got float",
        ),
        (
            lambda model, x, g: mean_square(model, x, g).detach().numpy(),
            "loss must return .* got a numpy array",
        ),
        (
            lambda model, x, g: torch.ones(4, dtype=torch.int64),
            "loss must return .* got a tensor of torch.int64",
        ),
        (lambda model, x, g: None, "loss must return .* got None"),
        (
            lambda model, x, g: mean_square(model, x, g).detach(),
            "loss must depend on the parameters of model",
        ),
        (lambda model, x, g: mean_square(model, x, g) / 0, "the loss became (nan|inf) at step 1"),
    ],
)
def test_what_a_loss_returns_is_checked(loss, message):
    with pytest.raises(ValueError, match=message):
        run(loss=loss)


def test_one_picture_with_a_scalar_loss_is_named():
    with pytest.raises(ValueError, match=r"loss must return the loss of each item"):
        run(loss=lambda model, x, g: mean_square(model, x, g).mean(), data=(FOUR[:1],))


def test_weights_that_stop_being_finite_are_not_written(tmp_path):
    run(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()

    class Root(torch.autograd.Function):  # a loss that is finite with a gradient that is not
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * math.nan

    with pytest.raises(ValueError, match="the weights became NaN or infinite at step 2"):
        run(tmp_path / "c", epochs=2, loss=lambda model, x, g: Root.apply(mean_square(model, x, g)))
    with pytest.raises(ValueError, match="the loss became (nan|inf) at step"):
        run(tmp_path / "d", epochs=9, lr=1e30)
    assert (tmp_path / "c").read_bytes() == before


@pytest.mark.parametrize(
    "answer, error, message",
    [
        (None, TypeError, "evaluate must return a dictionary of numbers, got None"),
        (0.5, TypeError, "evaluate must return a dictionary of numbers, got float"),
        ({1: 0.5}, TypeError, "evaluate must return a dictionary of numbers"),
        ({"a": "b"}, TypeError, "evaluate's a must be a finite number, got str 'b'"),
        ({"a": math.nan}, ValueError, "evaluate's a must be a finite number, got nan"),
    ],
)
def test_what_evaluate_returns_is_checked(answer, error, message):
    with pytest.raises(error, match=message):
        run(evaluate=lambda ema: answer)


def test_evaluate_may_return_tensors_and_numpy_numbers(tmp_path):
    run(tmp_path / "c", evaluate=lambda ema: {"a": torch.tensor(0.5), "b": np.float32(2), "c": 3})
    (entry,) = load_tensors(tmp_path / "c")[1]["history"]
    assert [entry[name] for name in "abc"] == [0.5, 2.0, 3.0]


def test_what_is_no_checkpoint_of_this_run_is_refused(tmp_path):
    path = tmp_path / "c"
    run(path, epochs=3)
    before = path.read_bytes()
    for options, message in (
        ({"epochs": 2}, "has 3 epochs already, got epochs = 2"),
        ({"epochs": 3, "data": (torch.ones(5, 2),)}, "belongs to another run"),
        ({"epochs": 3, "settings": {"a": 1}}, "belongs to another run"),
        (
            {"epochs": 3, "model": nn.Linear(2, 2, bias=False)},
            "does not hold the weights of this Linear: bias has shape",
        ),
        (
            {"epochs": 4, "model": nn.Bilinear(2, 2, 2)},
            "does not hold the weights of this Bilinear",
        ),
    ):
        with pytest.raises(ValueError, match=f"^checkpoint .*{message}"):
            run(path, **options | {"loss": never})
    run(path, epochs=3, loss=never)  # it is finished
    assert path.read_bytes() == before
    save_tensors(path, {"a": torch.ones(1)}, {"settings": {}})
    with pytest.raises(ValueError, match="checkpoint .* was not written by train: it holds"):
        run(path, epochs=3, loss=never)
    path.write_bytes(before[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        run(path, epochs=3, loss=never)


def test_the_average_of_a_checkpoint(tmp_path):
    model, losses, ema = regression(epochs=2, checkpoint=tmp_path / "c")
    fresh = nn.Linear(3, 1)
    info = load_average(fresh, str(tmp_path / "c"))
    assert torch.equal(fresh.weight, ema.weight) and not torch.equal(fresh.weight, model.weight)
    assert (
        info["number"] == len(losses) == 8
        and len(info["history"]) == 2
        and info["settings"]["lr"] == 0.05
    )
    kept = nn.Linear(3, 2)
    weight = kept.weight.clone()
    with pytest.raises(ValueError, match="does not hold the weights of this Linear"):
        load_average(kept, tmp_path / "c")
    assert torch.equal(kept.weight, weight)
    with pytest.raises(TypeError, match="model must be a torch.nn.Module"):
        load_average(None, tmp_path / "c")
    save_pretrained(tmp_path / "p.safetensors", ScoreMLP(width=4), {})
    with pytest.raises(ValueError, match="was not written by train"):
        load_average(ScoreMLP(width=4), tmp_path / "p.safetensors")
    with pytest.raises(OSError):
        load_average(fresh, tmp_path / "missing")
    for wrong in (None, 3, tmp_path):
        with pytest.raises((TypeError, ValueError), match="^checkpoint must be "):
            load_average(fresh, wrong)


def test_checkpoint_round_trip_and_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(
        path, {"w": torch.arange(6.0).reshape(2, 3)}, {"note": "π", "history": [{"loss": 0.1}]}
    )
    tensors, info = load_tensors(path)
    assert torch.equal(tensors["w"], torch.arange(6.0).reshape(2, 3))
    assert info == {"note": "π", "history": [{"loss": 0.1}]}
    assert list(tmp_path.iterdir()) == [path]

    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_tensors(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="is damaged: the SHA-256"):
        load_tensors(path)
    path.write_bytes(whole.replace(b"note", b"nose"))
    with pytest.raises(ValueError, match="is damaged: the SHA-256"):
        load_tensors(path)
    with pytest.raises(OSError):
        load_tensors(tmp_path / "missing.safetensors")


def test_unwritable_folder_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match="cannot write"):
        save_tensors(tmp_path / "file" / "a.safetensors", {}, {})
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.uint8,
        torch.bool,
        torch.complex64,
        torch.int64,
    ],
)
def test_tensors_of_every_dtype_come_back_as_they_were(tmp_path, dtype):
    x = torch.rand(2, 3, 4, 4, generator=seeded(0)).mul(9).to(dtype)
    tensors = {
        "a": x,
        "last": x.to(memory_format=torch.channels_last),
        "part": x[:, 1],
        "one": x[0, 0, 0, 0],
        "none": x[:0],
        "é": x.flatten(),
    }
    save_tensors(tmp_path / "a", tensors, {"tuple": (1, 2), 3: 4})
    loaded, info = load_tensors(str(tmp_path / "a"))
    assert loaded.keys() == tensors.keys() and info == {"tuple": [1, 2], "3": 4}
    for name, tensor in tensors.items():
        assert loaded[name].dtype == dtype and torch.equal(loaded[name], tensor)


def test_what_was_loaded_does_not_change_with_the_file(tmp_path):
    save_tensors(tmp_path / "a", {"x": torch.ones(1000)}, {})
    x = load_tensors(tmp_path / "a")[0]["x"]
    size = (tmp_path / "a").stat().st_size
    with open(tmp_path / "a", "r+b") as file:
        file.write(bytes(size))
    assert torch.equal(x, torch.ones(1000))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((None, {}, {}), TypeError, "path must be a path, got None"),
        ((3, {}, {}), TypeError, "path must be a path, got int 3"),
        (("", {}, {}), ValueError, "path must be the path of a file"),
        (("a\0b", {}, {}), ValueError, "path must be the path of a file"),
        (("x", None, {}), TypeError, "tensors must be a dictionary of tensors, got None"),
        (
            ("x", [torch.ones(1)], {}),
            TypeError,
            "tensors must be a dictionary of tensors, got list",
        ),
        (("x", {"a": [1.0]}, {}), TypeError, "tensors must hold tensors with names, got 'a': list"),
        (
            ("x", {"a": np.ones(2)}, {}),
            TypeError,
            "tensors must hold tensors with names, got 'a': a numpy array",
        ),
        (
            ("x", {1: torch.ones(1)}, {}),
            TypeError,
            "tensors must hold tensors with names, got 1: a tensor",
        ),
        (
            ("x", {"a": torch.ones(1, device="meta")}, {}),
            ValueError,
            "tensors must hold dense tensors with data, got 'a'",
        ),
        (
            ("x", {"a": torch.eye(2).to_sparse()}, {}),
            ValueError,
            "tensors must hold dense tensors with data, got 'a'",
        ),
        (
            ("x", {"__metadata__": torch.ones(1)}, {}),
            ValueError,
            "tensors must hold dense tensors with data",
        ),
        (
            ("x", {"a": torch.ones(1, dtype=torch.complex128)}, {}),
            ValueError,
            "tensors must have dtypes that safetensors knows",
        ),
        (("x", {}, None), TypeError, "info must be a dictionary, got None"),
        (("x", {}, {"a": {1}}), TypeError, "info must be a dictionary that JSON can hold"),
        (("x", {}, {"a": math.nan}), ValueError, "info must be a dictionary that JSON can hold"),
    ],
)
def test_bad_input_of_save_tensors_is_named_and_leaves_no_file(
    tmp_path, monkeypatch, arguments, error, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^{message}"):
        save_tensors(*arguments)
    assert list(tmp_path.iterdir()) == []


def bad_files(folder):
    """Paths that hold no network, with the error each is worth."""
    (folder / "empty.safetensors").write_bytes(b"")
    torch.save({"a": torch.ones(2)}, folder / "torch.safetensors")
    (folder / "pickle.safetensors").write_bytes(pickle.dumps({"a": 1}))
    (folder / "text.safetensors").write_text("{}", encoding="utf-8")
    save_pretrained(folder / "whole.safetensors", ScoreMLP(width=4), {})
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[:-7])
    (folder / "altered.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (folder / "folder.safetensors").mkdir()
    names = ("empty", "torch", "pickle", "text", "truncated", "altered", "folder")
    return {folder / f"{name}.safetensors": ValueError for name in names}


def test_files_that_hold_nothing_are_named(tmp_path):
    for path, error in bad_files(tmp_path).items():
        for load in (load_tensors, load_pretrained):
            with pytest.raises(error) as raised:
                load(path)
            assert path.stem in str(raised.value)
    for load in (load_tensors, load_pretrained):
        with pytest.raises(OSError, match="missing"):
            load(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["sprites-generated"], UNet])
def test_a_path_is_a_string_or_a_path(wrong):
    with pytest.raises(TypeError, match="path must be a path, got"):
        load_tensors(wrong)
    with pytest.raises(
        TypeError, match="name must be one of .*sprites-generated.* or a .safetensors path, got"
    ):
        load_pretrained(wrong)


@pytest.mark.parametrize(
    "wrong",
    ["", "sprites-nowhere", "/", ".", "..", "../weights/sprites-generated", "a\0", "weights.pt"],
)
def test_unknown_names_are_refused_with_the_known_ones(wrong):
    with pytest.raises(
        ValueError, match="name must be one of .*sprites-generated.* or a .safetensors path, got"
    ):
        load_pretrained(wrong)


NETWORKS = (
    lambda: UNet((8, 8, 16), n_classes=2),
    lambda: ScoreMLP(width=4),
    lambda: VAE(2, 4),
    lambda: SpriteClassifier(3),
)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pretrained_round_trip(tmp_path, make, dtype):
    torch.manual_seed(0)
    model = make().to(dtype)
    save_pretrained(tmp_path / "net.safetensors", model, {"steps": 3})
    loaded = load_pretrained(tmp_path / "net.safetensors")
    assert loaded.info["steps"] == 3 and not loaded.training and loaded.config == model.config
    assert type(loaded) is type(model) and loaded.state_dict().keys() == model.state_dict().keys()
    for a, b in zip(model.parameters(), loaded.parameters()):
        assert a.dtype == b.dtype and torch.equal(a, b)


def test_half_precision_is_for_files_only(tmp_path):
    model = ScoreMLP(width=4)
    wanted = {name: weight.half().float() for name, weight in model.state_dict().items()}
    save_pretrained(tmp_path / "net.safetensors", model.half(), {})
    loaded = load_pretrained(tmp_path / "net.safetensors").state_dict()
    assert all(loaded[name].dtype == torch.float32 for name in wanted)
    assert all(torch.equal(loaded[name], weight) for name, weight in wanted.items())


def test_a_released_network_can_be_trained_further_copied_and_saved(tmp_path):
    model = load_pretrained("vae-generated")
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    x = torch.rand(8, 3, 16, 16, generator=seeded(0)) * 2 - 1
    labels = torch.arange(8) % 5
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(
            other.sample(labels, generator=seeded(1)), model.sample(labels, generator=seeded(1))
        )
        assert other.info == model.info
    options = {"epochs": 1, "generator": seeded(0), "lr": 1e-3}
    list(train(model, VAE.negative_elbo, (x, labels), **options))
    assert all(not torch.equal(first[name], weight) for name, weight in model.state_dict().items())
    again = load_pretrained("vae-generated")
    assert all(torch.equal(first[name], weight) for name, weight in again.state_dict().items())
    save_pretrained(tmp_path / "v.safetensors", model, {})
    assert torch.equal(load_pretrained(tmp_path / "v.safetensors").log_variance, model.log_variance)


def test_files_of_networks_that_do_not_fit_are_value_errors(tmp_path):
    path = tmp_path / "a.safetensors"
    save_pretrained(path, ScoreMLP(width=4), {})
    tensors, info = load_tensors(path)
    config, (first, *_) = info["config"], tensors
    for tensors_, changes, message in (
        (
            tensors,
            {"network": "Transformer"},
            "holds a network 'Transformer', not UNet, PaletteUNet, FourierUNet, ScoreMLP, VAE, SpriteClassifier",
        ),
        (tensors, {"network": "math"}, "holds a network 'math'"),
        (tensors, {"network": "PCAGaussian"}, "holds a network 'PCAGaussian'"),
        (tensors, {"network": ["ScoreMLP"]}, "holds a network .'ScoreMLP'.,"),
        (tensors, {"network": None}, "holds a network None"),
        (tensors, {"network": "UNet"}, "holds a UNet of another kind"),
        (tensors, {"config": {**config, "heads": 2}}, "holds a ScoreMLP of another kind: .*heads"),
        (tensors, {"config": None}, "holds a ScoreMLP of another kind"),
        (
            tensors,
            {"config": {**config, "width": "4"}},
            "holds a ScoreMLP of another kind: width must be an int",
        ),
        (
            tensors,
            {"config": {**config, "width": 8}},
            "does not hold the weights of this ScoreMLP: net.0.bias has shape .4,., not .8,.",
        ),
        (tensors, {"config": {**config, "depth": 1}}, "does not hold the weights of this ScoreMLP"),
        (
            tensors,
            {"config": {**config, "width": 10**9}},
            "does not hold the weights of this ScoreMLP",
        ),  # of 4 GB each
        (
            {**tensors, "more": torch.ones(1)},
            {},
            "does not hold the weights of this ScoreMLP: more has shape .1,., not None",
        ),
        ({name: tensors[name] for name in list(tensors)[1:]}, {}, "has shape None, not"),
        (
            {**tensors, first: tensors[first].long()},
            {},
            "weights that are not floating-point numbers",
        ),
    ):
        save_tensors(path, tensors_, {**info, **changes})
        with pytest.raises(ValueError, match=message):
            load_pretrained(path)
    save_tensors(path, tensors, {"config": config})
    with pytest.raises(ValueError, match=r"holds no network, only \['config'\]"):
        load_pretrained(path)


class Mine(ScoreMLP):
    pass


def test_nothing_is_saved_that_cannot_be_read_again(tmp_path):
    path = tmp_path / "c.safetensors"
    pictures = torch.zeros(4, 3, 4, 4), torch.arange(4) % 2
    for model in (Mine(), nn.Linear(2, 2), None, "unet", PCAGaussian(*pictures), UNet):
        with pytest.raises(
            TypeError,
            match="model must be a UNet, PaletteUNet, FourierUNet, ScoreMLP, VAE, SpriteClassifier, got",
        ):
            save_pretrained(path, model, {})
    wider = ScoreMLP(width=4)
    wider.net[-1] = nn.Linear(4, 3)
    with pytest.raises(
        ValueError, match="model does not hold the weights of this ScoreMLP: net.6.bias"
    ):
        save_pretrained(path, wider, {})
    for info, error in ((None, TypeError), ({"a": {1}}, TypeError), ({"a": math.nan}, ValueError)):
        with pytest.raises(error, match="info must be a dictionary"):
            save_pretrained(path, ScoreMLP(), info)
    with pytest.raises(ValueError, match="path must end in .safetensors, got"):
        save_pretrained(tmp_path / "c", ScoreMLP(), {})
    assert list(tmp_path.iterdir()) == []
    compiled = ScoreMLP(width=np.int64(4))
    compiled.compile(backend="eager")
    save_pretrained(path, compiled, {})
    assert torch.equal(load_pretrained(path)(FOUR), compiled(FOUR))
