"""Real servers for the tests of this folder."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar, cast

import pytest

from tests.backends.programs import JAEGER, OTELCOL, TEMPO, BackendMissingError
from tests.backends.servers import CollectorServer, JaegerServer, Server, TempoServer

AnyServer = TypeVar("AnyServer", bound=Server)
StartBackend = Callable[[AnyServer], AnyServer]


def start_or_skip(server: AnyServer) -> AnyServer:
    """Start a server, or skip the test when its program is not on this machine; any other failure is an error."""
    try:
        return server.start()
    except BackendMissingError as missing:
        pytest.skip(str(missing))


def shared(server: AnyServer) -> Iterator[AnyServer]:
    """Yield a server that runs until the end of the session."""
    yield start_or_skip(server)
    # Nobody reads its data again, and Tempo can take more than a minute to end in the orderly way.
    server.kill()


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JaegerServer]:
    """Yield a Jaeger that all tests share; each test makes trace ids and run ids of its own."""
    yield from shared(JaegerServer(tmp_path_factory.mktemp("jaeger")))


@pytest.fixture(scope="session")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempoServer]:
    """Yield a Tempo that all tests share; each test makes trace ids and run ids of its own."""
    yield from shared(TempoServer(tmp_path_factory.mktemp("tempo")))


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorServer]:
    """Yield a collector that all tests share; it forwards nothing and must not be stopped."""
    yield from shared(CollectorServer(tmp_path_factory.mktemp("collector")))


@pytest.fixture
def start_backend() -> Iterator[StartBackend[Server]]:
    """Yield a function that starts a server for one test only, which may stop, kill and restart it."""
    with ExitStack() as started:

        def start(server: AnyServer) -> AnyServer:
            started.callback(server.kill)
            return start_or_skip(server)

        yield start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests did not run because a program is missing, and how to get it.

    Without it, a machine that has no back end at all looks like one where everything passed.
    """
    reports = cast("list[pytest.TestReport]", terminalreporter.stats.get("skipped", []))
    reasons = Counter(report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple))
    lines = [
        f"{count} skipped: {missing}"
        for missing in (str(BackendMissingError(program)) for program in (JAEGER, TEMPO, OTELCOL))
        for reason, count in reasons.items()
        if missing in reason
    ]
    if lines:
        terminalreporter.section("back ends not tested", yellow=True)
        for line in lines:
            terminalreporter.write_line(line)
