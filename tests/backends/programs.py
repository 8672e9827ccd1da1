"""Where the programs of the back ends are."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


class BackendError(Exception):
    """A back end could not be started, or gave an answer that no test may rely on."""


class BackendMissingError(BackendError):
    """The program of a back end is not on this machine.

    Attributes:
        program: The program that was looked for.
    """

    def __init__(self, program: "Program") -> None:
        super().__init__(f"{program.name} not found: {program.remedy}")
        self.program = program


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that the tests run but the repository does not contain.

    Attributes:
        name: File name of the executable.
        setting: Environment variable that holds its path and goes before every other place.
        remedy: What a developer does to have it.
    """

    name: str
    setting: str
    remedy: str

    def find(self) -> Path:
        """Return the executable: the one of the setting, else the one built into the cache, else the one on PATH.

        Raises:
            BackendMissingError: It is in none of these places.
            BackendError: The setting names something that is not an executable file.
        """
        if named := os.environ.get(self.setting):
            if not os.access(named, os.X_OK) or not Path(named).is_file():
                # Falling back to another copy would test something else than what was asked for.
                raise BackendError(f"{self.setting} names {named}, which is not an executable file")
            return Path(named).resolve()
        if os.access(built := cache_folder() / self.name, os.X_OK):
            return built
        if on_path := shutil.which(self.name):
            return Path(on_path).resolve()
        raise BackendMissingError(self)


JAEGER = Program(
    name="jaeger",
    setting="OTEL_PATTERNS_JAEGER",
    remedy="run `make backends` (needs Go), or put jaeger 2.x on PATH or its path in OTEL_PATTERNS_JAEGER",
)
OTELCOL = Program(
    name="otelcol",
    setting="OTEL_PATTERNS_OTELCOL",
    remedy="run `make backends` (needs Go), or put otelcol on PATH or its path in OTEL_PATTERNS_OTELCOL",
)
TEMPO = Program(
    name="tempo",
    setting="OTEL_PATTERNS_TEMPO",
    remedy="put tempo 3.x on PATH or its path in OTEL_PATTERNS_TEMPO",
)


def cache_folder() -> Path:
    """Return the folder outside the repository that holds what was built; it need not exist."""
    if named := os.environ.get("OTEL_PATTERNS_BACKENDS"):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "otel-patterns-backends"
