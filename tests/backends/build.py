"""Build Jaeger and the OpenTelemetry Collector into the cache folder, once for each version of their inputs.

Run as ``python -m tests.backends.build``. Needs Go; without it nothing is built and the tests of these servers skip.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.backends.programs import JAEGER, OTELCOL, Program, cache_folder

HERE = Path(__file__).parent
JAEGER_MODULE = HERE / "jaeger"
JAEGER_PACKAGE = "github.com/jaegertracing/jaeger/cmd/jaeger"
COLLECTOR_MANIFEST = HERE / "collector" / "manifest.yaml"
COLLECTOR_BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.159.0"


def build_jaeger(target: Path) -> None:
    """Link Jaeger to `target` from the module in this folder, which pins every dependency."""
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), JAEGER_PACKAGE]
    run(command, folder=JAEGER_MODULE)


def build_collector(target: Path) -> None:
    """Link a collector with only the components of the manifest to `target`."""
    tools = cache_folder() / "bin"
    run(["go", "install", "-trimpath", COLLECTOR_BUILDER], folder=HERE, GOBIN=str(tools))
    sources = target.parent / "collector-sources"
    # The builder takes any key of its manifest from an environment variable of that name. The manifest itself cannot
    # name the folder, because a relative one would put generated sources into the repository.
    run(
        [str(tools / "builder"), "--config", str(COLLECTOR_MANIFEST)], folder=HERE, **{"dist.output_path": str(sources)}
    )
    (sources / OTELCOL.name).replace(target)


def run(command: list[str], *, folder: Path, **environment: str) -> None:
    """Run a build step with its output on stderr; cgo is off so that the program needs no C library of this machine."""
    print("+", *command, file=sys.stderr, flush=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", **environment}
    subprocess.run(command, cwd=folder, env=env, stdout=sys.stderr, check=True)


def build_once(program: Program, build: Callable[[Path], None], inputs: bytes) -> None:
    """Build a program unless the cache has one from the same inputs.

    The program appears under its name complete or not at all, also when the build is interrupted.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    installed, stamp = cache / program.name, cache / f"{program.name}.inputs"
    checksum = hashlib.sha256(inputs).hexdigest()
    if installed.exists() and stamp.exists() and stamp.read_text().strip() == checksum:
        print(f"{installed} is up to date", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix=f".{program.name}-", dir=cache) as scratch:
        target = Path(scratch) / program.name
        build(target)
        # Without the old stamp, a stop between the two steps leads to one more build and never to a wrong stamp.
        stamp.unlink(missing_ok=True)
        target.replace(installed)
        written = Path(scratch) / stamp.name
        written.write_text(checksum + "\n")
        written.replace(stamp)
    print(f"built {installed}", file=sys.stderr)


def main() -> int:
    """Build what is missing and return the exit status."""
    if shutil.which("go") is None:
        print(
            "go is not installed: Jaeger and the collector are not built, their tests will be skipped", file=sys.stderr
        )
        return 0
    jaeger_inputs = b"\0".join((JAEGER_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    collector_inputs = COLLECTOR_MANIFEST.read_bytes() + b"\0" + COLLECTOR_BUILDER.encode()
    try:
        build_once(JAEGER, build_jaeger, jaeger_inputs)
        build_once(OTELCOL, build_collector, collector_inputs)
    except subprocess.CalledProcessError as error:
        print(f"failed with status {error.returncode}: {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
