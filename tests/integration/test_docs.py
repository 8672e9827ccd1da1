"""The code of the documentation that needs a server, run against a real one."""

import sys
from pathlib import Path

import pytest

from tests.backends.servers import JaegerServer, Server, TempoServer
from tests.integration.conftest import StartBackend
from tests.pages import DEFAULT_OTLP, ROOT, Block, Shell, blocks, executed_pages

# Where `make logfire` puts it.
LOGFIRE_PYTHON = Path(sys.prefix) / "logfire" / "bin" / "python"
JAEGER_QUERY = "http://localhost:16686"
TEMPO_QUERY = "http://localhost:3200"


def pages_with(server: str) -> list[Path]:
    """Return the pages with a block that needs a server."""
    return [page for page in executed_pages() if any(block.notes.get("needs") == server for block in blocks(page))]


def run_page(page: Path, folder: Path, name: str, server: Server, query: str) -> None:
    """Run a page from top to bottom with the addresses of a server, which is stopped and started where it says so."""
    shell = Shell(folder)
    shell.addresses = {DEFAULT_OTLP: server.otlp_http_endpoint, query: getattr(server, "query_url")}  # noqa: B009
    for block in blocks(page):
        if block.notes.get("start") == name and server.pid is None:
            server.start()
        elif block.notes.get("stop") == name:
            server.stop()
        elif block.is_run:
            shell.run(block)


@pytest.mark.parametrize("page", pages_with("jaeger"), ids=lambda page: page.name)
def test_page_with_jaeger_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, start_backend: StartBackend[Server]
) -> None:
    """A reader with a Jaeger gets what the page says, also when he stops it and starts it again."""
    run_page(page, tmp_path, "jaeger", start_backend(JaegerServer(tmp_path)), JAEGER_QUERY)


@pytest.mark.parametrize("page", pages_with("tempo"), ids=lambda page: page.name)
def test_page_with_tempo_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, start_backend: StartBackend[Server]
) -> None:
    """A reader with a Tempo gets what the page says."""
    run_page(page, tmp_path, "tempo", start_backend(TempoServer(tmp_path)), TEMPO_QUERY)


@pytest.mark.skipif(not LOGFIRE_PYTHON.exists(), reason="logfire is not installed: `make logfire`")
@pytest.mark.parametrize("page", pages_with("logfire"), ids=lambda page: page.name)
def test_page_with_logfire_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """A reader who has installed Logfire gets what the page says."""
    shell = Shell(tmp_path)
    shell.run(Block("bash", f"PYTHONPATH={ROOT}\nPATH={LOGFIRE_PYTHON.parent}:$PATH\n"))
    for block in blocks(page):
        if block.is_run:
            shell.run(block)


def test_pages_with_servers_are_those_that_speak_of_them() -> None:
    """The guard itself: none of these pages has lost its blocks."""
    assert [page.name for page in pages_with("jaeger")] == [
        "README.md",
        "tutorial.md",
        "collector-down.md",
        "doctor.md",
        "import-trace.md",
        "jaeger.md",
        "otel-native-program.md",
        "ship.md",
    ]
    assert [page.name for page in pages_with("tempo")] == ["grafana-tempo.md"]
    assert [page.name for page in pages_with("logfire")] == ["logfire.md"]
