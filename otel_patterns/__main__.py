"""`python -m otel_patterns` is the command `otel-patterns`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
