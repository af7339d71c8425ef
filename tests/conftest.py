"""How hard hypothesis tries: `ci` is short and the same each time, `soak` (`make soak`) is long and new each time."""

import os

from hypothesis import HealthCheck, settings

ALWAYS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", max_examples=20, derandomize=True, **ALWAYS)
settings.register_profile("soak", max_examples=2000, print_blob=True, **ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
