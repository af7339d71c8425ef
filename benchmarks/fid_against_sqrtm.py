"""Time the Fréchet distance against ``scipy.linalg.sqrtm`` of the covariances' product, as pytorch-fid computes it.

``python benchmarks/fid_against_sqrtm.py [D …]``; 512, 1024 and 2048 if not given. For each number of features D there
are two pairs of sets with different covariances: 2·D points a side, and D/2, whose covariances have not the full rank.
The whole of ``frechet_distance`` is timed against the root of the product alone, one after the other on one thread, in
seconds of the processor (the fair measure on a busy machine) and of the clock. The difference is that of the two
distances, relative.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the numerical libraries start

import time

import numpy as np
import scipy.linalg
import torch

import dgm_helpers as dgm
from dgm_helpers.fid import frechet_distance, mean_and_covariance


def points(n, D, g):
    """``n`` points of a Gaussian with correlated coordinates."""
    x, mix = (torch.randn(rows, D, generator=g, dtype=torch.float64) for rows in (n, D))
    return x + x @ mix / D**0.5


def timed(function):
    clock, processor = time.perf_counter(), time.process_time()
    value = function()
    return value, time.process_time() - processor, time.perf_counter() - clock


def compare(n, D):
    g = dgm.seeded(0)
    (mean1, cov1), (mean2, cov2) = (mean_and_covariance([points(n, D, g)]) for _ in range(2))
    ours, *seconds = timed(lambda: frechet_distance(mean1, cov1, mean2, cov2))
    root, *sqrtm_seconds = timed(lambda: scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy()))
    theirs = ((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace()).item() - 2 * np.trace(
        root
    ).real
    ratio = [b / a for a, b in zip(seconds, sqrtm_seconds, strict=True)]
    return seconds, sqrtm_seconds, ratio, abs(ours - theirs) / theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[512, 1024, 2048], metavar="D")
    torch.set_num_threads(1)
    scipy.linalg.eigvalsh(np.eye(8)), torch.linalg.eigh(torch.eye(8))  # the libraries load
    print(
        f"torch {torch.__version__}, scipy {scipy.__version__}, seconds of the processor (of the clock)"
    )
    print("    D      n   frechet_distance      sqrtm of product         ratio   difference")
    for D in parser.parse_args().sizes:
        for n in (2 * D, D // 2):
            (a, a_clock), (b, b_clock), (ratio, ratio_clock), difference = compare(n, D)
            times = f"{a:9.3f} ({a_clock:7.2f}) {b:11.3f} ({b_clock:7.2f})"
            ratios = f"{ratio:6.1f} ({ratio_clock:5.1f})   {difference:.1e}"
            print(f"{D:5} {n:6} {times} {ratios}", flush=True)


if __name__ == "__main__":
    main()
