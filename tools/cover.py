"""``python -m tools.cover`` draws the cover's pictures with the released network and writes them to ``book/_static``.

``cover.gif``: finished sprites, over which noise passes; each column is a path of the sampler, there and back.
``cover.png``: the same sprites at once, from noise on the left to the finished picture on the right; the still.
``preview.png``: the still with more rows, for those who pass the link on. ``logo.png``, ``favicon.png``: one sprite.
"""

from functools import partial
from pathlib import Path

import torch
from PIL import Image

import dgm_helpers as dgm
from dgm_helpers.sprites import tile, to_tensor, to_uint8

from .drawings.hand import SPRITE

STATIC = Path(__file__).parent.parent / "book" / "_static"
COLUMNS, ROWS = 16, 4
AWAY, BACK = 3, 11  # frames in which a column goes to noise and returns
STEPS = 100
DELAY = 2  # frames between one column and the next


def paths(n, seed):
    """States (STEPS + 1, n, 3, 16, 16), from noise to n sprites of all classes in turn; DDIM with eta = 1."""
    network, schedule = dgm.load_pretrained("sprites-generated"), dgm.NoiseSchedule.linear()
    eps_model = dgm.clipped(network.for_labels(torch.arange(n) % 5), schedule)
    x_T = torch.randn(n, 3, 16, 16, generator=dgm.seeded(seed))
    steps = dgm.reverse_process(
        eps_model,
        schedule,
        x_T,
        dgm.timesteps(1000, STEPS),
        partial(dgm.ddim_step, eta=1.0),
        generator=dgm.seeded(seed + 1),
    )
    return torch.stack([x_T, *(state.x for state in steps)])


def place(frame, column):
    """Which of the states the sprites of a column show in a frame."""
    since = frame - DELAY * column
    if since < 0 or since >= AWAY + BACK:
        return STEPS
    share = (since + 1) / AWAY if since < AWAY else 1 - (since - AWAY + 1) / BACK
    return later(1 - share)


def later(share):
    """A state of the second part of a path, in which something can be seen: share 0 is noise, 1 the picture."""
    return round(STEPS * (0.3 + 0.7 * min(1, share)))


def row_by_row(states, which, rows):
    """One state of each sprite, the columns' own, in the order of reading."""
    return torch.stack(
        [states[which[c], r * COLUMNS + c] for r in range(rows) for c in range(COLUMNS)]
    )


def enlarged(picture, scale):
    return Image.fromarray(picture).resize(
        (picture.shape[1] * scale, picture.shape[0] * scale), Image.Resampling.NEAREST
    )


def main():
    with torch.no_grad():
        states = paths(2 * ROWS * COLUMNS, 3)
    frames = DELAY * (COLUMNS - 1) + AWAY + BACK
    sheets = [
        row_by_row(states, [place(i, c) for c in range(COLUMNS)], ROWS) for i in range(frames)
    ]
    animation = dgm.animate(sheets, columns=COLUMNS, scale=1, milliseconds=90, hold=20)
    (STATIC / "cover.gif").write_bytes(animation)

    falling = [later(c / (COLUMNS - 5)) for c in range(COLUMNS)]
    still = tile(to_uint8(row_by_row(states, falling, ROWS)), COLUMNS)
    Image.fromarray(still).save(STATIC / "cover.png", optimize=True)
    preview = Image.new("RGB", (1200, 630), "white")
    many = tile(to_uint8(row_by_row(states, falling, 2 * ROWS)), COLUMNS)
    preview.paste(enlarged(many, 4), (20, 23))
    preview.quantize(256).save(STATIC / "preview.png", optimize=True)

    picture = to_tensor(dgm.load_sprites().images[SPRITE : SPRITE + 1])
    noise = torch.randn(picture.shape, generator=dgm.seeded(0))
    schedule = dgm.NoiseSchedule.linear()
    noised = [dgm.perturb_input(schedule, picture, t, noise) for t in (800, 300, 100, 0)]
    logo = tile(to_uint8(torch.cat(noised)), 4)
    enlarged(logo, 2).save(STATIC / "logo.png", optimize=True)
    enlarged(to_uint8(picture)[0], 4).save(STATIC / "favicon.png", optimize=True)
    for name in ("cover.gif", "cover.png", "preview.png", "logo.png", "favicon.png"):
        print(f"wrote {name}, {(STATIC / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
