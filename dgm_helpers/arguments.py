"""What an argument must be: guards that raise TypeError or ValueError with the argument's name, what came, and what is
accepted.

Guards stand at the door of public functions. They return the value in the form that the function works with.
"""

import json
import math
import operator
import os
from numbers import Real
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTS = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)


def seeded(seed, device="cpu"):
    """A new ``torch.Generator`` with the given seed, an int in 0…2⁶³ − 1."""
    seed = require_int("seed", seed, 0, 2**63 - 1)
    try:
        generator = torch.Generator(device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"device must be one that this machine has, such as 'cpu', got {described(device)}"
        ) from None
    return generator.manual_seed(seed)


def described(value):
    """A value in a few words, for an error message: its type, with dtype and shape where it has them."""
    if isinstance(value, np.ndarray):
        return f"a numpy array of {value.dtype}, shape {value.shape}"
    if isinstance(value, torch.Tensor):
        dense = value.layout == torch.strided
        return f"a {'' if dense else 'sparse '}tensor of {value.dtype}, shape {tuple(value.shape)}"
    if isinstance(value, torch.nn.Module):
        return f"a network, {type(value).__name__}"
    if value is None:
        return "None"
    return f"{type(value).__name__} {_short(value)}"


def _short(value):
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an int of more than 4300 digits, or whatever the caller's class does
        return "that cannot be printed"
    return text if len(text) <= 60 else text[:57] + "..."


def require_int(name, value, low=None, high=None):
    """``value`` as an int, if it is a whole number (Python's or NumPy's, not a bool) in ``low``…``high``."""
    span = "" if low is None else f" of at least {low}" if high is None else f" in {low}…{high}"
    try:
        if (
            isinstance(value, (bool, np.bool_))
            or getattr(value, "ndim", 0)
            or getattr(value, "dtype", None) in (torch.bool, np.bool_)
        ):
            raise TypeError
        number = operator.index(value)
    except (TypeError, RuntimeError):
        raise TypeError(f"{name} must be an int{span}, got {described(value)}") from None
    if low is not None and number < low or high is not None and number > high:
        raise ValueError(f"{name} must be an int{span}, got {_short(number)}")
    return number


def require_number(name, value, *, above=None, least=None, below=None, most=None):
    """``value`` as a float, if it is a finite real number within the given limits; ``above`` and ``below`` are
    excluded.
    """
    words = {"above": above, "of at least": least, "below": below, "of at most": most}
    span = " and ".join(f"{word} {limit}" for word, limit in words.items() if limit is not None)
    wanted = f"{name} must be a finite number {span}".rstrip()
    if (
        isinstance(value, (torch.Tensor, np.ndarray))
        and value.ndim == 0
        and value.dtype not in (torch.bool, np.bool_)
    ):
        value = value.item()
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{wanted}, got {described(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int or a fraction beyond every float
        number = math.inf
    outside = above is not None and not number > above or least is not None and not number >= least
    outside = (
        outside
        or below is not None
        and not number < below
        or most is not None
        and not number <= most
    )
    if outside or not math.isfinite(number):
        raise ValueError(f"{wanted}, got {_short(value)}")
    return number


def require_choice(name, value, choices):
    """``value``, if it is one of the strings ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}, got {described(value)}"
        )
    return value


def require_bool(name, value):
    """``value`` as a bool, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {described(value)}")
    return bool(value)


def require_callable(name, value):
    """``value``, if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a callable, got {described(value)}")
    return value


def require_path(name, value, *, writable=False):
    """``value`` as a Path, if it is a path and no folder; with ``writable``, OSError unless a file can be made there.

    Nothing is made: the nearest folder that exists is tried.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {described(value)}")
    path = Path(value)
    folder = "\0" not in str(path) and os.path.isdir(path)
    if not path.name or "\0" in str(path) or folder:
        raise ValueError(
            f"{name} must be the path of a file, got {'the folder ' if folder else ''}{_short(str(value))}"
        )
    if writable:
        try:
            with TemporaryFile(
                dir=next(folder for folder in path.absolute().parents if folder.exists())
            ):
                pass
        except OSError as error:
            raise OSError(f"{name}: cannot write {path}: {error}") from error
    return path


def require_json(name, value):
    """``value``, if it is a dictionary that JSON can hold, in the form in which JSON gives it back: lists for
    tuples, keys as strings.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dictionary, got {described(value)}")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{name} must be a dictionary that JSON can hold, got one that it cannot: {error}"
        ) from None


def require_generator(generator, device=None):
    """``generator``, if it is a torch.Generator, on ``device`` where one is given."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, such as seeded(0), got {described(generator)}"
        )
    if device is not None and torch.device(device).type not in (generator.device.type, "meta"):
        raise ValueError(
            f"generator must be on the data's device, {device}, got one on {generator.device}"
        )
    return generator


def require_data(name, x, *, like=None, shape=None):
    """``x``, if it is a finite floating-point tensor with a batch axis and at least one more, or of exactly that
    ``shape``.

    ``like`` is a tensor with the shape, dtype and device that x must have. In ``shape`` a string stands for any size.
    """
    if not is_floats(x):
        hint = "; torch.from_numpy makes a tensor of it" if isinstance(x, np.ndarray) else ""
        raise TypeError(f"{name} must be a floating-point tensor, got {described(x)}{hint}")
    if like is not None:
        for what in ("shape", "dtype", "device"):
            wanted, got = getattr(like, what), getattr(x, what)
            if wanted != got:
                kind = TypeError if what == "dtype" else ValueError
                wanted = tuple(wanted) if what == "shape" else wanted
                found = f"{described(x)} on {got}" if what == "device" else described(x)
                raise kind(f"{name} must have {what} {wanted}, got {found}")
    elif shape is not None:
        if x.ndim != len(shape) or any(
            wanted != got
            for wanted, got in zip(shape, x.shape, strict=True)
            if not isinstance(wanted, str)
        ):
            wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
            raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
    elif x.ndim < 2:
        raise ValueError(
            f"{name} must have a batch axis and at least one more, got shape {tuple(x.shape)}"
        )
    if like is None and 0 in x.shape[1:]:
        raise ValueError(
            f"{name} must hold items with at least one value, got shape {tuple(x.shape)}"
        )
    if not is_finite(x):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def is_floats(x):
    """Whether ``x`` is a dense tensor of floating-point numbers, of a precision that can be calculated with."""
    return isinstance(x, torch.Tensor) and x.dtype in FLOATS and x.layout == torch.strided


def is_finite(x):
    """Whether every entry of a tensor is finite; a finite sum says so in one pass."""
    x = x.detach()
    return holds(x.sum().isfinite()) or holds(x.isfinite())


def holds(condition):
    """Whether a bool tensor is True everywhere; also where no value can be looked at: meta tensors, torch.func.vmap."""
    try:
        return bool(condition.all())
    except RuntimeError:
        return True


def require_array(name, value):
    """``value`` (a tensor, an array, a number or nested lists of real numbers) as a float64 tensor of its own, if it
    is finite.
    """
    array = _real(name, value).to(torch.float64, copy=True)
    if not is_finite(array):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return array


def _real(name, value):
    """``value`` as a tensor, if it holds real numbers."""
    try:
        array = (
            value.detach()
            if isinstance(value, torch.Tensor)
            else torch.as_tensor(np.asarray(value), device="cpu")
        )
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must hold real numbers, got {described(value)}") from None
    if array.dtype not in FLOATS + INTS or array.layout != torch.strided:
        raise TypeError(f"{name} must hold real numbers, got {described(value)}")
    return array


def _whole(value, device):
    """``value`` as an int64 tensor, or None if it does not hold whole numbers."""
    try:
        array = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return array.long() if array.dtype in INTS and array.layout == torch.strided else None


def require_t(name, t, x, T, lowest=0):
    """``t`` as an int, or as an int64 tensor (B,) on the device of ``x``, if its values lie in ``lowest``…``T``.

    A list or an array of B whole numbers is as good as a tensor. Without a ``T`` (None) there is no upper end.
    """
    if not isinstance(t, (torch.Tensor, np.ndarray, list, tuple)) or getattr(t, "ndim", 1) == 0:
        return require_int(name, t, lowest, 2**63 - 1 if T is None else T)
    times = _whole(t, x.device)
    if times is None:
        raise TypeError(f"{name} must be an int or an int64 tensor (B,), got {described(t)}")
    if times.shape != x.shape[:1]:
        raise ValueError(
            f"{name} must be an int or have shape {tuple(x.shape[:1])}, one timestep per item, got {tuple(times.shape)}"
        )
    if not holds(times >= lowest) or T is not None and not holds(times <= T):
        span = f"be at least {lowest}" if T is None else f"lie in {lowest}…{T}"
        raise ValueError(f"{name} must {span}, got values in {times.min()}…{times.max()}")
    return times


def require_times(t, s, x, T):
    """``t`` and ``s`` in the form of :func:`require_t`, if 0 ≤ s < t ≤ T for every item."""
    t, s = require_t("t", t, x, T, lowest=1), require_t("s", s, x, T)
    if not holds(torch.as_tensor(s < t, device=x.device)):
        got = f", got s = {s} and t = {t}" if isinstance(s < t, bool) else " for every item"
        raise ValueError(f"s must be smaller than t{got}")
    return t, s


def require_sigma(sigma, x, *, zero=False):
    """A noise level as a tensor () or (B,) in the dtype and on the device of ``x``: positive, or with ``zero`` at
    least 0.
    """
    wanted = f"sigma must be a finite number {'of at least' if zero else 'above'} 0, or one for each of {len(x)} items"
    array = _real("sigma", sigma)
    if array.shape not in ((), x.shape[:1]):
        raise ValueError(f"{wanted}, got shape {tuple(array.shape)}")
    level = array.to(x.device, x.dtype)
    if not holds((level >= 0 if zero else level > 0) & (level < math.inf)):
        require_array("sigma", sigma)  # NaN and infinity have a message of their own
        raise ValueError(
            f"{wanted} in {x.dtype}, got values in {array.min().item()}…{array.max().item()}"
        )
    return level


def require_sigmas(sigmas, x):
    """Noise levels as a float64 tensor (L,), if there is at least one, and all are positive and finite in x's dtype."""
    array = require_array("sigmas", sigmas)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"sigmas must have shape (L,) with L >= 1, got {tuple(array.shape)}")
    level = array.to(x.dtype)
    if not holds((level > 0) & (level < math.inf)):
        got = f"values in {array.min().item()}…{array.max().item()}"
        raise ValueError(f"sigmas must be positive and finite in {x.dtype}, got {got}")
    return array


def require_labels(labels, largest, n=None, device=None):
    """``labels`` as an int64 tensor (B,), if they are whole numbers in 0…``largest``.

    There must be ``n`` of them, and they come onto ``device``, where these are given.
    """
    wanted = (
        f"labels must be int64 (B,) in 0…{largest}"
        if n is None
        else f"labels must be int64 ({n},) in 0…{largest}, one for each picture"
    )
    array = _whole(labels, device)
    if array is None:
        raise TypeError(f"{wanted}, got {described(labels)}")
    if array.ndim != 1 or n is not None and len(array) != n:
        raise ValueError(f"{wanted}, got shape {tuple(array.shape)}")
    if not holds((array >= 0) & (array <= largest)):
        raise ValueError(f"{wanted}, got values in {array.min()}…{array.max()}")
    return array


def checked_eps(eps_model, x_t, t, name="eps_model"):
    """The answer of ``eps_model(x_t, t)`` to copies of ``x_t`` and of t as int64 (B,), in x_t's dtype, if it is
    finite and has its shape.
    """
    times = torch.full(x_t.shape[:1], t, device=x_t.device) if isinstance(t, int) else t
    eps = eps_model(x_t.clone(), times.clone())
    if not is_floats(eps) or eps.shape != x_t.shape:
        raise ValueError(
            f"{name} must return a floating-point tensor of shape {tuple(x_t.shape)}, got {described(eps)}"
        )
    if not is_finite(eps):
        raise ValueError(f"{name} returned NaN or infinity at t = {sorted(set(times.tolist()))}")
    return eps.to(x_t.dtype)


def checked_score(score, x, *sigma):
    """The answer of ``score(x)`` or ``score(x, sigma)`` to copies of them, in x's dtype, if it is shaped like ``x``."""
    s = score(x.clone(), *(level.clone() for level in sigma))
    if not is_floats(s) or s.shape != x.shape:
        raise ValueError(
            f"score must return a floating-point tensor of shape {tuple(x.shape)}, got {described(s)}"
        )
    return s.to(x.dtype)
