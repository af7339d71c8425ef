"""Time ``langevin``, which moves all chains in one batch, against loops that walk one chain after the other.

``python benchmarks/langevin_against_loop.py [CHAINS …]``; 1000 if not given. Every chain takes 1,000 steps of 0.1 on
the assignment's mixture (student 810100007). The batch is timed in full. A loop walks ``--loop-chains`` chains (5 if
not given) for as many steps, and its time is scaled to all chains, which is fair: the chains of a loop cost the same
each. Three loops, which differ in the score: ``mixture.score`` of one point, the formula of two Gaussians written out,
and autograd through the log density. One thread, in seconds of the processor (the fair measure on a busy machine) and
of the clock; the ratio is of the former. Before that, the batch is checked against the loop with the same noise.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the numerical libraries start

import math
import time
from functools import partial

import torch

import dgm_helpers as dgm

MIXTURE = dgm.GaussianMixture.from_student_number(810_100_007)
STEP_SIZE = 0.1


def library_score(x):
    return MIXTURE.score(x[None])[0]


def formula_score(x):
    """The score of two Gaussians, as one writes it from the formula."""
    pulls, densities = [], []
    for weight, mean, variance in zip(MIXTURE.weights, MIXTURE.means, MIXTURE.variances):
        along = x - mean
        densities.append(
            weight / (2 * math.pi * variance) * torch.exp(-along @ along / (2 * variance))
        )
        pulls.append(-along / variance)
    return (densities[0] * pulls[0] + densities[1] * pulls[1]) / (densities[0] + densities[1])


def autograd_score(x):
    x = x.detach().requires_grad_()
    squares = (x - MIXTURE.means).square().sum(1)
    log_weights = MIXTURE.weights.log() - MIXTURE.variances.log()
    log_p = torch.logsumexp(log_weights - squares / (2 * MIXTURE.variances), 0)
    return torch.autograd.grad(log_p, x)[0]


SCORES = {
    "mixture.score": library_score,
    "written out": formula_score,
    "autograd": autograd_score,
}


def walk(score, x, noise):
    """One chain, with the noise of its steps, (steps, 2)."""
    for z in noise:
        x = x + STEP_SIZE / 2 * score(x) + math.sqrt(STEP_SIZE) * z
    return x


def loop(score, starts, steps, g):
    return [walk(score, x, torch.randn(steps, 2, generator=g, dtype=torch.float64)) for x in starts]


def timed(function):
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - processor, time.perf_counter() - clock


def starts(chains):
    return 16 * torch.rand(chains, 2, generator=dgm.seeded(0), dtype=torch.float64) - 8


def check():
    """The largest difference of batch and loops, same noise: three chains by 20 steps from between the modes."""
    x, g = starts(3) / 8, dgm.seeded(1)
    noise = torch.stack([torch.randn(3, 2, generator=g, dtype=torch.float64) for _ in range(20)])
    batch = dgm.langevin(MIXTURE.score, x, step_size=STEP_SIZE, steps=20, generator=dgm.seeded(1))
    walked = [
        torch.stack([walk(score, x[b], noise[:, b]) for b in range(3)]) for score in SCORES.values()
    ]
    return max((batch - y).abs().max().item() for y in walked)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[1000], metavar="CHAINS")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--loop-chains", type=int, default=5)
    arguments = parser.parse_args()
    steps, few = arguments.steps, arguments.loop_chains
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, largest difference of batch and loops {check():.1e}")
    print("seconds of the processor (of the clock); loops scaled from", few, "chains")
    batch = partial(dgm.langevin, MIXTURE.score, step_size=STEP_SIZE, steps=steps)
    for chains in arguments.sizes:
        x, g = starts(chains), dgm.seeded(2)
        ours, clock = timed(partial(batch, x, generator=g))
        print(f"{chains} chains by {steps} steps   batch  {ours:18.2f} ({clock:8.2f})", flush=True)
        for name, score in SCORES.items():
            loops = timed(partial(loop, score, x[:few], steps, g))
            seconds, clock = (value * chains / few for value in loops)
            ratio = f"{seconds / ours:6.0f} times the batch"
            print(f"   loop, {name:14} {seconds:20.1f} ({clock:8.1f})   {ratio}", flush=True)


if __name__ == "__main__":
    main()
