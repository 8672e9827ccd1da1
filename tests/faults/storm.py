"""How much the storms and the fuzz do, and with which seed.

`OTEL_PATTERNS_STORM=50` makes them fifty times as large; `OTEL_PATTERNS_SEED=…` repeats one that failed, and
`OTEL_PATTERNS_ROUND=…` one round of it.
"""

from __future__ import annotations

import os
import random

STORM = int(os.environ.get("OTEL_PATTERNS_STORM") or "1")
SEED = int(os.environ.get("OTEL_PATTERNS_SEED") or random.SystemRandom().randrange(10**9))
ROUND = int(os.environ["OTEL_PATTERNS_ROUND"]) if os.environ.get("OTEL_PATTERNS_ROUND") else None
