"""How hypothesis runs here: the same examples every time in CI, other ones on a developer's machine."""

import os

from hypothesis import HealthCheck, settings

# No deadline: a loaded machine is no failure. Nothing is kept in CI, where the examples are the same anyway.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")
