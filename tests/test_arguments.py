"""The guards, and the face of the package: what `import dgm_helpers` brings and what it leaves for later."""

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import dgm_helpers as dgm
from dgm_helpers import seeded
from dgm_helpers.arguments import (
    checked_eps,
    checked_score,
    described,
    is_finite,
    require_array,
    require_bool,
    require_callable,
    require_choice,
    require_data,
    require_generator,
    require_int,
    require_json,
    require_labels,
    require_number,
    require_path,
    require_sigma,
    require_sigmas,
    require_t,
    require_times,
)

# ---- the face ----


def python(code):
    """What a fresh process prints."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_the_package_is_imported_with_torch_and_no_more():
    new = python(
        "import sys, torch; before = set(sys.modules); import dgm_helpers; print(*set(sys.modules) - before)"
    )
    assert {name.split(".")[0] for name in new} - sys.stdlib_module_names <= {
        "dgm_helpers",
        "numpy",
        "torch",
    }
    rare = {
        f"dgm_helpers.{name}"
        for name in (
            "checks",
            "evaluation",
            "fid",
            "homework",
            "networks",
            "plots",
            "recipes",
            "results",
            "sprites",
            "training",
            "work",
        )
    }
    assert "dgm_helpers.samplers" in new and not rare & set(new)


def test_every_name_of_the_face_is_there_and_efficientnet_is_for_the_distance_only():
    names, loaded = python(
        "import sys, dgm_helpers as dgm; [getattr(dgm, name) for name in dgm.__all__];"
        "print(*dir(dgm), sep=','); print(*sys.modules, sep=',')"
    )
    names = names.split(",")
    assert names == dgm.__all__ == sorted(set(names)) and 25 <= len(names) <= 50
    assert "dgm_helpers.checks" in loaded and "efficientnet_lite_pytorch" not in loaded
    for name in names:
        value = getattr(dgm, name)
        assert getattr(value, "__module__", getattr(value, "__name__", "")).startswith(
            "dgm_helpers."
        ), name


@pytest.mark.parametrize(
    "before",
    ["", "import dgm_helpers.langevin, dgm_helpers.fid, dgm_helpers.training, dgm_helpers.plots"],
)
def test_a_name_means_the_function_whatever_was_imported_before(before):
    code = f"""
{before}
import dgm_helpers as dgm
import dgm_helpers.langevin, dgm_helpers.samplers, dgm_helpers.training, dgm_helpers.plots, dgm_helpers.fid
from dgm_helpers import langevin
from dgm_helpers.langevin import langevin as same
from dgm_helpers.training import train
assert dgm.langevin is langevin is same and callable(langevin)
assert dgm.train is train and dgm.animate is dgm_helpers.plots.animate
print(*(name for name in dgm.__all__ if type(getattr(dgm, name)).__name__ == "module"))
"""
    assert python(code) == ["checks", "homework", "plots", "recipes", "results", "work"]


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(
        AttributeError, match="^dgm_helpers has no 'sample_dimm'; it has .*sample_ddim"
    ):
        dgm.sample_dimm  # noqa: B018


# ---- generators ----


def test_seeded_is_torchs_generator():
    assert torch.equal(
        torch.rand(3, generator=seeded(5)),
        torch.rand(3, generator=torch.Generator().manual_seed(5)),
    )
    assert seeded(2**63 - 1).initial_seed() == 2**63 - 1 and seeded(np.int64(3)).initial_seed() == 3
    assert seeded(0) is not seeded(0)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_outside_is_refused(seed):
    with pytest.raises(
        ValueError, match=f"^seed must be an int in 0…9223372036854775807, got {seed}"
    ):
        seeded(seed)


@pytest.mark.parametrize("seed", [None, "0", 0.0, True, [1], torch.tensor([1])])
def test_a_seed_of_another_kind_is_refused(seed):
    with pytest.raises(TypeError, match="^seed must be an int in"):
        seeded(seed)


def test_a_generator_on_another_device_is_refused():
    assert require_generator(seeded(0), "cpu").device.type == "cpu"
    with pytest.raises(
        ValueError, match="^generator must be on the data's device, cuda:0, got one on cpu"
    ):
        require_generator(seeded(0), "cuda:0")


# ---- what came, in words ----


def test_values_are_described_in_few_words():
    for value, words in (
        (None, "None"),
        (np.zeros((2, 3), dtype=np.float32), "a numpy array of float32, shape (2, 3)"),
        (torch.zeros(2, 3), "a tensor of torch.float32, shape (2, 3)"),
        (torch.nn.Linear(2, 2), "a network, Linear"),
        ("a", "str 'a'"),
        (2.5, "float 2.5"),
        ([1], "list [1]"),
    ):
        assert described(value) == words
    for value in (list(range(10**4)), "x" * 10**4, {i: i for i in range(10**4)}, 10**5000):
        assert len(described(value)) < 90

    class Silent:
        def __repr__(self):
            raise RuntimeError("no words")

    assert described(Silent()).startswith("Silent")


# ---- numbers ----


@pytest.mark.parametrize(
    "value",
    [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3), torch.tensor(3, dtype=torch.int32)],
)
def test_whole_numbers(value):
    number = require_int("n", value, 1, 3)
    assert number == 3 and type(number) is int


@pytest.mark.parametrize(
    "value",
    [
        3.0,
        "3",
        None,
        True,
        np.True_,
        torch.tensor(True),
        torch.tensor([3]),
        np.array([3]),
        3j,
        Fraction(3),
    ],
)
def test_what_is_no_whole_number(value):
    with pytest.raises(TypeError, match="^n must be an int in 1…5, got "):
        require_int("n", value, 1, 5)


def test_whole_numbers_outside():
    for value in (0, 6, -(10**30), 10**5000):
        with pytest.raises(ValueError, match="^n must be an int in 1…5, got ") as caught:
            require_int("n", value, 1, 5)
        assert len(str(caught.value)) < 120
    with pytest.raises(ValueError, match="^n must be an int of at least 1, got 0$"):
        require_int("n", 0, 1)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int16(2), torch.tensor(2.0), np.array(2.0), Fraction(2)]
)
def test_numbers(value):
    number = require_number("eta", value, least=2, most=2)
    assert number == 2.0 and type(number) is float


@pytest.mark.parametrize(
    "value",
    [
        "2",
        None,
        True,
        torch.tensor([2.0]),
        np.array([2.0]),
        2j,
        np.complex64(2),
        torch.tensor(2j),
        [2.0],
    ],
)
def test_what_is_no_number(value):
    with pytest.raises(
        TypeError, match="^eta must be a finite number of at least 0 and of at most 1, got "
    ):
        require_number("eta", value, least=0, most=1)


@pytest.mark.parametrize(
    "value",
    [-0.1, 1.1, math.nan, math.inf, -math.inf, 10**400, torch.tensor(math.nan)],
    ids=range(7),
)
def test_numbers_outside(value):
    with pytest.raises(
        ValueError, match="^eta must be a finite number of at least 0 and of at most 1, got "
    ) as caught:
        require_number("eta", value, least=0, most=1)
    assert len(str(caught.value)) < 130


def test_ends_that_do_not_belong():
    for value in (0, 1):
        with pytest.raises(
            ValueError, match=f"^eta must be a finite number above 0 and below 1, got {value}"
        ):
            require_number("eta", value, above=0, below=1)
    with pytest.raises(ValueError, match="^eta must be a finite number, got "):
        require_number("eta", 10**400)  # larger than any float


def test_choices_and_truths():
    assert require_choice("spacing", "uniform", {"uniform": 1}) == "uniform"
    for value in ("Uniform", "", None, 1, ["uniform"], torch.zeros(2), np.zeros(2)):
        with pytest.raises(
            ValueError, match="^spacing must be one of 'uniform', 'quadratic', got "
        ):
            require_choice("spacing", value, ("uniform", "quadratic"))
    assert require_bool("mirror", np.True_) is True
    for value in (0, 1, "True", None, torch.tensor(True)):
        with pytest.raises(TypeError, match="^mirror must be True or False, got "):
            require_bool("mirror", value)
    with pytest.raises(TypeError, match="^score must be a callable, got int 3"):
        require_callable("score", 3)


# ---- paths and settings ----


def test_paths(tmp_path):
    assert require_path("path", str(tmp_path / "a.txt")) == tmp_path / "a.txt"
    assert require_path("path", Path("a.txt"), writable=True) == Path("a.txt")
    require_path("path", tmp_path / "not" / "there" / "a.txt", writable=True)
    assert list(tmp_path.iterdir()) == []
    for value in (None, 3, b"a.txt", ["a.txt"]):
        with pytest.raises(TypeError, match="^path must be a path, got "):
            require_path("path", value)
    for value in ("", ".", "/", tmp_path, "a\0b"):
        with pytest.raises(ValueError, match="^path must be the path of a file, got "):
            require_path("path", value)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="^path: cannot write "):
        require_path("path", tmp_path / "file" / "a.txt", writable=True)
    with pytest.raises(OSError, match="^path: cannot write "):
        require_path("path", tmp_path / ("x" * 300) / "a.txt", writable=True)


def test_settings_that_json_can_hold():
    assert require_json("settings", {"channels": (24, 48), 3: {"a": None}}) == {
        "channels": [24, 48],
        "3": {"a": None},
    }
    for value, error in (
        ([1], TypeError),
        ({"a": {1, 2}}, TypeError),
        ({"a": math.nan}, ValueError),
        ({"a": torch.zeros(2)}, TypeError),
    ):
        with pytest.raises(error, match="^settings must be a dictionary"):
            require_json("settings", value)
    circle = {}
    circle["a"] = circle
    with pytest.raises(ValueError, match="^settings must be a dictionary that JSON can hold"):
        require_json("settings", circle)


# ---- tensors ----


def test_numpy_arrays_are_called_numpy_arrays():
    with pytest.raises(
        TypeError,
        match=r"^x must be a floating-point tensor, got a numpy array of float64, shape \(2, 2\); torch.from_numpy",
    ):
        require_data("x", np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_large_numbers_whose_sum_overflows_are_finite(dtype):
    x = torch.full((4, 100), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(x) and is_finite(-x) and is_finite(x[:0])
    for value in (math.nan, math.inf, -math.inf):
        x[2, 7] = value
        assert not is_finite(x)


def test_data_must_be_like_the_other():
    x = torch.zeros(2, 3)
    assert require_data("noise", x, like=x) is x
    with pytest.raises(
        TypeError, match="^noise must have dtype torch.float32, got a tensor of torch.float64"
    ):
        require_data("noise", x.double(), like=x)
    with pytest.raises(
        ValueError,
        match=r"^noise must have shape \(2, 3\), got a tensor of torch.float32, shape \(3, 2\)",
    ):
        require_data("noise", x.T, like=x)
    with pytest.raises(ValueError, match="^noise must have device cpu, got .* on meta"):
        require_data("noise", x.to("meta"), like=x)
    with pytest.raises(ValueError, match=r"^x must have shape \(B, 2\), got \(2, 3\)"):
        require_data("x", x, shape=("B", 2))
    with pytest.raises(ValueError, match=r"^x must have shape \(2,\), got \(2, 3\)"):
        require_data("x", x, shape=(2,))


def test_arrays_are_copies_in_float64():
    given = np.array([1, 2])
    array = require_array("means", given)
    assert array.dtype == torch.float64 and array.tolist() == [1.0, 2.0]
    array.zero_()
    assert given.tolist() == [1, 2]
    tensor = torch.ones(2, dtype=torch.float64, requires_grad=True)
    array = require_array("means", tensor)
    assert not array.requires_grad and array.data_ptr() != tensor.data_ptr()
    for value in ("1", ["1"], None, [None], [[1.0], [1.0, 2.0]], 1j, [True], {}, object()):
        with pytest.raises(TypeError, match="^means must hold real numbers, got "):
            require_array("means", value)
    for value in (math.nan, [1.0, math.inf], np.array([math.nan])):
        with pytest.raises(ValueError, match="^means must be finite, got NaN or infinity"):
            require_array("means", value)


def test_timesteps():
    x = torch.zeros(3, 2)
    assert require_t("t", np.int64(4), x, 10) == 4 and require_t("t", 0, x, None) == 0
    for value in (
        [1, 2, 3],
        (1, 2, 3),
        np.array([1, 2, 3]),
        torch.tensor([1, 2, 3]),
        torch.tensor([1, 2, 3], dtype=torch.uint8),
    ):
        times = require_t("t", value, x, 10)
        assert times.dtype == torch.int64 and times.tolist() == [1, 2, 3]
    for value, error in (
        (11, ValueError),
        (-1, ValueError),
        (2.0, TypeError),
        ([1, 2], ValueError),
        ([1, 2, 11], ValueError),
        ([[1]] * 3, ValueError),
    ):
        with pytest.raises(error, match="^t must "):
            require_t("t", value, x, 10)
    assert require_times([5, 2, 10], 1, x, 10)[1] == 1
    for t, s in ((3, 3), ([3, 2, 1], 1), (3, [1, 2, 3])):
        with pytest.raises(ValueError, match="^s must be smaller than t"):
            require_times(t, s, x, 10)


def test_noise_levels():
    x = torch.zeros(3, 2)
    assert require_sigma(2, x).dtype == torch.float32 and require_sigma([1, 2, 3], x).shape == (3,)
    assert require_sigma(0, x, zero=True) == 0
    for value in (0, -1.0, [1.0, 2.0], [[1.0]] * 3, 1e-60, 1e60):
        with pytest.raises(
            ValueError, match="^sigma must be a finite number above 0, or one for each of 3 items"
        ):
            require_sigma(value, x)
    assert require_sigmas((3, 2, 1), x).tolist() == [3.0, 2.0, 1.0]
    for value in ([1.0, 0.0], [1e60, 1.0], [1.0, 1e-60]):
        with pytest.raises(
            ValueError, match="^sigmas must be positive and finite in torch.float32, got values in"
        ):
            require_sigmas(value, x)


def test_labels():
    assert require_labels([0, 4], 4, 2).dtype == torch.int64
    assert require_labels(np.array([0, 4], dtype=np.uint8), 4).tolist() == [0, 4]
    for value, error in (
        ([0, 5], ValueError),
        ([-1, 0], ValueError),
        ([0.0, 1.0], TypeError),
        (["food"], TypeError),
        (None, TypeError),
    ):
        with pytest.raises(error, match="^labels must be int64 .* in 0…4"):
            require_labels(value, 4)
    with pytest.raises(
        ValueError,
        match=r"^labels must be int64 \(3,\) in 0…4, one for each picture, got shape \(2,\)",
    ):
        require_labels([0, 1], 4, 3)


def test_answers_are_asked_for_with_copies():
    x, t, sigma = torch.ones(2, 3), torch.tensor([1, 2]), torch.ones(2)

    def careless(x, *more):
        for value in more:
            value.zero_()
        return x.zero_()

    assert checked_eps(careless, x, t).eq(0).all() and checked_score(careless, x, sigma).eq(0).all()
    assert x.eq(1).all() and t.tolist() == [1, 2] and sigma.eq(1).all()
    assert checked_eps(lambda x, t: x.double(), x, 5).dtype == torch.float32
    with pytest.raises(ValueError, match=r"^eps_model returned NaN or infinity at t = \[1, 2\]"):
        checked_eps(lambda x, t: x / 0, x, t)
