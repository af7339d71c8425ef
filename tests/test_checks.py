"""The checks of the exercises: right answers pass, usual mistakes are named, and no answer does harm.

Wrong and right answers are those of the folder ``answers``, and the book's solutions with edits that plant a mistake.
"""

import ast
import builtins
import collections
import contextlib
import functools
import importlib.util
import json
import math
import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import dgm_helpers as dgm
from dgm_helpers import _trial, checks, work
from dgm_helpers._mistakes import MISTAKES as STORED

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("store", ROOT / "tests" / "answers" / "store.py")
store = importlib.util.module_from_spec(spec)
spec.loader.exec_module(store)
ANSWERS = [(name, answer) for name, answers in store.answers().items() for answer in answers]
SOURCE = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))


def noised(formula, a="schedule.alpha_bar[t].reshape(-1, *[1] * (x0.ndim - 1))"):
    """An expression of x_t, with another formula."""
    return f"(lambda a: ({formula}).float())({a})"


@pytest.fixture(autouse=True)
def no_thread_hook(monkeypatch):
    """A thread ended by Stopped may be hit once more in its hook; pytest's hook would call that a failure."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)


X_T = "dgm.perturb_input(schedule, x0, t, noise)"
START = "dgm.perturb_input(schedule, proposals, stop_at, noise())"
SCALED = "(1 - schedule.alpha_bar[stop_at]).sqrt() * noise()"
ROWS = """sum(
        v[:, i] * (torch.autograd.grad(score(x)[:, i].sum(), x, create_graph=True)[0] * v).sum(1)
        for i in range(x.shape[1])
    )"""
AT_ONCE = "torch.einsum('bi,bij,bj->b', v, torch.func.vmap(torch.func.jacrev(lambda y: score(y[None])[0]))(x), v)"

MISTAKES = {
    "linear-schedule": [
        ("alpha holds beta", "return alpha,", "return np.append(1.0, 1 - alpha[1:]),"),
        (
            "return alpha first",
            "return alpha, np.cumprod(alpha)",
            "return np.cumprod(alpha), alpha",
        ),
        (
            r"spaced over T \+ 1 numbers",
            "1 - np.linspace(beta_1, beta_T, T)",
            "1 - np.linspace(beta_1, beta_T, T + 1)[1:]",
        ),
        (
            "T = 10, .*beta_1 and beta_T are not used",
            "np.linspace(beta_1, beta_T, T)",
            "np.linspace(1e-4, 0.02, T)",
        ),
        (r"needs T \+ 1 = 11 entries .*shape \(1001,\)", "beta_T, T)", "beta_T, 1000)"),
        (
            "entries in float64, as a NumPy array, got list",
            "return alpha,",
            "return [1.0, [2.0, 3.0]],",
        ),
        (
            "alpha is off by one: t holds t - 1",
            "return alpha,",
            "return np.append(1.0, alpha[:-1]),",
        ),
        (
            r"alpha is off by one: t holds t \+ 1",
            "return alpha,",
            "return np.append(alpha[1:], 0.9),",
        ),
        ("square root of alpha;", "return alpha,", "return alpha**0.5,"),
        (r"alpha\[0\] must be 1", "return alpha,", "return np.append(0.9, alpha[1:]),"),
        ("alpha_bar is alpha; take", "np.cumprod(alpha)", "alpha"),
        ("the product to T, not to t", "np.cumprod(alpha)", "np.full(T + 1, np.prod(alpha))"),
        ("the product of beta", "np.cumprod(alpha)", "np.append(1.0, np.cumprod(1 - alpha[1:]))"),
        (
            "alpha_bar is off by one: t holds t - 1",
            "np.cumprod(alpha)",
            "np.append(1.0, np.cumprod(alpha)[:-1])",
        ),
        (
            r"alpha_bar is off by one: t holds t \+ 1",
            "np.cumprod(alpha)",
            "np.cumprod(np.append(alpha[1:], 0.98))",
        ),
        ("square root of alpha_bar;", "np.cumprod(alpha)", "np.cumprod(alpha) ** 0.5"),
        ("in alpha: it is 1 - beta", "beta_T, T)", "beta_T, T) ** 2"),
        ("in alpha_bar: is it the product", "np.cumprod(alpha)", "np.cumprod(alpha**3)"),
        (r"1001 entries in float64, as .*, got shape \(1000,\)", "[[1.0], ", "[["[:1]),
        (
            "1001 entries in float64, as .*, got .* float32: make beta",
            "np.cumprod(alpha)",
            "np.cumprod(alpha).astype(np.float32)",
        ),
        (
            "return two values, alpha and alpha_bar",
            "return alpha, np.cumprod(alpha)",
            "return np.cumprod(alpha)",
        ),
    ],
    "perturb-input": [
        ("both square roots are missing", "a.sqrt() * x0 + (1 - a).sqrt()", "a * x0 + (1 - a)"),
        ("the square root of 1 - alpha_bar is missing", "(1 - a).sqrt()", "(1 - a)"),
        ("the square root of alpha_bar is missing", "a.sqrt() * x0", "a * x0"),
        ("x0 is not multiplied", "a.sqrt() * x0", "x0"),
        ("are swapped", "a.sqrt() * x0 + (1 - a).sqrt()", "(1 - a).sqrt() * x0 + a.sqrt()"),
        ("you use t - 1", "alpha_bar[t]", "alpha_bar[t - 1]"),
        ("you use t - 1", "alpha_bar[t]", "alpha_bar[(t - 1).clamp(min=0)]"),
        ("you use t \\+ 1", "alpha_bar[t]", "alpha_bar[t + 1]"),
        ("the product runs to T", "alpha_bar[t]", "alpha_bar[-1].expand(len(t))"),
        ("alpha in place of alpha_bar", "alpha_bar[t]", "alpha[t]"),
        ("the noise is subtracted", "a.sqrt() * x0 +", "a.sqrt() * x0 -"),
        ("the factor of x0 is .*, expected", "a.sqrt() * x0 +", "2 * a.sqrt() * x0 +"),
        (r"t\[-1\] is used", "alpha_bar[t]", "alpha_bar[t[-1:]].expand(len(t))"),
        (r"t = \[1000, 0, 5\]: got", "alpha_bar[t]", "alpha_bar[t - 500 * (t == 1000)]"),
        ("do not draw it anew", "* noise", "* torch.randn_like(x0)"),
        (
            "given is not used",
            "* noise",
            "* torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))",
        ),
        ("cast back from float64", ".to(x0.dtype)", ""),
        (
            "your function raised RuntimeError: .*the shape \\(B, 1, …, 1\\)",
            ".reshape(-1, *[1] * (x0.ndim - 1))",
            "",
        ),
        (
            "as many axes as x0",
            ".reshape(-1, *[1] * (x0.ndim - 1))",
            ".reshape(-1, 1, 1, 1)",
        ),
        (
            "must be a float tensor of shape \\(5, 3, 4, 4\\), got Tensor .*shape \\(5, 48\\)",
            ".to(x0.dtype)",
            ".to(x0.dtype).flatten(1)",
        ),
        ("must be a float tensor .*got None", "return", "_ ="),
        ("must be a float tensor .*got ndarray", ".to(x0.dtype)", ".float().numpy()"),
        ("must be a float tensor .*got float", "return", "return 0.5 or"),
        ("must be a float tensor .*int64", ".to(x0.dtype)", ".long()"),
        ("holds NaN", "(1 - a).sqrt()", "(-a).sqrt()"),
        ("changed its argument x0 in place", "return (a.sqrt() * x0", "return (x0.mul_(a.sqrt())"),
        ("your function raised SystemExit", "    return", "    raise SystemExit(0)\n    return"),
        (
            "your function raised NotImplementedError: .*log",
            "    return",
            "    raise NotImplementedError('log is not implemented')\n    return",
        ),
        (
            "your function raised RecursionError: .*depth exceeded[^;]*$",
            "    return",
            "    my_perturb_input(schedule, x0, t, noise)\n    return",
        ),
    ],
    "posterior": [
        ("the variance of the step forward", "(1 - a_s) / (1 - a_t) * (1 - a)", "1 - a"),
        (
            "the standard deviation, not the variance",
            "(1 - a_s) / (1 - a_t) * (1 - a)",
            "((1 - a_s) / (1 - a_t) * (1 - a)) ** 0.5",
        ),
        ("alpha_bar is missing at x0", "a_s.sqrt()", "a_s"),
        ("alpha is missing at x_t", " a.sqrt()", " a"),
        ("both square roots are missing", "a_s.sqrt()", "a_s", " a.sqrt()", " a"),
        ("x0 and x_t are swapped", "    a_t, a_s =", "    x0, x_t = x_t, x0\n    a_t, a_s ="),
        ("alpha stands at x0", "a_s.sqrt()", "a.sqrt()"),
        (
            "mean at t = 500, s = 200: .*from s to t it is",
            "a = a_t / a_s",
            "a = schedule.alpha[t]",
        ),
        (
            "variance at t = 500, s = 200: .*from s to t it is",
            "(1 - a)\n    ###",
            "(1 - schedule.alpha[t])\n    ###",
        ),
        (
            "mean at t = 500, s = 200: s is not used",
            "    a_t, a_s =",
            "    s = t - 1\n    a_t, a_s =",
        ),
        (
            "mean .*read at t - 1 and s - 1",
            "    a_t, a_s =",
            "    t, s = t - 1, max(s - 1, 0)\n    a_t, a_s =",
        ),
        (r"mean .*read at t \+ 1 and s;", "alpha_bar[t]", "alpha_bar[t + 1]"),
        (
            r"variance .*read at t \+ 1 and s;",
            "return mean, ",
            "a_t = schedule.alpha_bar[t + 1]; a = a_t / a_s; return mean, ",
        ),
        ("t and s are ints here", "alpha_bar[t]", "alpha_bar[t][:, None]"),
        ("t and s are ints here", "    a_t, a_s =", "    t = t.long()\n    a_t, a_s ="),
        ("the factor of x_t is", "* (1 - a_s) * x_t", "* (1 + a_s) * x_t"),
        ("the mean must be x0", "return mean,", "return mean + (s == 0),"),
        (
            "the variance must be a number, got Tensor .*shape \\(5, 2\\)",
            "return mean, ",
            "return mean, 0 * mean + ",
        ),
        ("the variance must be finite", "return mean, ", "return mean, float('nan') * "),
        ("the mean must be a float tensor", "return mean, ", "return mean[0], "),
        ("return two values, mean and variance", "return mean, ", "return "),
    ],
    "gaussian-kl": [
        (
            "the arguments are swapped",
            "    ratio =",
            "    mean1, variance1, mean2, variance2 = mean2, variance2, mean1, variance1\n    ratio =",
        ),
        ("the factor 1/2 is missing", "sum(1) / 2", "sum(1)"),
        ("in nats", "sum(1) / 2", "sum(1) / 2 / 0.6931471805599453"),
        (
            "taken for standard deviations",
            "    ratio =",
            "    variance1, variance2 = variance1**2, variance2**2\n    ratio =",
        ),
        ("points, .*: sum over the coordinates, not mean", ".sum(1) / 2", ".mean(1) / 2"),
        ("the sign of the logarithm", "- ratio.log()", "+ ratio.log()"),
        (
            "the difference of the means is not squared",
            "(mean1 - mean2).square()",
            "(mean1 - mean2)",
        ),
        ("the means are left out", "(mean1 - mean2).square()", "0 * mean1"),
        (
            "pictures, .*: a variance that is shared",
            "    return terms",
            "    once = ratio - 1 - ratio.log()\n"
            "    terms = ((terms - once).flatten(1).sum(1) + once.flatten(1).sum(1))[:, None]\n"
            "    return terms",
        ),
        ("one number for each item", ".flatten(1).sum(1)", ".sum()"),
        ("one number for each item", ".flatten(1).sum(1)", ".sum(1)"),
        ("equal laws have divergence 0", "/ 2\n", "/ 2 + 1.0 * (mean1 == mean2).all()\n"),
        ("points, .*: got .*expected", "ratio - 1", "ratio - 2"),
        ("must be a float tensor .*, got None", "return", "_ ="),
    ],
    "batch-loss": [
        ("sum over the values instead of the mean", "mean(1)", "sum(1)"),
        ("the absolute error", ".square()", ".abs()"),
        ("leave out the root", "mean(1)", "mean(1).sqrt()"),
        (
            "Huber",
            "(noise - eps_model(x_t, t)).square()",
            "torch.nn.functional.huber_loss(noise, eps_model(x_t, t), reduction='none')",
        ),
        ("half the mean square", "mean(1)", "mean(1) / 2"),
        ("is x0 the target", "return (noise", "return (x0"),
        ("the target is x_t", "return (noise", "return (x_t"),
        (
            "the noise in x_t\\?",
            "return (noise",
            "return (torch.randn(x0.shape, generator=generator)",
        ),
        ("added to the noise, not subtracted", "noise - eps_model", "noise + eps_model"),
        ("knows the noise must cost 0: got", "noise - eps_model", "noise - 0.5 * eps_model"),
        ("not standard normal: its mean is 0.50", "torch.randn(", "torch.rand("),
        (
            "not standard normal: its mean is .* and its variance is 4",
            "x_t =",
            "noise = 2 * noise; x_t =",
        ),
        ("fourth moment is 1.00", "x_t =", "noise = noise.sign(); x_t ="),
        (
            r"fourth moment is 1\.8",
            "x_t =",
            "noise = 12**0.5 * (torch.rand(x0.shape, generator=generator) - 0.5); x_t =",
        ),
        (
            "all pictures got the same noise",
            "torch.randn(x0.shape,",
            "torch.randn(x0[:1].shape,",
            "x_t =",
            "noise = noise.expand(x0.shape); x_t =",
        ),
        (
            "all values of a picture",
            "x_t =",
            "noise = noise.flatten(1)[:, :1].reshape(-1, *[1] * (x0.ndim - 1)).expand(x0.shape); x_t =",
        ),
        (
            "draw everything from the generator",
            "x_t =",
            "noise = torch.randn_like(x0); x_t =",
        ),
        ("draw everything from the generator", "(len(x0),), generator=generator)", "(len(x0),))"),
        (
            "got one t for the whole batch",
            "(len(x0),)",
            "(1,)",
            "    noise =",
            "    t = t.expand(len(x0))\n    noise =",
        ),
        ("t = 0 was drawn", "randint(1,", "randint(0,"),
        ("t must reach T", "schedule.T + 1", "schedule.T"),
        ("uniform in 1…T", "    noise =", "    t = (t + 1) // 2 * 2\n    noise ="),
        (
            "fell into the ten tenths",
            "torch.randint(1, schedule.T + 1, (len(x0),), generator=generator)",
            "1 + (schedule.T * torch.rand(len(x0), generator=generator) ** 1.5).long()",
        ),
        ("both square roots are missing", X_T, noised("a * x0 + (1 - a) * noise")),
        ("root of alpha_bar is missing", X_T, noised("a * x0 + (1 - a).sqrt() * noise")),
        ("root of 1 - alpha_bar is missing", X_T, noised("a.sqrt() * x0 + (1 - a) * noise")),
        ("x0 is not multiplied", X_T, noised("x0 + (1 - a).sqrt() * noise")),
        ("you use t - 1", "x0, t, noise)", "x0, t - 1, noise)"),
        ("you use t \\+ 1", "x0, t, noise)", "x0, (t + 1).clamp(max=1000), noise)"),
        ("the product runs to T", "x0, t, noise)", "x0, schedule.T, noise)"),
        (
            "alpha in place of alpha_bar",
            X_T,
            noised("a.sqrt() * x0 + (1 - a).sqrt() * noise").replace("_bar", ""),
        ),
        ("compare it term by term", X_T, "2 * dgm.perturb_input(schedule, x0, t, noise) - noise"),
        ("got torch.float64: cast back", X_T, X_T + ".double()"),
        (
            "x_t that the model gets must be a float tensor .*shape \\(20000, 4\\)",
            "eps_model(x_t, t)",
            "eps_model(x_t[:, 0], t)",
        ),
        (
            "coefficient of picture i multiply picture i",
            X_T,
            noised(
                "a.sqrt() * x0 + (1 - a).sqrt() * noise",
                "schedule.alpha_bar[t].reshape([-1, 1] if x0.ndim == 2 else [1, 1, -1, 1])",
            ),
        ),
        (
            "pictures, the loss: got .*coefficient of picture i",
            X_T,
            noised(
                "a.sqrt() * x0 + (1 - a if x0.ndim == 2 else 1 - a.flip(0)).sqrt() * noise",
            ),
        ),
        ("one loss per picture", ".flatten(1).mean(1)", ".mean()"),
        ("Reshape a coefficient of each picture", "x_t =", "x_t = schedule.alpha_bar[t] * x0 #"),
        (
            r"the model must get t as .*int64 .*\(20000,\)",
            "eps_model(x_t, t)",
            "eps_model(x_t, t.float())",
        ),
        ("eps_model was not called", "noise - eps_model(x_t, t)", "noise"),
        ("so it cannot train", "eps_model(x_t, t)", "eps_model(x_t, t).detach()"),
    ],
    "ddpm-step": [
        (
            "read at t - 1 and s - 1",
            "    a_t, a_s =",
            "    t, s = (t - 1, s - 1) if s else (t, s)\n    a_t, a_s =",
        ),
        (r"read at t \+ 1 and s;", "alpha_bar[t]", "alpha_bar[t + 1]"),
        (
            "t = 500, s = 200: in sigma z: s is not used",
            "    a_t, a_s =",
            "    s = t - 1\n    a_t, a_s =",
        ),
        (
            "t = 500, s = 200: .*alpha is alpha_bar_t / alpha_bar_s",
            "alpha = a_t / a_s",
            "alpha = schedule.alpha[t]",
        ),
        (
            "t = 500, s = 200: in the mean: alpha_t leads",
            "variance =",
            "alpha = a_t / a_s; variance =",
            "alpha = a_t / a_s\n",
            "alpha = schedule.alpha[t]\n",
        ),
        ("t = 500, s = 200: in sigma z: sigma z is missing", " + variance.sqrt() * noise", ""),
        ("by the variance, not by its square root", "variance.sqrt()", "variance"),
        ("sigma is the large one", "(1 - a_s) / (1 - a_t) * ", ""),
        (
            "noise is added at the last step",
            "variance.sqrt()",
            "(variance + (s == 0) * (1 - alpha)).sqrt()",
        ),
        ("the factor of z is", "variance.sqrt()", "variance.sqrt() / 2"),
        ("sigma z is subtracted", "mean + variance", "mean - variance"),
        ("root of 1 - alpha_bar_t is missing", "(1 - a_t).sqrt()", "(1 - a_t)"),
        ("root of alpha is missing", "/ alpha.sqrt()", "/ alpha"),
        ("both square roots", "(1 - a_t).sqrt()", "(1 - a_t)", "/ alpha.sqrt()", "/ alpha"),
        ("the root of alpha_bar_t stands", "/ alpha.sqrt()", "/ a_t.sqrt()"),
        ("the sign of eps is wrong", "(x_t - ", "(x_t + "),
        ("in the mean: got .*the factor of eps is", "(x_t - ", "(x_t - 2 * "),
        ("do not draw it anew", "* noise", "* torch.randn_like(noise)"),
        ("t and s are ints here", "alpha_bar[t]", "alpha_bar[t][:, None]"),
        (
            "x_t is float32, so x_s must be, got torch.float64",
            "return mean",
            "return torch.zeros(1, 1, dtype=a_t.dtype) + mean",
        ),
    ],
    "ddim-step": [
        (
            "sigma is the large one",
            "* (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)",
            "* (1 - a_t / a_s)",
            "(1 - a_s - variance)",
            "(1 - a_s - variance).clamp(min=0)",
        ),
        ("by the variance, not by its square root", "variance.sqrt() * noise", "variance * noise"),
        ("eta stands under the square root", "eta**2", "eta"),
        (
            r"t and s are swapped in",
            "* (1 - a_s) / (1 - a_t) *",
            "* (1 - a_t) / (1 - a_s) *",
            "- variance).sqrt()",
            "- variance).clamp(min=0).sqrt()",
        ),
        ("read at t - 1 and s;", "alpha_bar[t]", "alpha_bar[t - 1]"),
        (r"read at t and s \+ 1", "alpha_bar[s]", "alpha_bar[s + 1]"),
        (r"read at t \+ 1 and s \+ 1", "    a_t, a_s =", "    t, s = t + 1, s + 1\n    a_t, a_s ="),
        ("s is not used: the step leads to s", "alpha_bar[s]", "alpha_bar[t - 1]"),
        ("sigma z is missing", " + variance.sqrt() * noise", ""),
        (
            "noise is added at the last step",
            "variance.sqrt() * noise",
            "(variance + (s == 0) * 1e-4).sqrt() * noise",
        ),
        (
            "noise is added where eta is 0",
            " if eta else x_s",
            " + (0 if eta > 0 else 0.1 * noise)",
        ),
        ("sigma\\^2 is not taken off", "1 - a_s - variance", "1 - a_s"),
        (
            "not sigma behind it",
            "(1 - a_s - variance).sqrt()",
            "((1 - a_s).sqrt() - variance.sqrt())",
        ),
        ("root of alpha_bar_t is missing", "/ a_t.sqrt()", "/ a_t"),
        ("root of 1 - alpha_bar_t is missing", "(1 - a_t).sqrt()", "(1 - a_t)"),
        ("root of alpha_bar_s is missing", "a_s.sqrt()", "a_s"),
        (
            "root of 1 - alpha_bar_s - sigma\\^2 is missing",
            "(1 - a_s - variance).sqrt()",
            "(1 - a_s - variance)",
        ),
        ("the factor of z is", "variance.sqrt() * noise", "variance.sqrt() * noise / 2"),
        ("the old noise is subtracted", "x0_hat +", "x0_hat -"),
        ("the factor of x_t is .* and the factor of eps is", "x0_hat +", "0.9 * x0_hat +"),
        ("is a root of a negative number taken", "1 - a_s - variance", "a_s - 1 - variance"),
        ("do not draw it anew", "* noise", "* torch.randn_like(noise)"),
        ("the default of eta must be 0", "eta=0.0", "eta=0.5"),
        ("missing 1 required positional argument: 'eta'", "eta=0.0", "eta"),
        ("where eta is 0 there may be no noise", " if eta else x_s", ""),
        (
            "without noise: got",
            "return x_s + ",
            "x_s = x_s if noise is not None else 2 * x_s; return x_s + ",
        ),
        (
            "x_t is float32, so x_s must be, got torch.float64",
            "    a_t, a_s =",
            "    x_t = x_t.double()\n    a_t, a_s =",
        ),
    ],
    "count-evaluations": [
        ("no call is made at t = 0", "return len(calls)", "return len(calls) + 1"),
        ("a call for the whole batch is one", "calls.append(t)", "calls.extend(t)"),
        (
            "the count goes on from the sampler before",
            "calls = []",
            "calls = globals().setdefault('calls', [])",
        ),
        ("DDIM with 50 steps: got 3, expected 50", "return len(calls)", "return 3"),
        ("the sampler's runs are counted", "return len(calls)", "return 1"),
        ("seven calls: this is the number of steps of another", "return len(calls)", "return 50"),
        ("DDPM with 1000 steps: off by one", "return len(calls)", "return min(len(calls), 999)"),
        ("the count must be a number", "return len(calls)", "return calls"),
        ("raised TypeError: x_T must be", "torch.zeros(2, 1)", "(2, 1)"),
    ],
    "frechet-distance": [
        ("summed without their root", "eigenvalues.sqrt()", "eigenvalues"),
        (
            "entry by entry",
            "eigenvalues.sqrt().sum()",
            "(cov1 @ cov2).diagonal().clamp(min=0).sqrt().sum()",
        ),
        ("they do not commute", "eigenvalues.sqrt().sum()", "(root(cov1) @ root(cov2)).trace()"),
        ("means is not squared", "(mean1 - mean2).square().sum()", "(mean1 - mean2).norm()"),
        ("the factor 2", "- 2 * eigen", "- eigen"),
        ("the sign of the root's trace", "- 2 * eigen", "+ 2 * eigen"),
        ("the means are left out", "(mean1 - mean2).square().sum() + traces", "traces"),
        ("the traces are left out", "cov1.trace() + cov2.trace() - 2", "-2"),
        ("return a float, got Tensor", ".item()", ""),
        (
            "take its real part",
            ".real.clamp(min=0)",
            " + 0.1j",
            "return (",
            "return float(",
            ".item()",
            "",
        ),
        ("root of a negative number", ".item()", ".item() * math.nan"),
        ("from itself is 0", ".item()", ".item() + (mean1 == mean2).all().item()"),
        ("rank 3: got .*expected", "- 2 * eigen", "- 3 * eigen"),
    ],
    "es-sampler": [
        (
            "needs no network",
            "    return x",
            "    eps_model(x, torch.full((len(x),), 1))\n    return x",
        ),
        ("must return the proposals unchanged", "return x", "return x + 1e-3"),
        ("start at stop_at", "in range(stop_at,", "in range(1000 if stop_at else 0,"),
        (
            r"got 201 from \[200\] to \[0\]",
            "    return x",
            "    if stop_at:\n        eps_model(x, torch.full((len(x),), 0))\n    return x",
        ),
        (r"got 199 from \[199\] to \[1\]", "in range(stop_at,", "in range(stop_at - 1,"),
        (r"200 calls at t = 200, \.\.\., 1 expected, got 100", "0, -1)", "0, -2)"),
        ("proposals without noise", START, "proposals"),
        ("this is the noise alone", START, "noise() if stop_at else proposals"),
        ("the noise is uniform", "torch.randn(", "torch.rand("),
        ("x0 is not multiplied by the square root of alpha_bar", START, "proposals + " + SCALED),
        (
            "first state: the square root of alpha_bar is missing",
            START,
            "schedule.alpha_bar[stop_at] * proposals + " + SCALED,
        ),
        (
            "first state: off by one: you use t - 1",
            "proposals, stop_at,",
            "proposals, max(stop_at - 1, 0),",
        ),
        ("is its noise the first draw", "\n    x = dgm", "\n    noise()\n    x = dgm"),
        ("sigma is the large one", "t - 1, noise())", "t - 1, noise(), variance='large')"),
        ("the steps add no noise", "t - 1, noise())", "t - 1, 0 * noise())"),
        (
            "noise is added at the last step",
            "t - 1, noise())",
            "t - 1, z := noise()) + (t == 1) * schedule.beta[1].sqrt() * z",
        ),
        ("the draws' order differs", "        x = dgm", "        noise()\n        x = dgm"),
        ("draw everything from the generator", "t - 1, noise())", "t - 1, torch.randn_like(x))"),
        ("the model must get t", "torch.full((len(x),), t)", "t"),
    ],
    "scores-exact": [
        ("you summed the whole Jacobian", "s[:, i].sum()", "s.sum()"),
        ("the factor 1/2 is missing", "sum(1) / 2", "sum(1)"),
        ("the sign of the trace is wrong", "loss + row", "loss - row"),
        ("the trace is missing", "loss + row[:, i]", "loss"),
        ("the gradient in the weights is None", "    return loss", "    return loss.detach()"),
        ("got .*, expected", "loss + row[:, i]", "loss + 3 * row[:, i]"),
        ("does the trace keep its graph", "create_graph=True", "retain_graph=True"),
        ("one loss for each item", "return loss", "return loss.mean()"),
    ],
    "scores-sliced": [
        ("the whole Jacobian is computed", "(row * v).sum(1)", ROWS),
        ("the whole Jacobian is computed", "(row * v).sum(1)", AT_ONCE),
        ("the factor 1/2 is missing", "along.square() / 2", "along.square()"),
        ("you return the reduced form", "along.square() / 2", "score(x).square().sum(1) / 2"),
        ("the sign of the curvature", "return (row * v)", "return -(row * v)"),
        ("multiply by v a second time", "(row * v)", "row"),
        ("got .*, expected", "along.square() / 2", "along.square() / 3"),
        (
            "not the exact loss",
            "return (row * v).sum(1)",
            "return (row * v).sum(1) + (v.abs() == 1).all()",
        ),
        ("does the trace keep its graph", "create_graph=True", "retain_graph=True"),
        (
            "one loss for each item",
            ".sum(1) + along.square() / 2",
            ".sum() + along.square().sum() / 2",
        ),
    ],
    "mixture-score": [
        (
            "the sign is wrong",
            "(means - x[:, None]) / c[:, None]",
            "-(means - x[:, None]) / c[:, None]",
        ),
        ("where the probabilities r_k", "log_parts.softmax(1)", "weights.expand(len(x), -1)"),
        ("sigma\\^2 is missing", "variances + sigma**2", "variances"),
        ("its square belongs there", "variances + sigma**2", "variances + sigma"),
        ("keep w_k and", "+ x.shape[1] * c.log()", "+ 7 * c.log()"),
        (
            "take logarithms, then softmax",
            "log_parts.softmax(1)",
            "log_parts.exp() / log_parts.exp().sum(1, keepdim=True)",
        ),
        ("three components in three dimensions", "x.shape[1] * c", "2 * c"),
    ],
    "mixture-dsm": [
        ("the factor 1/2 is missing", " / 2", ""),
        ("the target is minus the noise", "+ noise / sigma", "- noise / sigma"),
        ("not by sigma\\^2", "+ noise / sigma", "+ noise / sigma**2"),
        ("the target is not divided by sigma", "+ noise / sigma", "+ noise"),
        ("at the clean point", "score(x + sigma * noise)", "score(x)"),
        ("not scaled by sigma in the noised point", "score(x + sigma * noise)", "score(x + noise)"),
        ("not mean", "sum(1)", "mean(1)"),
        ("got .*, expected", "/ 2", "/ 3"),
        ("one loss for each item", "sum(1)", "sum()"),
        ("so it cannot train", "score(x + sigma * noise)", "score(x + sigma * noise).detach()"),
    ],
    "langevin-walks": [
        ("the states from the start to the end", "states = [x]", "states = []"),
        ("the start itself", "states = [x]", "states = [x + 1]"),
        ("the ascent runs downhill", "* score(x)", "* -score(x)"),
        ("you took all of it", "step_size / 2", "step_size"),
        ("first step without noise: got", "step_size / 2", "step_size / 3"),
        ("all chains got the same", "randn(x.shape,", "randn(2,"),
        ("both coordinates got the same", "randn(x.shape,", "randn(len(x), 1,"),
        (
            "draw it anew in every step",
            "            z =",
            "            generator.manual_seed(0)\n            z =",
        ),
        ("torch.randn, not torch.rand", "torch.randn(", "torch.rand("),
        ("by the step size: the square root is missing", "math.sqrt(step_size)", "step_size"),
        ("the variance 2 alpha", "math.sqrt(step_size)", "math.sqrt(2 * step_size)"),
        ("noise of a step: got", "math.sqrt(step_size)", "3 * step_size**0.5"),
        (
            "the noise is uniform",
            "* z",
            "* 12**0.5 * (torch.rand(x.shape, generator=generator, dtype=x.dtype) - 0.5)",
        ),
        ("draw everything from the generator", "generator=generator, ", ""),
        ("missing 1 required positional argument: 'generator'", "generator=None", "generator"),
        (
            "differ from the library's",
            "            z =",
            "            torch.rand(1, generator=generator)\n            z =",
        ),
    ],
    "langevin-thousand": [
        (
            "ascended should hold 1,000 points",
            "ascended = walk(mixture.score, starts,",
            "ascended = walk(mixture.score, starts[:9],",
        ),
        ("walked holds NaN", "walked =", "walked = torch.nan *"),
        ("walk longer, and without noise", "0.1, 1000)", "0.1, 30)"),
        ("is there noise", "walked = walk", "walked = ascended #"),
        ("too strong or too weak", "walked =", "walked = 1.3 *"),
        (
            "walk both from starts",
            "walked = walk",
            "walked = mixture.sample(1000, generator=dgm.seeded(1)) #",
        ),
        ("the share of the heavy mode", "== light", "!= light"),
        ("for draws of the mixture: got", "== light", "== 7"),
        (
            "for draws of equal weights: this is the weight of the mixture",
            "    return w, ",
            "    w = mixture.weights.min().item()\n    return w, ",
        ),
        ("of one point: divide by", " / len(x))", ")"),
        ("the square root is missing", "math.sqrt(w * (1 - w) / len(x))", "w * (1 - w) / len(x)"),
        ("the standard error, for .*: got", "/ len(x))", "/ len(x)) * 3"),
        ("return two values, the share", "return w, ", "return "),
    ],
    "noise-conditional-loss": [
        ("one number a point", "sum(1) / 2", "sum() / 2"),
        ("the model must get sigma", "noise, sigma)", "noise, sigma[:, None])"),
        ("the score was not called", "score(x + sigma[:, None] * noise, sigma)", "x"),
        (
            "draw them first",
            "    noise =",
            "    sigma = sigmas[torch.randint(len(sigmas), (len(x),), generator=generator)]\n    noise =",
        ),
        (
            "not sigma\\^2; got",
            "score(x + sigma[:, None] * noise",
            "score(x + sigma[:, None]**2 * noise",
        ),
        (
            "the noise is not multiplied by sigma",
            "score(x + sigma[:, None] * noise",
            "score(x + noise",
        ),
        ("the noise is uniform", "torch.randn(", "torch.rand("),
        ("at the clean point", "score(x + sigma[:, None] * noise", "score(x"),
        ("draw everything from the generator", "generator=generator, ", ""),
        ("so it cannot train", "square().sum(1)", "square().sum(1).detach()"),
        (
            "in the order of the task",
            "    noise =",
            "    torch.randn(8, generator=generator)\n    noise =",
        ),
        (
            "the weight sigma\\^2 is missing",
            "sigma[:, None] * score(x + sigma[:, None] * noise, sigma) + noise",
            "score(x + sigma[:, None] * noise, sigma) + noise / sigma[:, None]",
        ),
        ("wrong sign", "sigma) + noise", "sigma) - noise"),
        ("the factor 1/2 is missing", "sum(1) / 2", "sum(1)"),
        ("not mean", "sum(1) / 2", "mean(1) / 2"),
        ("got .*, expected", "sum(1) / 2", "sum(1) / 3"),
    ],
    "annealed-langevin": [
        ("you let it grow like sigma;", "** 2", ""),
        ("divide by sigmas..1.", "sigmas[-1]", "sigmas[0]"),
        ("upside down", "(sigma / sigmas[-1])", "(sigmas[-1] / sigma)"),
        ("every level has the same step", "** 2", "** 0"),
        ("the drift is alpha / 2", "alpha / 2 * score", "alpha * score"),
        ("the sign of the score", "+ alpha / 2 * score", "- alpha / 2 * score"),
        ("you use alpha; got", "alpha.sqrt() * noise", "alpha * noise"),
        ("the noise is uniform", "torch.randn(", "torch.rand("),
        ("came back unchanged", "            x = x +", "            _ = x +"),
        ("one step too many", "steps_per_level):", "steps_per_level + 1):"),
        ("each with fresh noise", "alpha / 2 * score", "alpha / 3 * score"),
        ("draw everything from the generator", "generator=generator, ", ""),
        ("the model must get sigma", "score(x, levels)", "score(x, sigma)"),
    ],
    "one-view-ve-score": [
        ("x is not scaled to x_t", "(a.sqrt() * x)", "(x)"),
        ("that is the score of x_t", "((1 - a) / a).sqrt()", "(1 - a).sqrt()"),
        ("the sign is wrong", "(-eps / sigma)", "(eps / sigma)"),
        ("the square root in sigma is missing", "((1 - a) / a).sqrt()", "((1 - a) / a)"),
        ("read at t - 1", "alpha_bar[t]", "alpha_bar[max(t - 1, 1)]"),
        (r"read at t \+ 1", "alpha_bar[t]", "alpha_bar[min(t + 1, 1000)]"),
        ("t = 300: got", "(-eps / sigma)", "(-eps / sigma * (1 + (t == 300)))"),
        ("t and s are ints here", "alpha_bar[t]", "alpha_bar[t][:, None]"),
        ("the model must get t", "torch.full((len(x),), t)", "t"),
    ],
    "one-view-heun": [
        ("the second slope is not used", "size / 2 * (first + second)", "size * first"),
        ("not at Euler's point", "f(u + size * first, there)", "f(u, there)"),
        ("the factor 1/2 is missing", "size / 2 *", "size *"),
        (r"lambda \+ 1: got", "size / 2 *", "size / 3 *"),
        ("f was called at the levels", "    return", "    f(u, here)\n    return"),
    ],
}


def exercises():
    """By grade_id: an exercise's solution, its test cell's source and output, and the imports of its notebook."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [
            cell
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        imports = [
            node
            for node in ast.parse("".join(cells[0]["source"])).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        by_id = {
            cell["metadata"]["nbgrader"]["grade_id"]: cell
            for cell in cells
            if "nbgrader" in cell["metadata"]
        }
        for name in by_id.keys() - {name for name in by_id if name.endswith("-test")}:
            test = by_id[f"{name}-test"]
            output = "".join("".join(part["text"]) for part in test["outputs"])
            source = "".join(by_id[name]["source"])
            lines = "\n".join(ast.unparse(node) for node in imports)
            found[name] = source, "".join(test["source"]), output, lines
    return found


EVERY = exercises()
EXERCISES = {  # the others are those of tests/test_work.py
    name: parts for name, parts in EVERY.items() if parts[1].startswith("dgm.checks.")
}
MIXTURE = dgm.GaussianMixture.from_student_number(5)
STARTS = 16 * torch.rand(1000, 2, generator=dgm.seeded(0), dtype=torch.float64) - 8


def root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


@functools.cache
def end(n, steps, noise):
    """The end of a walk of lab 10, which several tests need."""
    walk = (
        functools.partial(dgm.langevin, generator=dgm.seeded(1)) if noise else dgm.gradient_ascent
    )
    return walk(MIXTURE.score, STARTS[:n], step_size=0.1, steps=min(steps, 400))


def walk(score, x, step_size, steps, generator=None):
    return [end(len(x), steps, generator is not None)]


@functools.cache
def solution(name, *edits):
    """Run the solution of an exercise, edited; return its names, and its last function."""
    source, _, _, imports = EXERCISES[name]
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        if old not in source:
            raise ValueError(f"the solution of {name} does not hold {old!r}")
        source = source.replace(old, new)
    names = {"math": math, "torch": torch, "np": np, "root": root}
    names["schedule"] = dgm.NoiseSchedule.linear()
    exec(imports, names)
    if name == "langevin-thousand":
        names |= {"mixture": MIXTURE, "light": int(MIXTURE.weights.argmin()), "starts": STARTS}
        names["walk"] = walk
    exec(source, names)
    functions = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    return names, names[functions[-1]]


def check(name, *edits, wrap=lambda fn: fn):
    """Check the solution of an exercise, edited; ``wrap`` replaces the student's function."""
    names, fn = solution(name, *edits)
    walks = [names["ascended"], names["walked"]] if name == "langevin-thousand" else []
    getattr(checks, check_name(name))(*walks, wrap(fn), *([MIXTURE] if walks else []))


def check_name(name):
    return "check_" + name.replace("-", "_")


def message(name, *edits, wrap=lambda fn: fn):
    with pytest.raises(AssertionError) as caught:
        check(name, *edits, wrap=wrap)
    return str(caught.value)


@functools.cache
def planted(name):
    return {pattern: message(name, *edits) for pattern, *edits in MISTAKES[name]}


@functools.cache
def said(name, answer):
    """What the check of an exercise says of an answer of the folder: a message, or that it passes."""
    before = _trial.SECONDS
    _trial.SECONDS = 3 if "did not end" in answer.__doc__ else before
    try:
        store.check(name, answer)
    except AssertionError as error:
        return str(error)
    finally:
        _trial.SECONDS = before
    return "passes"


@pytest.mark.parametrize(
    ("name", "answer"), ANSWERS, ids=[f"{name}-{answer.__name__}" for name, answer in ANSWERS]
)
def test_an_answer_passes_or_its_mistake_is_named(name, answer):
    message = said(name, answer)
    if answer.__doc__ == "unnamed":
        assert "got" in message and "expected" in message
    else:
        assert answer.__doc__.removeprefix("... ") in message
    assert "\n" not in message and len(message) < 600


def test_most_wrong_answers_are_named_and_none_passes():
    outcomes = {pair: said(*pair) for pair in ANSWERS}
    right = [a for (_, a) in ANSWERS if a.__doc__ == "passes"]
    wrong = [pair for pair in ANSWERS if pair[1].__doc__ != "passes"]
    passed = [pair for pair in wrong if outcomes[pair] == "passes"]
    named = [
        (name, a)
        for name, a in wrong
        if not a.__doc__.startswith(("...", "unnamed")) and a.__doc__ in outcomes[name, a]
    ]
    print(f"{len(wrong)} wrong answers, {len(named)} named; {len(right)} right ones")
    assert passed == [] and len(wrong) >= 600 and len(named) >= 0.95 * len(wrong)
    assert len(right) >= 60 and all(outcomes[n, a] == "passes" for n, a in ANSWERS if a in right)
    every = collections.Counter(name for name, _ in wrong)
    assert every.keys() == EXERCISES.keys() and min(every.values()) >= 15


def test_the_stored_mistakes_are_those_of_the_wrong_answers(capsys):
    again = store.mistakes()
    assert again.keys() == STORED.keys() and sum(map(len, again.values())) >= 400
    for name, rows in again.items():
        assert [row[:2] for row in rows] == [row[:2] for row in STORED[name]], name
        for new, old in zip(rows, STORED[name], strict=True):
            torch.testing.assert_close(
                torch.tensor(new[2]), torch.tensor(old[2]), rtol=1e-5, atol=1e-8
            )


def each(change):
    """A wrapper of a function that applies ``change`` to each of its answers."""

    def wrap(fn):
        def changed(*arguments, **keywords):
            answer = fn(*arguments, **keywords)
            return tuple(map(change, answer)) if isinstance(answer, tuple) else change(answer)

        return changed

    return wrap


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_the_books_solution_passes_and_prints_what_the_lab_shows(name, capsys):
    assert check(name) is None
    assert capsys.readouterr().out == EXERCISES[name][2]


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_planted_mistakes_are_named(name):
    assert {
        pattern: text
        for pattern, text in planted(name).items()
        if not re.search(pattern, text, re.S)
    } == {}


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_every_message_of_a_check_can_be_reached(name):
    texts = []
    (function,) = [
        node
        for node in SOURCE.body
        if isinstance(node, ast.FunctionDef) and node.name == check_name(name)
    ]
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            texts += [
                key for key in node.keys if not isinstance(key, ast.Constant) or " " in key.value
            ]
        elif isinstance(node, ast.DictComp):
            texts += [node.key]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "_demand"
        ):
            texts += [node.args[1]]
    reached = [*planted(name).values(), *(said(*pair) for pair in ANSWERS if pair[0] == name)]
    for text in texts:
        parts = text.values if isinstance(text, ast.JoinedStr) else [text]
        pattern = ".*".join(
            re.escape(part.value) for part in parts if isinstance(part, ast.Constant)
        )
        assert any(re.search(pattern, message, re.S) for message in reached), pattern


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_what_is_no_answer_is_refused_in_words(name):
    def raising(error):
        def fn(*arguments, **keywords):
            raise error

        return lambda _: fn

    with pytest.raises(NotImplementedError):
        check(name, wrap=raising(NotImplementedError()))
    assert "your function raised ZeroDivisionError: by zero" in message(
        name, wrap=raising(ZeroDivisionError("by zero"))
    )
    assert re.search(
        "(must be|return|needs) .*None|object",
        message(name, wrap=lambda fn: lambda *arguments, **keywords: None),
    )
    assert re.search(
        "(must be|return|needs) .*shape",
        message(name, wrap=lambda fn: lambda *arguments, **keywords: torch.zeros(7, 7, 7)),
    )
    assert re.search("NaN|nan", message(name, wrap=each(lambda value: value * math.nan)))


@pytest.mark.parametrize(
    "name", sorted(EXERCISES.keys() - {"linear-schedule", "count-evaluations"})
)
def test_arguments_may_not_be_changed(name):
    def wrap(fn):
        def changing(*arguments, **keywords):
            answer = fn(*arguments, **keywords)
            next(value for value in arguments if isinstance(value, torch.Tensor)).mul_(0.5)
            return answer

        return changing

    assert re.search("your function changed its argument . in place", message(name, wrap=wrap))


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_numbers_and_arrays_are_refused_where_a_tensor_is_due(name):
    seen = []

    def to_array(value):
        seen.append(isinstance(value, torch.Tensor) and value.ndim > 0)
        return value.detach().numpy() if seen[-1] else value

    try:
        check(name, wrap=each(to_array))
    except AssertionError as error:
        assert "must be a float tensor" in str(error) and "got ndarray" in str(error)
    else:
        assert not any(seen)


@pytest.mark.parametrize(
    "name", sorted(EXERCISES.keys() - {"linear-schedule"})
)  # which asks for float64
def test_answers_rounded_to_float32_pass(name):
    check(
        name,
        wrap=each(
            lambda value: (
                value.float() if isinstance(value, torch.Tensor) else float(np.float32(value))
            )
        ),
    )


def by_arrays(T, beta_1, beta_T):
    beta = torch.cat([torch.zeros(1), torch.linspace(beta_1, beta_T, T, dtype=torch.float64)])
    return torch.stack([1 - beta, (1 - beta.requires_grad_()).cumprod(0)])


def by_x0_hat(schedule, x_t, eps, t, s, noise):
    a, b = schedule.alpha_bar[t], schedule.alpha_bar[s]
    x0_hat = x_t / a**0.5 - (1 / a - 1) ** 0.5 * eps
    mean = ((b - a) / b**0.5 * x0_hat + (a / b) ** 0.5 * (1 - b) * x_t) / (1 - a)
    return mean + ((1 / a - 1 / b) / (1 / a - 1) * (1 - b)) ** 0.5 * noise


def by_x0_hat_in_float32(schedule, x_t, eps, t, s, noise):
    return by_x0_hat(
        SimpleNamespace(alpha_bar=schedule.alpha_bar.float()),
        *(y.float() for y in (x_t, eps)),
        t,
        s,
        noise.float(),
    )


def by_the_papers_line(schedule, x_t, eps, t, s, noise, eta=0.0):
    a, b = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
    x_s = (
        math.sqrt(b) * (x_t - math.sqrt(1 - a) * eps) / math.sqrt(a)
        + math.sqrt(1 - b - sigma**2) * eps
    )
    return x_s if noise is None else x_s + sigma * noise


def by_precisions(schedule, x0, x_t, t, s):
    if s == 0:
        return x0, 0.0
    a = schedule.alpha_bar[s]
    alpha = schedule.alpha_bar[t] / a
    variance = 1 / (alpha / (1 - alpha) + 1 / (1 - a))
    mean = variance * (alpha.sqrt() / (1 - alpha) * x_t + a.sqrt() / (1 - a) * x0)
    return mean, variance.expand(len(x0), 1)


def by_expanding(schedule, x0, t, noise):
    a = schedule.alpha_bar.float()[t].view(-1, *[1] * (x0.ndim - 1)).expand_as(x0)
    return torch.sqrt(a) * x0 + torch.sqrt(1 - a) * noise


def by_one_picture_at_a_time(eps_model, schedule, x0, generator):
    noise = torch.randn(x0.shape, generator=generator)
    t = 1 + (schedule.T * torch.rand(len(x0), generator=generator)).long()
    a = schedule.alpha_bar.float()[t]
    x_t = torch.stack([a.sqrt() * x + (1 - a).sqrt() * z for a, x, z in zip(a, x0, noise)])
    eps = eps_model(x_t, t)
    return torch.stack([torch.nn.functional.mse_loss(e, z) for e, z in zip(eps, noise)])


def by_torchs_divergence(mean1, variance1, mean2, variance2):
    laws = (
        torch.distributions.Normal(m, v.sqrt()) for m, v in ((mean1, variance1), (mean2, variance2))
    )
    return torch.distributions.kl_divergence(*laws).flatten(1).sum(1)


def by_ddim_steps(eps_model, schedule, proposals, *, stop_at, generator):
    x = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    x = (
        schedule.alpha_bar[stop_at].sqrt() * proposals
        + (1 - schedule.alpha_bar[stop_at]).sqrt() * x
    )
    for t in reversed(range(1, stop_at + 1)):
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype) if t > 1 else None
        eps = eps_model(x, t * torch.ones(len(x), dtype=torch.int64))
        x = dgm.ddim_step(schedule, x, eps, t, t - 1, z, eta=float(t > 1))
    return x


def by_the_score_of_x_t(eps_model, schedule, x, t):
    a = schedule.alpha_bar.float()[t]
    score = -eps_model(a.sqrt() * x, torch.tensor([t] * len(x))) / torch.sqrt(1 - a)
    return a.sqrt() * score


class ByCalls:
    """Counts as an object, for a batch of one."""

    def __call__(self, sampler):
        self.count = 0
        sampler(
            self.model,
            dgm.NoiseSchedule.linear(),
            torch.randn(1, 2, generator=dgm.seeded(0)),
            generator=dgm.seeded(0),
        )
        return torch.tensor(self.count)

    def model(self, x, t):
        self.count += 1
        return x / 2


def by_forward_mode(score, x, v):
    s, along = torch.func.jvp(score, (x,), (v,))
    return (along * v).sum(1) + 0.5 * torch.einsum("bi,bi->b", s, v) ** 2


def by_autograd(x, weights, means, variances, sigma):
    x = x.detach().requires_grad_()
    c = variances + sigma**2
    normals = torch.distributions.MultivariateNormal(
        means, c[:, None, None] * torch.eye(x.shape[1], dtype=c.dtype)
    )
    log_p = (weights.log() + normals.log_prob(x[:, None])).logsumexp(1)
    return torch.autograd.grad(log_p.sum(), x)[0]


def by_jacobians(score, x):
    s = score(x)
    rows = torch.func.vmap(torch.func.jacrev(lambda y: score(y[None])[0]))(x)
    return 0.5 * (s**2).sum(-1) + torch.einsum("bii->b", rows)


def by_roots(mean1, cov1, mean2, cov2):
    r = root(cov1)
    return float(
        (mean1 - mean2) @ (mean1 - mean2) + torch.trace(cov1 + cov2 - 2 * root(r @ cov2 @ r))
    )


@pytest.mark.parametrize(
    ("name", "solution"),
    [
        ("linear-schedule", by_arrays),
        ("perturb-input", by_expanding),
        ("gaussian-kl", by_torchs_divergence),
        ("batch-loss", by_one_picture_at_a_time),
        ("ddpm-step", by_x0_hat),
        ("ddpm-step", by_x0_hat_in_float32),
        ("ddim-step", by_the_papers_line),
        ("one-view-ve-score", by_the_score_of_x_t),
        ("es-sampler", by_ddim_steps),
        ("count-evaluations", ByCalls()),
        ("scores-sliced", by_forward_mode),
        ("posterior", by_precisions),
        ("mixture-score", by_autograd),
        ("scores-exact", by_jacobians),
        ("frechet-distance", by_roots),
        (
            "mixture-dsm",
            lambda score, x, noise, sigma: (
                torch.norm(sigma * score(x + sigma * noise) + noise, dim=1) ** 2 / sigma**2 / 2
            ),
        ),
        (
            "one-view-heun",
            lambda f, u, here, there: (
                (u + u + (there - here) * ((d := f(u, here)) + f(u + (there - here) * d, there)))
                / 2
            ),
        ),
    ],
)
def test_other_right_solutions_pass(name, solution):
    check(name, wrap=lambda fn: solution)


def test_every_exercise_calls_its_own_check():
    found = [name for part in (checks, work) for name in dir(part) if name.startswith("check_")]
    assert sorted(found) == sorted(map(check_name, EVERY))
    for name, (_, test, _, _) in EVERY.items():
        called = re.fullmatch(r"dgm\.(checks|work)\.(\w+)\([\w, ]+\)", test)
        assert called and called[2] == check_name(name), name


def test_no_check_is_lost_under_optimisation():
    assert not [node.lineno for node in ast.walk(SOURCE) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_a_check_takes_under_three_seconds(name):
    solution(name)  # with the walks of lab 10, which the student takes
    start = time.process_time()
    check(name)
    assert time.process_time() - start < 3


@pytest.mark.parametrize("number", [*range(810_100_000, 810_100_057), 0, 5, 2**63 - 1])
def test_every_students_mixture_passes_the_check_of_lab_10(number):
    mixture = dgm.GaussianMixture.from_student_number(number)
    light = int(mixture.weights.argmin())
    basin = torch.cdist(STARTS, mixture.means).argmin(1)
    ascended = dgm.gradient_ascent(mixture.score, mixture.means, step_size=0.1, steps=400)[basin]
    spread = (mixture.variances / (1 - 0.1 / (4 * mixture.variances))).sqrt()[basin, None]
    noise = torch.randn(1000, 2, generator=dgm.seeded(1), dtype=torch.float64)
    walked = mixture.means[basin] + spread * noise  # what the walk leaves of each start

    def share(x):
        w = (torch.cdist(x, mixture.means).argmin(1) == light).double().mean().item()
        return w, math.sqrt(w * (1 - w) / len(x))

    checks.check_langevin_thousand(ascended, walked, share, mixture)
    with pytest.raises(AssertionError, match="the share of the heavy mode"):
        checks.check_langevin_thousand(
            ascended, walked, lambda x: (1 - share(x)[0], share(x)[1]), mixture
        )


def right(schedule, x0, t, noise):
    a = schedule.alpha_bar.float()[t].reshape(-1, *[1] * (x0.ndim - 1))
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def refused(answer, seconds=_trial.SECONDS):
    """The message of check_perturb_input, after which the package is as it was."""
    code, doors = dgm.perturb_input.__code__, (builtins.input, sys.stdout, sys.stderr)
    before, _trial.SECONDS = _trial.SECONDS, seconds
    try:
        with pytest.raises(_trial.WrongAnswer) as caught:
            checks.check_perturb_input(answer)
    finally:
        _trial.SECONDS = before
    assert dgm.perturb_input.__code__ is code
    assert (builtins.input, sys.stdout, sys.stderr) == doors
    x0 = torch.ones(2, 2)
    torch.testing.assert_close(
        dgm.perturb_input(checks.SCHEDULE, x0, torch.tensor([3, 4]), x0),
        right(checks.SCHEDULE, x0, torch.tensor([3, 4]), x0),
    )
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_packages_own_function_is_refused_in_whatever_way_it_is_called():
    ways = {
        "dgm.perturb_input": dgm.perturb_input,
        "partial": functools.partial(dgm.perturb_input),
        "a closure": lambda *arguments: dgm.diffusion.perturb_input(*arguments),
        "by another function": lambda schedule, x0, t, noise: dgm.invert_ddim(
            lambda x, t: noise, schedule, x0, steps=1
        ),
        "a general exception": swallowing,
    }
    for way in ways.values():
        assert "calls the package's perturb_input: this is the one you are to write" in refused(way)
    own = {
        "batch-loss": dgm.simple_loss,
        "gaussian-kl": dgm.gaussian_kl,
        "posterior": dgm.posterior,
        "ddpm-step": dgm.ddpm_step,
        "ddim-step": dgm.ddim_step,
        "es-sampler": dgm.sample_es_ddpm,
        "linear-schedule": dgm.NoiseSchedule.linear,
    }
    for name, function in own.items():
        wanted = "linear-schedule batch-loss"
        if name not in wanted:
            assert "this is the one you are to write" in message(name, wrap=lambda _: function)


def swallowing(*arguments):
    try:
        return dgm.perturb_input(*arguments)
    except Exception:
        return None


def test_an_answer_that_loops_sleeps_or_swallows_everything_is_ended():
    def loops(*_):
        while True:
            pass

    def swallows(*_):
        while True:
            with contextlib.suppress(BaseException):
                sum(range(1000))

    def sleeps(*_):
        time.sleep(8)

    start = time.monotonic()
    for answer in (loops, swallows):
        assert refused(answer, 0.5) == (
            "your function did not end within 0.5 seconds: is there an endless loop?"
        )
    assert "restart the kernel" in refused(sleeps, 0.5)
    assert time.monotonic() - start < 60


def test_an_answer_can_neither_end_the_kernel_nor_ask_nor_leave_threads():
    def threads(schedule, x0, t, noise):
        def work():
            while True:
                time.sleep(0.01)

        threading.Thread(target=work).start()
        return right(schedule, x0, t, noise)

    before = threading.active_count()
    assert "raised SystemExit" in refused(lambda *_: sys.exit())
    assert "calls exit or quit" in refused(lambda *_: builtins.exit())
    assert "waits for input" in refused(lambda *_: input("?"))
    assert "waits for input" in refused(lambda *_: breakpoint())
    assert "raised KeyboardInterrupt" in refused(raising_interrupt)
    assert "leaves a thread running" in refused(threads)
    time.sleep(0.1)
    assert threading.active_count() <= before


def raising_interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_an_answer_cannot_take_all_memory():
    def hoards(*_):
        kept = []
        while True:
            kept.append(bytearray(2**28))

    assert "a check allows 4 GiB more" in refused(hoards)
    assert "a check allows 4 GiB more" in refused(lambda *_: torch.empty(2**40))


def test_warnings_prints_and_stderr_of_a_right_answer_cost_nothing(capfd):
    def noisy(schedule, x0, t, noise):
        print("my t", "x" * 10**6)
        print("an error?", file=sys.stderr)
        torch.tensor(x0)  # warns
        return right(schedule, x0, t, noise)

    checks.check_perturb_input(noisy)
    out, err = capfd.readouterr()
    assert err == "" and out.startswith("my t xx") and len(out) < 12_000
    assert "(more was printed)" in out and "your function warns: UserWarning: To copy" in out
    assert out.endswith("x_t agrees with the closed form, for pictures and for points\n")


def test_a_notebook_shows_one_line_without_the_source_of_the_check(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_cell("import dgm_helpers as dgm")
    shell.run_cell("dgm.checks.check_perturb_input(lambda schedule, x0, t, noise: x0)")
    shell.run_cell("def f(*_):\n    raise NotImplementedError()")
    shell.run_cell("dgm.checks.check_perturb_input(f)")
    shell.run_cell("dgm.checks.check_perturb_input(lambda *_: exit())")
    InteractiveShell.clear_instance()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).strip().splitlines()
    assert lines == [
        "AssertionError: the noise that is given is not used",
        "NotImplementedError: this exercise is not solved yet",
        "AssertionError: your function calls exit or quit: return instead",
    ]


def test_a_long_error_becomes_one_line():
    def fails(*_):
        raise ValueError("first\nsecond\n" + 10_000 * "x")

    assert "raised ValueError: first second xxx" in refused(fails)


def test_the_line_of_an_answer_that_fails_is_shown():
    assert refused(failing).endswith(
        "raised IndexError: list index out of range (in the line: x0 = [][1])"
    )


def failing(schedule, x0, t, noise):
    x0 = [][1]
    return x0


def test_gradients_stay_as_the_caller_has_them():
    seen = []

    def spy(schedule, x0, t, noise):
        seen.append(torch.is_grad_enabled())
        return right(schedule, x0, t, noise)

    with torch.no_grad():
        checks.check_perturb_input(spy)
    checks.check_perturb_input(spy)
    assert set(seen[: len(seen) // 2]) == {False} and set(seen[len(seen) // 2 :]) == {True}
