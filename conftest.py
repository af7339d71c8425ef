"""Notebooks are run again by nbval and their outputs compared: words and integers exactly, decimals to 1e-3,
pictures not at all.
"""

import math
import os
import re

from nbval.plugin import IPyNbCell

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that spin while they wait are slow beside any busy process

DECIMAL = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")
compare_exactly = IPyNbCell.compare_outputs


def close(new, old):
    pairs = zip(DECIMAL.findall(new), DECIMAL.findall(old))
    return DECIMAL.sub("#", new) == DECIMAL.sub("#", old) and all(
        math.isclose(float(a), float(b), rel_tol=1e-3) for a, b in pairs
    )


def compare_outputs(self, test, ref, skip_compare=None):
    for new, old in zip(test, ref):
        for n, o in ((new, old), (new.get("data", {}), old.get("data", {}))):
            for key in (
                n.keys() & o.keys()
            ):  # glued values are stored as application/papermill.record/text/plain
                if (
                    key.endswith(("image/svg+xml", "image/png", "image/gif"))
                    or key.endswith(("text", "text/plain"))
                    and close(n[key], o[key])
                ):
                    n[key] = o[key]
    return compare_exactly(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs
