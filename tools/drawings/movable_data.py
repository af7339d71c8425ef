"""``python -m tools.drawings.movable_data`` writes ``book/_static/movable/data.js``: what the movable figures show.

Their stills show the same. The figures compute everything else themselves; ``tests/test_movable.py`` compares their
mathematics with the package.
"""

import base64
import json
from pathlib import Path

import dgm_helpers as dgm

from .hand import SPRITE

FILE = Path(__file__).parent.parent.parent / "book" / "_static" / "movable" / "data.js"

SCHEDULE = {"T": 1000, "beta1": 1e-4, "betaT": 0.02}
PIXEL = {"weights": [0.3, 0.7], "means": [-1.0, 1.0], "variances": [0.0, 0.0]}
STEP_BACK = {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "variances": [0.15, 0.15]}
GAUSSIAN_DIVERGENCE = {"shift": 1.0, "variance": 0.5}  # of p; q is N(0, 1)
LINE = {"weights": [0.35, 0.65], "means": [-1.0, 1.0], "variances": [0.03, 0.03]}
ONE_PIXEL = {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "variances": [0.0, 0.0]}
ONE_FEATURE = {"shift": 0.3, "spread": 0.6, "n": 12}  # generated against N(0, 1)
EARLY_STOP = {
    "truth": {"weights": [0.3, 0.7], "means": [-1.0, 0.6], "variances": [0.02, 0.05]},
    "proposal": {"weights": [0.5, 0.5], "means": [-0.8, 0.5], "variances": [0.12, 0.15]},
}
FIT_GAUSSIAN = {"points": [1.0, 2.0, 6.0], "mu": 2.0, "c": 3.0}


def plane():
    """The mixture in the plane of the labs on scores."""
    mixture = dgm.GaussianMixture.from_student_number(810_100_007)
    return {name: getattr(mixture, name).tolist() for name in ("weights", "means", "variances")}


def settings():
    sprite = dgm.load_sprites().images[SPRITE].tobytes()
    return {
        "schedule": SCHEDULE,
        "forward": {"sprite": base64.b64encode(sprite).decode("ascii"), "pixel": PIXEL},
        "step-back": STEP_BACK,
        "gaussian-divergence": GAUSSIAN_DIVERGENCE,
        "one-pixel": ONE_PIXEL,
        "reverse": LINE,
        "one-feature": ONE_FEATURE,
        "early-stop": EARLY_STOP,
        "fit-gaussian": FIT_GAUSSIAN,
        "score-field": plane(),
        "langevin": plane(),
        "flow-sde": LINE,
    }


def script():
    """The text of data.js."""
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in settings().items()
    )
    return f"/* Made by python -m tools.drawings.movable_data. */\nglobalThis.movableData = {{\n{lines},\n}};\n"


if __name__ == "__main__":
    FILE.write_text(script(), encoding="utf-8")
    print(f"wrote {FILE.name}, {FILE.stat().st_size / 1000:.1f} kB")
