"""``python -m tools.drawings [NAME …]`` draws ``book/drawings/NAME.svg``, or all of them."""

import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt

from .hand import DRAWINGS, STYLE, to_svg

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / "book" / "drawings"

for module in sorted(HERE.glob("ch*.py")):
    import_module(f".{module.stem}", __package__)
for name in sys.argv[1:] or DRAWINGS:
    with plt.rc_context(STYLE):
        svg = to_svg(DRAWINGS[name]())
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    print(f"wrote {name}.svg, {len(svg) / 1000:.0f} kB")
