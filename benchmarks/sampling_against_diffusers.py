"""Time a sampling step, a training step and the import of the package beside those of diffusers, on one thread.

``python benchmarks/sampling_against_diffusers.py``. Without diffusers only the package's own times are printed. It is
no requirement of the book; an environment of its own holds both::

    python -m venv peer && peer/bin/pip install -r requirements.txt diffusers==0.42.1
    HF_HUB_OFFLINE=1 PYTHONPATH=. peer/bin/python benchmarks/sampling_against_diffusers.py

*Sampling*: ``sample_ddim`` and ``sample_ddpm`` with 50 steps of 64 sprites, float32 (64, 3, 16, 16), beside the loop
around ``DDIMScheduler.step`` and ``DDPMScheduler.step``; the network is a fixed tensor that costs nothing. Both sides
make the same samples; the largest difference is printed, relative to the largest value. *Training*: a step of the
U-Net, batch 64, with Adam and the averaged network, in torch's contiguous memory format and in channels_last, as
``train`` has it, beside diffusers' ``UNet2DModel`` of about as many parameters. *Import*: ``import dgm_helpers``
beside ``import torch``, in new processes.

Both sides take turns, and of all turns the least is printed (of the imports the median of five): seconds of the
processor, the fair measure on a busy machine, and of the clock.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the numerical libraries start

import argparse
import copy
import resource
import statistics
import subprocess
import sys
import time
from functools import partial

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import dgm_helpers as dgm
from dgm_helpers.networks import UNet

try:
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
except ImportError:
    DDIMScheduler = DDPMScheduler = UNet2DModel = None

STEPS, BATCH = 50, 64
SCHEDULE = dgm.NoiseSchedule.linear()
X_T = torch.randn(BATCH, 3, 16, 16, generator=dgm.seeded(0))
EPS = 0.3 * X_T + 0.3 * torch.randn(X_T.shape, generator=dgm.seeded(1))


def free(x_t, t):
    """A network that costs nothing."""
    return EPS


def by_scheduler(kind, settings, **more):
    """The samples of a loop around diffusers' scheduler, with the timesteps and the noise of ours."""
    scheduler = kind(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        timestep_spacing="trailing",
        **settings,
    )
    scheduler.set_timesteps(STEPS)
    x, generator = X_T, dgm.seeded(2)
    for t in scheduler.timesteps:
        eps = free(x, t)
        x = scheduler.step(eps, t, x, generator=generator, **more).prev_sample
    return x


def samplers():
    """By name: our sampler, and the peer's or None."""
    ddim = partial(dgm.sample_ddim, schedule=SCHEDULE, x_T=X_T, steps=STEPS)
    ddpm = partial(dgm.sample_ddpm, schedule=SCHEDULE, x_T=X_T, steps=STEPS)
    clipped = dgm.clipped(free, SCHEDULE)
    ours = {
        "DDIM": lambda: ddim(free),
        "DDIM, clipped": lambda: ddim(clipped),
        "DDPM": lambda: ddpm(free, generator=dgm.seeded(2)),
        "DDPM, clipped": lambda: ddpm(clipped, generator=dgm.seeded(2)),
    }
    if DDIMScheduler is None:
        return {name: (function, None) for name, function in ours.items()}
    theirs = {
        "DDIM": lambda: by_scheduler(DDIMScheduler, {"clip_sample": False}),
        "DDIM, clipped": lambda: by_scheduler(
            DDIMScheduler, {"clip_sample": True}, use_clipped_model_output=True
        ),
        "DDPM": lambda: by_scheduler(DDPMScheduler, {"clip_sample": False}),
        "DDPM, clipped": lambda: by_scheduler(DDPMScheduler, {"clip_sample": True}),
    }
    return {name: (ours[name], theirs[name]) for name in ours}


def training_step(model, predict):
    """A function that makes one step: the loss, its gradient, Adam, the average."""
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9995))
    optimizer, g = torch.optim.Adam(model.parameters(), 2e-4), dgm.seeded(3)
    x0 = torch.rand(BATCH, 3, 16, 16, generator=g) * 2 - 1
    labels = torch.randint(5, (BATCH,), generator=g)

    def step():
        t = torch.randint(1, SCHEDULE.T + 1, (BATCH,), generator=g)
        noise = torch.randn(x0.shape, generator=g)
        loss = dgm.simple_loss(partial(predict, model, labels), SCHEDULE, x0, t, noise).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update_parameters(model)

    return step


def networks():
    """By name: a network and how it is asked for the noise."""

    def ours(model, labels, x_t, t):
        return model(x_t, t, labels)

    def theirs(model, labels, x_t, t):
        return model(x_t, t, labels).sample

    found = {
        "UNet, contiguous": (UNet((24, 40, 56)), ours),
        "UNet, channels_last": (UNet((24, 40, 56)).to(memory_format=torch.channels_last), ours),
    }
    if UNet2DModel is not None:
        peer = UNet2DModel(
            sample_size=16,
            layers_per_block=2,
            block_out_channels=(24, 40, 48),
            down_block_types=["DownBlock2D"] * 3,
            up_block_types=["UpBlock2D"] * 3,
            norm_num_groups=8,
            num_class_embeds=6,
        )
        found["UNet2DModel, contiguous"] = (peer, theirs)
        peer = copy.deepcopy(peer).to(memory_format=torch.channels_last)
        found["UNet2DModel, channels_last"] = (peer, theirs)
    return found


def timed(function):
    """Seconds of the processor and of the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - processor, time.perf_counter() - clock


def least(functions, turns):
    """By name: the least seconds of the processor and of the clock, over turns that the functions take in order."""
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            seconds[name].append(timed(function))
    return {name: [min(column) for column in zip(*rows)] for name, rows in seconds.items()}


def imported(module):
    """Seconds of the processor and of the clock of a new process that imports a module."""
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - clock
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=40, help="of the samplers")
    parser.add_argument("--training-turns", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    peer = "without diffusers"
    if DDIMScheduler is not None:
        import diffusers

        peer = f"diffusers {diffusers.__version__}"
    print(f"torch {torch.__version__}, {peer}; of the processor (of the clock)")

    print(
        f"\na step of {BATCH} sprites, ms       ours            diffusers      ratio   difference"
    )
    for name, (ours, theirs) in samplers().items():
        if theirs is None:
            a, a_clock = (1e3 * s / STEPS for s in least({"ours": ours}, arguments.turns)["ours"])
            print(f"{name:24} {a:7.3f} ({a_clock:6.3f})", flush=True)
            continue
        best = least({"ours": ours, "theirs": theirs}, arguments.turns)
        (a, a_clock), (b, b_clock) = ([1e3 * s / STEPS for s in row] for row in best.values())
        samples = theirs()
        difference = (ours() - samples).abs().max() / samples.abs().max()
        columns = f"{a:7.3f} ({a_clock:6.3f}) {b:9.3f} ({b_clock:6.3f})"
        print(f"{name:24} {columns} {a / b:8.2f}   {difference:.1e}", flush=True)

    print(f"\na training step, batch {BATCH}     ms                  ratio   parameters")
    found = networks()
    steps = {name: training_step(*pair) for name, pair in found.items()}
    best = least(steps, arguments.training_turns)
    first = best["UNet, contiguous"][0]
    for name, (seconds, clock) in best.items():
        size = sum(p.numel() for p in found[name][0].parameters())
        times = f"{1e3 * seconds:7.1f} ({1e3 * clock:6.1f})"
        print(f"{name:28} {times} {seconds / first:8.2f}   {size:10,}", flush=True)

    print("\nimport in a new process   s               ratio")
    rows = [[imported(module) for module in ("torch", "dgm_helpers")] for _ in range(6)][1:]
    medians = [[statistics.median(column) for column in zip(*runs)] for runs in zip(*rows)]
    for module, (seconds, clock) in zip(("torch", "dgm_helpers"), medians):
        ratios = f"{seconds / medians[0][0]:6.2f} ({clock / medians[0][1]:.2f})"
        print(f"{module:22} {seconds:6.2f} ({clock:5.2f}) {ratios}", flush=True)


if __name__ == "__main__":
    main()
