"""The checks of the exercises: the book's own solutions pass, and edits of them that plant a mistake are refused by its name."""

import ast
import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dgm_helpers import checks
from dgm_helpers.langevin import gradient_ascent, langevin
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.schedules import NoiseSchedule

ROOT = Path(__file__).parent.parent
SOURCE = ast.parse(Path(checks.__file__).read_text())
READ_AT_T = "a = schedule.alpha_bar[t].reshape(-1, *[1] * (x0.ndim - 1)); "
TO_NOISE = "perturb_input(schedule, proposals, t, noise())"
SCALE = "(1 - schedule.alpha_bar[t[0]]).sqrt() * noise()"
LAST_NOISE = """
        z = noise()
        x = ddpm_step(schedule, x, eps_model(x, t), t, t - 1, z) + (t[0] == 1) * schedule.beta[1].sqrt() * z
"""

MISTAKES = {
    "linear-schedule": [
        ("alpha holds beta", "return alpha,", "return np.append(1.0, 1 - alpha[1:]),"),
        ("alpha is off by one: t holds t - 1", "return alpha,", "return np.append(1.0, alpha[:-1]),"),
        (r"alpha is off by one: t holds t \+ 1", "return alpha,", "return np.append(alpha[1:], 0.9),"),
        ("square root of alpha;", "return alpha,", "return alpha**0.5,"),
        (r"alpha\[0\] must be 1", "return alpha,", "return np.append(0.9, alpha[1:]),"),
        ("alpha_bar is alpha; take", "np.cumprod(alpha)", "alpha"),
        ("the product to T, not to t", "np.cumprod(alpha)", "np.full(T + 1, np.prod(alpha))"),
        ("the product of beta", "np.cumprod(alpha)", "np.append(1.0, np.cumprod(1 - alpha[1:]))"),
        ("alpha_bar is off by one: t holds t - 1", "np.cumprod(alpha)", "np.append(1.0, np.cumprod(alpha)[:-1])"),
        (r"alpha_bar is off by one: t holds t \+ 1", "np.cumprod(alpha)", "np.cumprod(np.append(alpha[1:], 0.98))"),
        ("square root of alpha_bar;", "np.cumprod(alpha)", "np.cumprod(alpha) ** 0.5"),
        ("in alpha: is it the product", "beta_T, T)", "beta_T, T) ** 2"),
        (r"1001 entries in float64, got shape \(1000,\)", "[[1.0], ", "[["[:1]),
        ("1001 entries in float64, got .* float32", "np.cumprod(alpha)", "np.cumprod(alpha).astype(np.float32)"),
        ("return two values, alpha and alpha_bar", "return alpha, np.cumprod(alpha)", "return np.cumprod(alpha)"),
    ],
    "perturb-input": [
        ("both square roots are missing", "a.sqrt() * x0 + (1 - a).sqrt()", "a * x0 + (1 - a)"),
        ("the square root of 1 - alpha_bar is missing", "(1 - a).sqrt()", "(1 - a)"),
        ("the square root of alpha_bar is missing", "a.sqrt() * x0", "a * x0"),
        ("you use t - 1", "alpha_bar[t]", "alpha_bar[(t - 1).clamp(min=0)]"),
        ("you use t \\+ 1", "alpha_bar[t]", "alpha_bar[(t + 1).clamp(max=1000)]"),
        ("the product runs to T", "alpha_bar[t]", "alpha_bar[-1].expand(6)"),
        ("alpha in place of alpha_bar", "alpha_bar[t]", "(alpha_bar[t] / torch.where(t > 0, alpha_bar[t - 1], 1))"),
        ("term by term", "a.sqrt() * x0 +", "a.sqrt() * x0 -"),
        ("do not draw it anew", "* noise", "* torch.randn_like(x0)"),
        ("cast back from float64", ".to(x0.dtype)", ""),
        ("your function raised RuntimeError: .*the shape \\(B, 1, 1, 1\\)", "[:, None, None, None]", ""),
        ("must be a float tensor of shape \\(6, 3, 4, 4\\), got Tensor .*shape \\(6, 48\\)", ".to(x0.dtype)", ".to(x0.dtype).flatten(1)"),
        ("must be a float tensor .*got None", "return", "_ ="),
        ("must be a float tensor .*got ndarray", ".to(x0.dtype)", ".float().numpy()"),
        ("must be a float tensor .*got float", "return", "return 0.5 or"),
        ("must be a float tensor .*int64", ".to(x0.dtype)", ".long()"),
        ("holds NaN", "(1 - a).sqrt()", "(-a).sqrt()"),
        ("changed its argument 2 in place", "return (a.sqrt() * x0", "return (x0.mul_(a.sqrt())"),
    ],
    "posterior": [
        ("beta_t, the variance of the forward step", "(1 - a_s) / (1 - a_t) * (1 - alpha)", "1 - alpha"),
        ("the standard deviation, not the variance", "(1 - a_s) / (1 - a_t) * (1 - alpha)", "((1 - a_s) / (1 - a_t) * (1 - alpha)) ** 0.5"),
        ("alpha_bar is missing at x0", "a_s.sqrt()", "a_s"),
        ("alpha_t is missing at x_t", "alpha.sqrt()", "alpha"),
        ("both square roots are missing", "a_s.sqrt()", "a_s", "alpha.sqrt()", "alpha"),
        (r"read at t -1", "a_t, a_s =", "t = max(t - 1, 1); a_t, a_s ="),
        (r"read at t \+1", "a_t, a_s =", "t = min(t + 1, 1000); a_t, a_s ="),
        ("the square is not completed", "* (1 - a_s) * x_t", "* (1 + a_s) * x_t"),
        ("the mean must be x0", "return mean,", "return mean + (t == 1),"),
        ("the variance must be a number, got Tensor .*shape \\(5, 2\\)", "return mean, ", "return mean, 0 * mean + "),
        ("the variance must be finite", "return mean, ", "return mean, math.nan * "),
        ("the mean must be a float tensor", "return mean, ", "return mean[0], "),
        ("return two values, mean and variance", "return mean, ", "return "),
    ],
    "gaussian-kl": [
        ("the arguments are swapped", "ratio =", "mu_1, v_1, mu_2, v_2 = mu_2, v_2, mu_1, v_1; ratio ="),
        ("the factor 1/2 is missing", ") / 2", ")"),
        ("in nats", ") / 2", ") / 2 / math.log(2)"),
        ("taken for standard deviations", "ratio =", "v_1, v_2 = v_1**2, v_2**2; ratio ="),
        ("equal laws have divergence 0", ") / 2", ") / 2 + (mu_1 == 0.3)"),
        ("from N.*: got .*expected", "- math.log", "+ math.log"),
        ("must be a number, got None", "return", "_ ="),
    ],
    "batch-loss": [
        ("sum over the values instead of the mean", "mean(1)", "sum(1)"),
        ("is the noise standard normal", "torch.randn(", "torch.rand("),
        ("got one t for the whole batch", "(len(x0),)", "(1,)", "    noise =", "    t = t.expand(len(x0))\n    noise ="),
        ("t = 0 was drawn", "randint(1,", "randint(0,"),
        ("t must reach T", "schedule.T + 1", "schedule.T"),
        ("uniform in 1…T", "    noise =", "    t = (t + 1) // 2 * 2\n    noise ="),
        ("both square roots are missing", "x_t =", READ_AT_T + "x_t = a * x0 + (1 - a) * noise #"),
        ("root of alpha_bar is missing", "x_t =", READ_AT_T + "x_t = a * x0 + (1 - a).sqrt() * noise #"),
        ("root of 1 - alpha_bar is missing", "x_t =", READ_AT_T + "x_t = a.sqrt() * x0 + (1 - a) * noise #"),
        ("you use t - 1", "x0, t, noise)", "x0, t - 1, noise)"),
        ("you use t \\+ 1", "x0, t, noise)", "x0, (t + 1).clamp(max=1000), noise)"),
        ("the product runs to T", "x0, t, noise)", "x0, 0 * t + schedule.T, noise)"),
        ("alpha in place of alpha_bar", "x_t =", READ_AT_T.replace("_bar", "") + "x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise #"),
        ("is the noise of the loss", "return (noise", "return (torch.randn(x0.shape, generator=generator)"),
        ("one loss per picture", ".flatten(1).mean(1)", ".mean()"),
        ("Reshape a coefficient of each picture", "x_t =", "x_t = schedule.alpha_bar[t] * x0 #"),
        (r"the model must get t as .*int64 .*\(20000,\)", "eps_model(x_t, t)", "eps_model(x_t, t.float())"),
        ("eps_model was not called", "noise - eps_model(x_t, t)", "noise"),
    ],
    "ddpm-step": [
        ("read one place too early", "alpha =", "t = max(t - 1, 1); alpha ="),
        ("read one place too late", "alpha =", "t = min(t + 1, 1000); alpha ="),
        ("by the variance, not by its square root", "variance.sqrt()", "variance"),
        ("sigma is the large one", "(1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * ", ""),
        ("noise is added at the last step", "variance.sqrt()", "(variance + (t == 1) * (1 - alpha)).sqrt()"),
        ("the factor of z is", "variance.sqrt()", "variance.sqrt() / 2"),
        ("root of 1 - alpha_bar is missing", "(1 - alpha_bar[t]).sqrt()", "(1 - alpha_bar[t])"),
        ("root of alpha is missing", "/ alpha.sqrt()", "/ alpha"),
        ("both square roots", "(1 - alpha_bar[t]).sqrt()", "(1 - alpha_bar[t])", "/ alpha.sqrt()", "/ alpha"),
        ("the mean is wrong", "(x_t - ", "(x_t + "),
        ("do not draw it anew", "* z", "* torch.randn_like(z)"),
    ],
    "ddim-step": [
        (
            "sigma is the large one",
            "* (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)",
            "* (1 - a_t / a_s)",
            "(1 - a_s - variance)",
            "(1 - a_s - variance).clamp(min=0)",
        ),
        ("by the variance, not by its square root", "variance.sqrt() * z", "variance * z"),
        ("eta stands under the square root", "eta**2", "eta"),
        ("off by one, read at 199 and 150", "alpha_bar[t], alpha_bar[s]", "alpha_bar[t - 1], alpha_bar[s]"),
        ("off by one, read at 200 and 151", "alpha_bar[t], alpha_bar[s]", "alpha_bar[t], alpha_bar[s + 1]"),
        ("off by one, read at 199 and 151", "alpha_bar[t], alpha_bar[s]", "alpha_bar[t - 1], alpha_bar[s + 1]"),
        ("read at 200 and 199: the step leads to s", "alpha_bar[t], alpha_bar[s]", "alpha_bar[t], alpha_bar[t - 1]"),
        ("noise is added at the last step", "variance.sqrt() * z", "(variance + (s == 0) * 1e-4).sqrt() * z"),
        ("sigma\\^2 is not taken off", "1 - a_s - variance", "1 - a_s"),
        ("root of alpha_bar_t is missing", "/ a_t.sqrt()", "/ a_t"),
        ("root of 1 - alpha_bar_t is missing", "(1 - a_t).sqrt()", "(1 - a_t)"),
        ("root of alpha_bar_s is missing", "a_s.sqrt()", "a_s"),
        ("root of 1 - alpha_bar_s - sigma\\^2 is missing", "(1 - a_s - variance).sqrt()", "(1 - a_s - variance)"),
        ("the factor of z is", "variance.sqrt() * z", "variance.sqrt() * z / 2"),
        ("a factor of x0_hat or of eps is wrong", "x0_hat +", "x0_hat -"),
        ("is a root of a negative number taken", "1 - a_s - variance", "a_s - 1 - variance"),
        ("do not draw it anew", "* z", "* torch.randn_like(z)"),
    ],
    "count-evaluations": [
        ("no call is made at t = 0", "return len(calls)", "return len(calls) + 1"),
        ("a call for the whole batch is one", "calls.append(t)", "calls.extend(t)"),
        ("DDIM with 50 steps: got 1, expected 50", "return len(calls)", "return 1"),
        ("the count must be a number", "return len(calls)", "return calls"),
    ],
    "frechet-distance": [
        ("summed without their root", "eigenvalues.sqrt()", "eigenvalues"),
        ("entry by entry", "eigenvalues.sqrt().sum()", "(cov1 @ cov2).diagonal().clamp(min=0).sqrt().sum()"),
        ("they do not commute", "eigenvalues.sqrt().sum()", "(root(cov1) @ root(cov2)).trace()"),
        ("means is not squared", "(mean1 - mean2).square().sum()", "(mean1 - mean2).norm()"),
        ("the factor 2", "- 2 * eigen", "- eigen"),
        ("the sign of the root's trace", "- 2 * eigen", "+ 2 * eigen"),
        ("the means are left out", "(mean1 - mean2).square().sum() + traces", "traces"),
        ("the traces are left out", "cov1.trace() + cov2.trace() - 2", "-2"),
        ("return a float, got Tensor", ".item()", ""),
        ("root of a negative number", ".item()", ".item() * math.nan"),
        ("from itself is 0", ".item()", ".item() + (mean1 == mean2).all().item()"),
        ("rank 1: got .*expected", "- 2 * eigen", "- 3 * eigen"),
    ],
    "es-sampler": [
        ("needs no network", "while t[0] > 0", "eps_model(x, t)\n    while t[0] > 0"),
        ("must return the proposals unchanged", "return x", "return x + 1e-3"),
        ("start at stop_at", "    while", "    t = t + (1000 - stop_at) * (stop_at > 0)\n    while"),
        (r"got 201 from \[200\] to \[0\]", "    return x", "    if stop_at:\n        eps_model(x, t)\n    return x"),
        (r"got 199 from \[199\] to \[1\]", "    while", "    t = (t - 1).clamp(min=0)\n    while"),
        (r"200 calls at t = 200, \.\.\., 1 expected, got 100", "        t = t - 1", "        t = t - 2"),
        ("proposals without noise", TO_NOISE, "proposals"),
        ("the noise is uniform", "torch.randn(", "torch.rand("),
        (r"multiplied by sqrt\(alpha_bar\)", TO_NOISE, "proposals + " + SCALE),
        ("first state: the square root of alpha_bar is missing", TO_NOISE, "schedule.alpha_bar[t[0]] * proposals + " + SCALE),
        ("first state: off by one: you use t - 1", "proposals, t, noise()", "proposals, (t - 1).clamp(min=0), noise()"),
        ("is its noise the first draw", "    x = perturb", "    noise()\n    x = perturb"),
        ("sigma is the large one", "t - 1, noise())", "t - 1, noise(), variance='large')"),
        ("the steps add no noise", "t - 1, noise())", "t - 1, 0 * noise())"),
        ("noise is added at the last step", "        x = ddpm_step(schedule, x, eps_model(x, t), t, t - 1, noise())", LAST_NOISE),
        ("the draws' order differs", "        x = ddpm", "        noise()\n        x = ddpm"),
        ("the model must get t", "eps_model(x, t)", "eps_model(x, 1.0 * t)"),
    ],
    "scores-exact": [
        ("you summed the whole Jacobian", "s[:, i].sum()", "s.sum()"),
        ("the factor 1/2 is missing", "sum(1) / 2", "sum(1)"),
        ("the sign of the trace is wrong", "loss + row", "loss - row"),
        ("the trace is missing", "loss + row[:, i]", "loss"),
        ("got .*, expected", "loss + row[:, i]", "loss + 3 * row[:, i]"),
        ("does the trace keep its graph", "create_graph=True", "retain_graph=True"),
        ("one loss for each item", "return loss", "return loss.mean()"),
    ],
    "scores-sliced": [
        ("one is enough", "    return", "    torch.autograd.grad(along.sum(), x, create_graph=True)\n    return"),
        ("the factor 1/2 is missing", "along.square() / 2", "along.square()"),
        ("you return the reduced form", "along.square() / 2", "score(x).square().sum(1) / 2"),
        ("multiply by v a second time", "(row * v)", "row"),
        ("got .*, expected", "along.square() / 2", "along.square() / 3"),
        ("not the exact loss", "return (row * v).sum(1)", "return (row * v).sum(1) + (v.abs() == 1).all()"),
        ("one loss for each item", ".sum(1) + along.square() / 2", ".sum() + along.square().sum() / 2"),
    ],
    "mixture-score": [
        ("the sign is wrong", "(means - x[:, None]) / c[:, None]", "-(means - x[:, None]) / c[:, None]"),
        ("where the probabilities r_k", "log_parts.softmax(1)", "weights.expand(len(x), -1)"),
        ("sigma\\^2 is missing", "variances + sigma**2", "variances"),
        ("its square belongs there", "variances + sigma**2", "variances + sigma"),
        ("keep w_k and", "+ x.shape[1] * c.log()", "+ 7 * c.log()"),
        ("take logarithms, then softmax", "log_parts.softmax(1)", "log_parts.exp() / log_parts.exp().sum(1, keepdim=True)"),
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
    ],
    "langevin-walks": [
        ("the states from the start to the end", "states = [x]", "states = []"),
        ("the start itself", "states = [x]", "states = [x + 1]"),
        ("the ascent runs downhill", "* score(x)", "* -score(x)"),
        ("you took all of it", "step_size / 2", "step_size"),
        ("first step without noise: got", "step_size / 2", "step_size / 3"),
        ("all chains got the same", "randn(x.shape,", "randn(2,"),
        ("both coordinates got the same", "randn(x.shape,", "randn(len(x), 1,"),
        ("draw it anew in every step", "            z =", "            generator.manual_seed(0)\n            z ="),
        ("torch.randn, not torch.rand", "torch.randn(", "torch.rand("),
        ("by the step size: the square root is missing", "math.sqrt(step_size)", "step_size"),
        ("the variance 2 alpha", "math.sqrt(step_size)", "math.sqrt(2 * step_size)"),
        ("noise of a step: got", "math.sqrt(step_size)", "3 * step_size**0.5"),
        ("the noise is uniform", "* z", "* 12**0.5 * (torch.rand(x.shape, generator=generator, dtype=x.dtype) - 0.5)"),
        ("differ from the library's", "            z =", "            torch.rand(1, generator=generator)\n            z ="),
    ],
    "langevin-thousand": [
        ("ascended should hold 1,000 points", "gradient_ascent(mixture.score, starts,", "gradient_ascent(mixture.score, starts[:9],"),
        ("walked holds NaN", "walked =", "walked = torch.nan *"),
        ("walk longer, and without noise", "steps=1000)", "steps=30)"),
        ("is there noise", "walked = langevin", "walked = ascended #"),
        ("too strong or too weak", "walked =", "walked = 1.3 *"),
        ("the share of the heavy mode", "== light", "!= light"),
        ("for draws of the mixture: got", "== light", "== 7"),
        ("of one point: divide by", " / len(x))", ")"),
        ("the square root is missing", "math.sqrt(w * (1 - w) / len(x))", "w * (1 - w) / len(x)"),
        ("the standard error: got", "/ len(x))", "/ len(x)) * 2"),
        ("return two values, the share", "return w, ", "return "),
    ],
    "noise-conditional-loss": [
        ("one number a point", "sum(1) / 2", "sum() / 2"),
        ("the model must get sigma", "noise, sigma)", "noise, sigma[:, None])"),
        ("the score was not called", "score(x + sigma[:, None] * noise, sigma)", "x"),
        ("draw them first", "    noise =", "    sigma = sigmas[torch.randint(len(sigmas), (len(x),), generator=generator)]\n    noise ="),
        ("not sigma\\^2; got", "score(x + sigma[:, None] * noise", "score(x + sigma[:, None]**2 * noise"),
        ("the noise is not multiplied by sigma", "score(x + sigma[:, None] * noise", "score(x + noise"),
        ("the noise is uniform", "torch.randn(", "torch.rand("),
        ("at the clean point", "score(x + sigma[:, None] * noise", "score(x"),
        ("in the order of the task", "    noise =", "    torch.randn(8, generator=generator)\n    noise ="),
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
        ("each with fresh noise", "steps_per_level):", "steps_per_level + 1):"),
        ("the model must get sigma", "score(x, levels)", "score(x, sigma)"),
    ],
    "one-view-ve-score": [
        ("x is not scaled to x_t", "(a.sqrt() * x)", "(x)"),
        ("that is the score of x_t", "((1 - a) / a).sqrt()", "(1 - a).sqrt()"),
        ("the sign is wrong", "(-eps / sigma)", "(eps / sigma)"),
        ("the square root in sigma is missing", "((1 - a) / a).sqrt()", "((1 - a) / a)"),
        ("read at t -1", "alpha_bar[t]", "alpha_bar[max(t - 1, 1)]"),
        ("read at t .1", "alpha_bar[t]", "alpha_bar[min(t + 1, 1000)]"),
        ("t = 300: got", "(-eps / sigma)", "(-eps / sigma * (1 + (t == 300)))"),
        ("the model must get t", "torch.full((len(x),), t)", "t"),
    ],
    "one-view-heun": [
        ("the second slope is not used", "size / 2 * (first + second)", "size * first"),
        ("not at Euler's point", "f(u + size * first, there)", "f(u, there)"),
        ("the factor 1/2 is missing", "size / 2 *", "size *"),
        ("lambda: got", "size / 2 *", "size / 3 *"),
        ("f was called at the levels", "    return", "    f(u, here)\n    return"),
    ],
}


def exercises():
    """By grade_id: an exercise's solution, its test cell's source and stored output, and the imports of its notebook."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        imports = [node for node in ast.parse("".join(cells[0]["source"])).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        by_id = {cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in cells if "nbgrader" in cell["metadata"]}
        for name in by_id.keys() - {name for name in by_id if name.endswith("-test")}:
            test = by_id[f"{name}-test"]
            output = "".join("".join(part["text"]) for part in test["outputs"])
            source = "".join(by_id[name]["source"])
            found[name] = source, "".join(test["source"]), output, "\n".join(ast.unparse(node) for node in imports)
    return found


EXERCISES = exercises()
MIXTURE = GaussianMixture.from_student_number(5)
STARTS = 16 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 8


def root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@functools.cache
def walk(n, steps, noise):
    """The ends of the walks of lab 10, which several tests need."""
    x, steps = STARTS[:n], min(steps, 400)
    if noise:
        return langevin(MIXTURE.score, x, step_size=0.1, steps=steps, generator=seeded(1))
    return gradient_ascent(MIXTURE.score, x, step_size=0.1, steps=steps)


def ends(score, x, step_size, steps, generator=None):
    return walk(len(x), steps, generator is not None)


@functools.cache
def solution(name, *edits):
    """Run the solution of an exercise, edited; return its names, and its last function."""
    source, _, _, imports = EXERCISES[name]
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        if old not in source:
            raise ValueError(f"the solution of {name} does not hold {old!r}")
        source = source.replace(old, new)
    names = {"math": math, "torch": torch, "np": np, "seeded": seeded, "root": root, "schedule": NoiseSchedule.linear()}
    exec(imports, names)
    if name == "langevin-thousand":
        names |= {"mixture": MIXTURE, "light": int(MIXTURE.weights.argmin()), "starts": STARTS}
        names |= {"gradient_ascent": ends, "langevin": ends}
    exec(source, names)
    return names, names[[node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)][-1]]


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


def each(change):
    """A wrapper of a function that applies ``change`` to each of its answers."""

    def wrap(fn):
        def changed(*arguments):
            answer = fn(*arguments)
            return tuple(map(change, answer)) if isinstance(answer, tuple) else change(answer)

        return changed

    return wrap


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_the_books_solution_passes_and_prints_what_the_lab_shows(name, capsys):
    assert check(name) is None
    assert capsys.readouterr().out == EXERCISES[name][2]


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_planted_mistakes_are_named(name):
    assert {pattern: text for pattern, text in planted(name).items() if not re.search(pattern, text, re.S)} == {}


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_every_message_of_a_check_can_be_reached(name):
    texts = []
    (function,) = [node for node in SOURCE.body if isinstance(node, ast.FunctionDef) and node.name == check_name(name)]
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            texts += [key for key in node.keys if not isinstance(key, ast.Constant) or " " in key.value]
        elif isinstance(node, ast.DictComp):
            texts += [node.key]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_require":
            texts += [node.args[1]]
    assert texts
    for text in texts:
        parts = text.values if isinstance(text, ast.JoinedStr) else [text]
        pattern = ".*".join(re.escape(part.value) for part in parts if isinstance(part, ast.Constant))
        assert any(re.search(pattern, reached, re.S) for reached in planted(name).values()), pattern


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_what_is_no_answer_is_refused_in_words(name):
    def raising(error):
        def fn(*arguments):
            raise error

        return lambda _: fn

    with pytest.raises(NotImplementedError):
        check(name, wrap=raising(NotImplementedError()))
    assert "your function raised ZeroDivisionError: by zero" in message(name, wrap=raising(ZeroDivisionError("by zero")))
    assert re.search("(must be|return|needs) .*None|object", message(name, wrap=lambda fn: lambda *arguments: None))
    assert re.search("(must be|return|needs) .*shape", message(name, wrap=lambda fn: lambda *arguments: torch.zeros(7, 7, 7)))
    assert re.search("NaN|nan", message(name, wrap=each(lambda value: value * math.nan)))


@pytest.mark.parametrize("name", sorted(EXERCISES.keys() - {"linear-schedule", "gaussian-kl", "count-evaluations"}))
def test_arguments_may_not_be_changed(name):
    def wrap(fn):
        def changing(*arguments):
            answer = fn(*arguments)
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


@pytest.mark.parametrize("name", sorted(EXERCISES.keys() - {"linear-schedule"}))  # which asks for float64
def test_answers_rounded_to_float32_pass(name):
    check(name, wrap=each(lambda value: value.float() if isinstance(value, torch.Tensor) else float(np.float32(value))))


def by_x0_hat(alpha_bar, x_t, eps, t, z):
    a, b = alpha_bar[t], alpha_bar[t - 1]
    x0_hat = x_t / a**0.5 - (1 / a - 1) ** 0.5 * eps
    mean = ((b - a) / b**0.5 * x0_hat + (a / b) ** 0.5 * (1 - b) * x_t) / (1 - a)
    return mean + ((1 / a - 1 / b) / (1 / a - 1) * (1 - b)) ** 0.5 * z


def by_precisions(alpha_bar, x0, x_t, t):
    if t == 1:
        return x0, 0.0
    alpha, a = alpha_bar[t] / alpha_bar[t - 1], alpha_bar[t - 1]
    variance = 1 / (alpha / (1 - alpha) + 1 / (1 - a))
    return variance * (alpha.sqrt() / (1 - alpha) * x_t + a.sqrt() / (1 - a) * x0), variance


def by_autograd(x, weights, means, variances, sigma):
    x = x.detach().requires_grad_()
    c = variances + sigma**2
    normals = torch.distributions.MultivariateNormal(means, c[:, None, None] * torch.eye(x.shape[1], dtype=c.dtype))
    log_p = (weights.log() + normals.log_prob(x[:, None])).logsumexp(1)
    return torch.autograd.grad(log_p.sum(), x)[0]


def by_jacobians(score, x):
    s = score(x)
    rows = torch.func.vmap(torch.func.jacrev(lambda y: score(y[None])[0]))(x)
    return 0.5 * (s**2).sum(-1) + torch.einsum("bii->b", rows)


def by_roots(mean1, cov1, mean2, cov2):
    r = root(cov1)
    return float((mean1 - mean2) @ (mean1 - mean2) + torch.trace(cov1 + cov2 - 2 * root(r @ cov2 @ r)))


@pytest.mark.parametrize(
    ("name", "solution"),
    [
        ("ddpm-step", by_x0_hat),
        ("posterior", by_precisions),
        ("mixture-score", by_autograd),
        ("scores-exact", by_jacobians),
        ("frechet-distance", by_roots),
        ("gaussian-kl", lambda m, v, n, w: 0.5 * (math.log(w) - math.log(v) + v / w + (n - m) ** 2 / w) - 0.5),
        ("mixture-dsm", lambda score, x, noise, sigma: torch.norm(sigma * score(x + sigma * noise) + noise, dim=1) ** 2 / sigma**2 / 2),
        ("one-view-heun", lambda f, u, here, there: (u + u + (there - here) * ((d := f(u, here)) + f(u + (there - here) * d, there))) / 2),
    ],
)
def test_other_right_solutions_pass(name, solution):
    check(name, wrap=lambda fn: solution)


def test_every_exercise_calls_its_own_check():
    assert {name for name in dir(checks) if name.startswith("check_")} == set(map(check_name, EXERCISES))
    for name, (_, test, _, _) in EXERCISES.items():
        called = re.fullmatch(r"checks\.(\w+)\([\w, ]+\)", test)
        assert called and called[1] == check_name(name), name


def test_no_check_is_lost_under_optimisation():
    assert not [node.lineno for node in ast.walk(SOURCE) if isinstance(node, ast.Assert)]
