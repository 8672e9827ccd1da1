"""Start and stop real servers on loopback ports."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from tests.backends.polling import wait_for
from tests.backends.programs import JAEGER, OTELCOL, TEMPO, BackendError, Program
from tests.backends.spans import BackendSpan, spans_from_otlp_lines
from tests.backends.wire import fetch

if TYPE_CHECKING:
    from typing_extensions import Self

HERE = Path(__file__).parent
PORTS = ("OTLP_HTTP_PORT", "OTLP_GRPC_PORT", "QUERY_PORT", "QUERY_GRPC_PORT", "HEALTH_PORT", "GOSSIP_PORT")
# Below the range that the kernel gives to outgoing connections (from 32768 on Linux). Inside it, a client of a stopped
# server may be given the server's port, or connect to itself, before a test starts the server again.
PORT_RANGE = range(20_000, 32_000)
FIRST_START_ATTEMPTS = 3
READY_SECONDS = 30
STOP_SECONDS = 15
LOG_TAIL_LINES = 40


class Server:
    """One server process; a context manager that starts and stops it.

    It may be stopped and started again: ports and data stay the same. The process has a group of its own, so that an
    interrupt from the keyboard does not end it before the test that uses it. On Linux the kernel kills it when the
    thread that started it ends, so a killed test run leaves nothing behind.
    """

    program: ClassVar[Program]
    config: ClassVar[str]
    ready_at: ClassVar[tuple[str, str]]  # port and path of the endpoint that answers 200 once the server is ready

    def __init__(self, directory: Path) -> None:
        """Prepare a server whose data and log go into `directory`; nothing is started or written yet."""
        self.directory = directory
        self.log_path = directory / f"{self.program.name}.log"
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def otlp_http_endpoint(self) -> str:
        """Base URL for OTLP over HTTP, without ``/v1/traces``."""
        return self._url("OTLP_HTTP_PORT")

    @property
    def otlp_grpc_endpoint(self) -> str:
        """URL for OTLP over gRPC without TLS."""
        return self._url("OTLP_GRPC_PORT")

    @property
    def pid(self) -> int | None:
        """Process id, or None when the server is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> str:
        """What the server printed in all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> Self:
        """Start the server and return when it says that it is ready.

        Raises:
            BackendMissingError: The program is not on this machine.
            BackendError: The server ended or was not ready in time; the message has the tail of its log.
        """
        if self.pid is not None:
            raise BackendError(f"{self.program.name} is already running")
        executable = self.program.find()
        attempts = 1 if self._ports else FIRST_START_ATTEMPTS
        for attempt in range(1, attempts + 1):
            if attempts > 1:
                self._ports = free_ports()
            already_logged = len(self.log)
            try:
                self._launch(executable)
            except BackendError:
                # Another process can take a port between our look at it and the server's.
                if attempt == attempts or "address already in use" not in self.log[already_logged:]:
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """End the server in the orderly way, and by force when that takes too long; no effect when not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash does; no effect when not running."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, executable: Path) -> list[str]:
        return [str(executable), "--config", f"file:{HERE / 'configs' / self.config}"]

    def _environment(self) -> dict[str, str]:
        return {}

    def _url(self, port: str) -> str:
        if not self._ports:
            raise BackendError(f"{self.program.name} has no ports before its first start")
        return f"http://127.0.0.1:{self._ports[port]}"

    def _launch(self, executable: Path) -> None:
        data = self.directory / f"{self.program.name}-data"
        data.mkdir(parents=True, exist_ok=True)
        # Nothing of the developer's environment: an OTEL_* or proxy variable would change what is tested.
        environment = {"PATH": os.defpath, "HOME": str(data), "DATA_DIR": str(data), **self._environment()}
        environment |= {name: str(port) for name, port in self._ports.items()}
        # -I -S: the launch script needs no site packages and must not read PYTHON* variables.
        launch = [sys.executable, "-I", "-S", str(HERE / "launch.py"), str(os.getpid())]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*launch, *self._command(executable)],
                cwd=data,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            ready = wait_for(self._ready_or_ended, timeout_seconds=READY_SECONDS)
        except BaseException:
            self.kill()
            raise
        if self.pid is None or not ready:
            reason = f"ended with status {self._process.poll()}" if self.pid is None else "was not ready in time"
            self.kill()
            tail = "\n".join(self.log.splitlines()[-LOG_TAIL_LINES:])
            raise BackendError(f"{self.program.name} {reason}; its log ({self.log_path}) ends with:\n{tail}")

    def _ready_or_ended(self) -> bool:
        if self.pid is None:
            return True
        port, path = self.ready_at
        try:
            status, _ = fetch(self._url(port) + path)
        except OSError:
            return False
        return status == 200

    def _end(self, first_signal: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            self._process.send_signal(first_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:
            # Also after an interrupt of the wait; without effect on a process that has ended.
            self._process.kill()
            self._process.wait()


class JaegerServer(Server):
    """Jaeger 2 with badger storage: what it acknowledged is visible at once, and still there after a crash."""

    program = JAEGER
    config = "jaeger.yaml"
    ready_at = ("HEALTH_PORT", "/status")

    @property
    def query_url(self) -> str:
        """Base URL of the HTTP query APIs and the UI."""
        return self._url("QUERY_PORT")


class TempoServer(Server):
    """Tempo 3 in one process: a trace is there by id at once, and by search after a few seconds.

    What it acknowledged just before a `kill` is lost (seen with 0.5 s between them): traces are in memory at first.
    """

    program = TEMPO
    config = "tempo.yaml"
    ready_at = ("QUERY_PORT", "/ready")

    @property
    def query_url(self) -> str:
        """Base URL of the HTTP query API."""
        return self._url("QUERY_PORT")

    def _command(self, executable: Path) -> list[str]:
        # The flag does not count as set without a value.
        return [str(executable), f"-config.file={HERE / 'configs' / self.config}", "-config.expand-env=true"]


class CollectorServer(Server):
    """OpenTelemetry Collector that writes what it gets into a file and can forward traces.

    It has no queue: the answer to a push says whether every exporter took it. The spans of a refused push
    may be in the file all the same.
    """

    program = OTELCOL
    config = "collector.yaml"
    ready_at = ("HEALTH_PORT", "/")

    def __init__(
        self,
        directory: Path,
        *,
        forward_http_to: str | None = None,
        forward_grpc_to: str | None = None,
        certificates: Path | None = None,
    ) -> None:
        """Prepare a collector.

        `forward_..._to` is the OTLP endpoint of a server behind it, a URL without a path. With `certificates`, a folder
        with `server.pem`, `server.key` and `authority.pem`, it takes OTLP by TLS alone, from clients that the authority
        vouches for.
        """
        super().__init__(directory)
        self._certificates = certificates
        self.export_path = directory / "collector-export.jsonl"
        self._forward_http_to = forward_http_to
        self._forward_grpc_to = forward_grpc_to

    def exported_spans(self) -> list[BackendSpan]:
        """Return every span in the file, in the order of arrival, duplicates included; written within 50 ms."""
        return spans_from_otlp_lines(self.export_path.read_text()) if self.export_path.exists() else []

    def _command(self, executable: Path) -> list[str]:
        command = super()._command(executable)
        if self._certificates is not None:
            command += ["--config", f"file:{HERE / 'configs' / 'collector-tls.yaml'}"]
        return command

    def _environment(self) -> dict[str, str]:
        exporters = ["debug", "file"]
        exporters += ["otlp_http"] if self._forward_http_to else []
        exporters += ["otlp_grpc"] if self._forward_grpc_to else []
        # An exporter without an endpoint is refused even when no pipeline uses it.
        nowhere = "http://127.0.0.1:1"
        return {
            "TRACE_EXPORTERS": f"[{', '.join(exporters)}]",
            "EXPORT_FILE": str(self.export_path),
            "CERTIFICATES": str(self._certificates or ""),
            "FORWARD_HTTP_ENDPOINT": self._forward_http_to or nowhere,
            "FORWARD_GRPC_ENDPOINT": self._forward_grpc_to or nowhere,
        }


def free_ports() -> dict[str, int]:
    """Return a loopback port that nobody listens on for each name in `PORTS`."""
    chosen: dict[str, int] = {}
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        chosen[PORTS[len(chosen)]] = port
        if len(chosen) == len(PORTS):
            return chosen
    raise BackendError("no free loopback ports")
