"""Every draw and every constant is made on the device of the data and in their dtype, whatever torch's defaults are.

The functions and their good arguments are those of `test_bad_input`. The meta device stands for an accelerator: it is
always there, and a tensor on it does not mix with one on the processor.
"""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from test_bad_input import LABELS, OTHERS, ROOMS, UNET, parts

PLACELESS = {
    "alpha_bar",
    "weights",
    "means",
    "variances",
    "variance",
    "timesteps",
}  # read on the processor, wherever the data are
LOOKED_AT = {
    "metropolis_langevin",
    "reverse_kernel",
}  # they decide by the values: nothing for meta tensors
FOLLOWS = {
    "to_tensor",
    "train_sprites",
}  # pictures from arrays, that have no device, go to the default one
NETWORKS = [
    "UNet.forward",
    "UNet.for_labels, called",
    "ScoreMLP.forward",
    "ScoreMLP.forward, conditional",
    "VAE.negative_elbo",
    "VAE.sample",
]
NETWORKS += [
    "SpriteClassifier.forward",
    "noise_prediction_loss",
    "negative_elbo_loss",
    "classification_loss",
]
PLACED = [name for name in ROOMS if name not in OTHERS and name not in LOOKED_AT]
every_function = pytest.mark.parametrize("name", ROOMS)


@pytest.fixture(autouse=True)
def defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def run(name, dtype):
    """A call with good arguments, which are made now, before a default is changed."""
    call = ROOMS[name]
    return partial(call.function, **call.good(dtype))


def assert_same(result, expected):
    assert len(parts(result)) == len(parts(expected))
    for one, other in zip(parts(result), parts(expected), strict=True):
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype and one.device == other.device
            assert torch.equal(one, other)
        else:
            assert type(one) is type(other) and np.array_equal(one, other)


@every_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_default_device_changes_nothing(name, dtype):
    if name in FOLLOWS:
        return
    expected, again = run(name, dtype)(), run(name, dtype)
    torch.set_default_device("meta")
    assert_same(again(), expected)


@every_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_default_dtype_changes_nothing(name, dtype):
    expected, again = run(name, dtype)(), run(name, dtype)
    torch.set_default_dtype(torch.float64)
    assert_same(again(), expected)


def elsewhere(device, arguments):
    """The arguments with their data, and networks, on another device; None if there are no data among them."""
    moved = {
        name: copy.deepcopy(value).to(device)
        if isinstance(value, torch.nn.Module)
        else value.to(device)
        for name, value in arguments.items()
        if isinstance(value, (torch.Tensor, torch.nn.Module)) and name not in PLACELESS
    }
    return {**arguments, **moved} if moved else None


@pytest.mark.parametrize("name", PLACED)
def test_data_elsewhere_stay_there(name):
    call = ROOMS[name]
    arguments = elsewhere("meta", call.good(torch.float32))
    if arguments is None:
        return
    expected = parts(call.function(**call.good(torch.float32)))
    for result, wanted in zip(parts(call.function(**arguments)), expected, strict=True):
        assert (
            result.device.type == "meta"
            and result.dtype == wanted.dtype
            and result.shape == wanted.shape
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_elsewhere_work_there(name):
    call, function = ROOMS[name], ROOMS[name].function
    if name == "UNet.for_labels, called":
        function = copy.deepcopy(UNET).to("meta").for_labels(LABELS)
    elif isinstance(getattr(function, "__self__", None), torch.nn.Module):
        function = getattr(copy.deepcopy(function.__self__).to("meta"), function.__name__)
    expected = parts(call.function(**call.good(torch.float32)))
    for result, wanted in zip(
        parts(function(**elsewhere("meta", call.good(torch.float32)))), expected, strict=True
    ):
        assert (
            result.device.type == "meta"
            and result.dtype == wanted.dtype
            and result.shape == wanted.shape
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_data_on_an_accelerator_give_the_same_numbers_there():
    for name in PLACED:
        call = ROOMS[name]
        arguments = elsewhere("cuda", call.good(torch.float64))
        if arguments is None or "generator" in arguments:
            continue
        expected = parts(call.function(**call.good(torch.float64)))
        for result, wanted in zip(parts(call.function(**arguments)), expected, strict=True):
            assert result.device.type == "cuda", name
            torch.testing.assert_close(result.cpu(), wanted)
