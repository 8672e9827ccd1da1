"""The documentation holds what it says: its code runs, its links lead somewhere, its tables are those of the code."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import grpc
import pytest

from otel_patterns import compiled
from otel_patterns.cli.commands import BY_NAME, COMMANDS
from otel_patterns.journal import append, spool, sync
from otel_patterns.model import details, fold, names, runs, stages, values
from otel_patterns.settings import TABLE
from otel_patterns.tracing import answers, backoff, outcome, parcels, projection, replay, worker
from tests.pages import DOCS, ROOT, Block, Shell, blocks, code_spans, executed_pages, pages
from tests.receiver import retry_info

REFERENCE = DOCS / "reference"
FORBIDDEN = (
    pytest.param(r"(?<![\w.:/<>])/(?:root|home|work|tmp|srv|usr|Users|opt)/", id="path of a machine"),
    pytest.param(
        r"(?i)\bpypi\.|pythonhosted|registry\.npmjs|proxy\.golang|docker\.io|ghcr\.io|quay\.io", id="registry"
    ),
    pytest.param(r"(?i)\blines? [1-9]\d*\b|\.py:\d+", id="number of a line"),
    pytest.param(r"(?<![\w&/`])#\d+\b", id="number of an issue"),
    pytest.param(r"(?i)\b(?:seamless|blazing|powerful|effortless|robust|cutting-edge|world-class|simply)", id="praise"),
)


def relative(page: Path) -> str:
    """Return the path of a page for the name of a test."""
    return str(page.relative_to(ROOT))


def read(name: str) -> str:
    """Return the text of a reference page."""
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no section {heading}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without their heads."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = [index for index, row in enumerate(cells) if set("".join(row)) <= {"-"}]
    return [row for index, row in enumerate(cells) if index not in rules and index + 1 not in rules]


# Code.


@pytest.mark.parametrize("page", executed_pages(), ids=relative)
def test_page_without_a_server_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """A reader who copies block after block gets what the page says; blocks that need a server run in integration/."""
    shell = Shell(tmp_path)
    for block in blocks(page):
        if block.is_run and "needs" not in block.notes:
            shell.run(block)


def test_readme_example_is_the_quickstart() -> None:
    """The first program that a reader sees is one that the examples' tests run as well."""
    quickstart = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    programs = [block.code for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert programs[0] in quickstart


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    """Only what would test itself or installs from the network is left out."""
    reasons = [
        block.notes["not run"] for page in executed_pages() for block in blocks(page) if "not run" in block.notes
    ]
    assert sorted(set(reasons)) == ["it installs from the package index", "make test runs this test"]
    assert len(reasons) == 3


@pytest.mark.parametrize("fault", ["exit code", "output"])
def test_block_that_does_not_do_what_the_page_says_fails(fault: str, tmp_path: Path) -> None:
    """The guard itself: a wrong exit code and a wrong output are found."""
    block = Block("bash", "false\n") if fault == "exit code" else Block("bash", "echo one\n", output="two\n")
    with pytest.raises(AssertionError):
        Shell(tmp_path).run(block)


def test_readme_names_the_two_commands_of_a_fresh_machine() -> None:
    """`make demo` and `make test` stand in one block, and the Makefile has both."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "make demo\nmake test\n" in [block.code for block in blocks(ROOT / "README.md")]
    assert all(f"\n{target}:" in makefile for target in ("demo", "test"))


# Links.


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and an anchor that its page has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT.resolve()) or not path, target
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md"], ids=relative)
def test_map_of_the_docs_leads_to_every_page(page: Path) -> None:
    """Who begins at the README or at the index finds all of the docs."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    linked = {(page.parent / target).resolve() for target in targets} | {page}
    assert [relative(other) for other in sorted(DOCS.rglob("*.md")) if other not in linked] == []


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=relative)
def test_how_to_ends_with_a_check_and_a_remedy(page: Path) -> None:
    """Who follows a how-to can see whether it worked, and knows what to do if not."""
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[-2:] == ["Check it worked", "If it did not"]


# Prose.


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_prose_has_nothing_that_is_only_true_here(pattern: str) -> None:
    """No path of one machine, no host of a registry, no number that the next change makes wrong, no praise."""
    found = [f"{relative(page)}: {match[0]}" for page in pages() for match in re.finditer(pattern, read_prose(page))]
    assert found == []


def read_prose(page: Path) -> str:
    """Return the text of a page that people wrote."""
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_commands_on_a_page_are_there_with_their_options(page: Path) -> None:
    """Every `otel-patterns …` that a page shows is a command, and its options are options of it."""
    wrong: list[str] = []
    for code in code_spans(page.read_text(encoding="utf-8")):
        for name, rest in re.findall(
            r"(?:otel-patterns|pattern_inspect|core\.validation) ([a-z][a-z-]*)([^|;)]*)", code
        ):
            if name not in BY_NAME:
                wrong.append(code)
                continue
            # Behind `exec --` stand the options of another program.
            own = rest.partition(" -- ")[0]
            flags = {flag for argument in BY_NAME[name].arguments for flag in argument.flags} | {"--help"}
            wrong += [code for flag in re.findall(r"(?<=\s)--?[a-z][a-z-]*", own) if flag not in flags]
    assert wrong == []


def test_every_command_is_shown_outside_of_the_reference() -> None:
    """A reader meets each command in a task, not only in the list."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages() if page.name != "cli.md")
    missing = [c.name for c in COMMANDS if not re.search(rf"(?:otel-patterns|core\.validation) {c.name}\b", text)]
    assert missing == []


def test_variables_in_the_docs_are_settings() -> None:
    """No page names a setting that does not exist."""
    known = {row.variable for row in TABLE} | {compiled.SWITCH}
    # The programs of the integration tests have variables of their own, which are no settings.
    named = {name for page in pages() for name in re.findall(r"\bOTEL_PATTERNS_[A-Z_]+\b", read_prose(page))}
    assert named - known == set()


# Reference.


def test_trace_page_has_every_attribute() -> None:
    """Each attribute key of the projection stands in the page, and the page has no other of our namespace."""
    text = read("trace.md")
    keys = {value for name, value in vars(names).items() if name.startswith("ATTR_")}
    keys |= {names.MARKER_SPAN_NAME, names.EVENT_EXCEPTION, names.SCOPE_NAME, names.UNKNOWN_SERVICE}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
    assert set(re.findall(r"`((?:pattern|cicd|process|code|exception)\.[\w.]+)`", text)) - keys == set()


def test_trace_page_has_every_result_and_what_leads_to_it() -> None:
    """The table of results names each result, each error type that decides it, and the exit codes of a shell."""
    text = section(read("trace.md"), "Results")
    words = {value for name, value in vars(names).items() if name.startswith("RESULT_")} | {fold.ABANDONED}
    words |= cast("frozenset[str]", outcome.__dict__["_TIMEOUTS"] | outcome.__dict__["_CANCELLATIONS"])
    assert [word for word in sorted(words) if f"`{word}`" not in text] == []
    assert all(str(code) in text for code in outcome.__dict__["_NOT_EXECUTED"])


def test_numbers_in_the_docs_are_those_of_the_code() -> None:
    """Limits and deadlines are what the code says."""
    trace, journal, delivered = read("trace.md"), read("journal.md"), (DOCS / "explanation" / "delivery.md").read_text()
    assert f"Texts longer than {projection.MAX_TEXT_BYTES:,} bytes" in trace
    assert f"the first {projection.MAX_MEMBERS} artifacts" in trace
    assert projection.MAX_EVENT_DETAILS == 10
    assert "each scalar of the details, at most ten" in trace
    assert f"at most\n{append.SPOOL_LINES:,} lines or {append.SPOOL_BYTES >> 20} MiB" in journal
    assert f"at most {spool.SPOOL_FILE_BYTES >> 20} MiB; where that fails" in journal
    assert f"as many as fit {sync.KEPT_BYTES >> 20} MiB of memory" in journal
    assert f"within about {sync.GROUP_SECONDS} seconds" in journal
    assert f"at most {append.LOCK_TIMEOUT_SECONDS:.0f} seconds for the lock" in journal
    assert f"at most {worker.MAX_OUTBOX_BYTES >> 20} MiB" in delivered
    assert f"more than {answers.MAX_ANSWER_BYTES >> 10} KiB" in delivered
    assert f"up to {backoff.LONGEST_SECONDS:.0f} seconds" in delivered
    assert backoff.FIRST_SECONDS == 0.5
    assert backoff.LONGEST_ASKED_SECONDS == backoff.MISCONFIGURED_SECONDS == 5 * 60
    assert parcels.MAX_REFUSALS == 8
    assert replay.LONGEST_WAIT_SECONDS == 30
    assert f"`{names.SCOPE_NAME}`, version `{names.SCOPE_VERSION}`" in trace
    assert names.SCHEMA_URL.rpartition("/")[2] in trace


def table_of_answers() -> dict[str, list[str]]:
    """Return what the docs say of each answer: HTTP, gRPC, and what happens."""
    text = section((DOCS / "explanation" / "delivery.md").read_text(encoding="utf-8"), "What each answer means")
    return {row[0].strip("`"): row[1:] for row in rows(text)}


def test_table_of_answers_has_every_kind_and_status_of_http() -> None:
    """Each status from 300 on means what the table says, and each kind of answer is a row."""
    table = table_of_answers()
    assert set(table) == set(get_args(answers.Kind)) - {"handed_over"}
    named = {status: kind for kind, row in table.items() for status in re.findall(r"\b[3-5](?:\d\d|xx)\b", row[0])}
    assert {"3xx", "4xx", "5xx"} <= set(named)
    for status in range(300, 600):
        said = named.get(str(status), named[f"{status // 100}xx"])
        assert answers.read_http_answer(status, {}, b"").kind == said, status


def test_table_of_answers_has_every_status_of_grpc() -> None:
    """Each code means what the table says; RESOURCE_EXHAUSTED stands in three rows, and anything else in one."""
    table = table_of_answers()
    named = {code: kind for kind, row in table.items() for code in re.findall(r"`([A-Z_]+)`", row[1])}
    others = [kind for kind, row in table.items() if row[1] == "anything else"]
    for code in {code.name for code in grpc.StatusCode} - {"OK", "RESOURCE_EXHAUSTED"}:
        assert [answers.read_grpc_answer(code, "").kind] == ([named[code]] if code in named else others), code
    exhausted = {kind for kind, row in table.items() if "`RESOURCE_EXHAUSTED`" in row[1]}
    assert exhausted == {
        answers.read_grpc_answer("RESOURCE_EXHAUSTED", details, trailer).kind
        for details, trailer in (("", retry_info(1)), ("", b""), ("message larger than max", b""))
    }


def test_table_of_answers_says_what_is_parked_and_what_is_split() -> None:
    """What happens is what the code does with an answer of that kind."""
    for kind, row in table_of_answers().items():
        answer = answers.Answer(cast("answers.Kind", kind))
        assert answer.is_final == ("parked" in row[2])
        assert answer.is_of_content == ("by halves" in row[2])
        assert ("owed" in row[2]) == (kind in ("retry", "misconfigured", "failed"))


@pytest.mark.parametrize("event_type", names.EVENT_TYPES)
def test_events_page_has_the_details_of_each_type(event_type: str) -> None:
    """The table of a type is the table that validation and schema are made from."""
    wanted = [
        [f"`{detail.name}`", detail.kind.words, "yes" if detail.required else "no"]
        for detail in details.DETAILS[event_type]
    ]
    text = section(read("events.md"), f"`{event_type}`")
    assert rows(text) == wanted
    assert ("It ends the run." in text) == (event_type in names.TERMINAL_EVENT_TYPES)


def test_events_page_has_the_envelope_in_order() -> None:
    """The keys stand in the order in which they are written, and the statuses are all there."""
    text = section(read("events.md"), "The envelope")
    assert [row[0].strip("`") for row in rows(text)] == list(names.EVENT_KEYS)
    assert all(f"`{status}`" in text for status in names.EVENT_STATUSES)


def test_events_page_has_the_rule_of_values() -> None:
    """The table of conversions is the one that stands beside the code."""
    assert rows(section(read("events.md"), "Values")) == rows(inspect.getdoc(values) or "")


def test_runs_page_has_fields_statuses_and_anomalies() -> None:
    """A run's fields, statuses, metrics, stages and anomalies are those of the fold."""
    text = read("runs.md")
    fields = {name for row in rows(section(text, "Fields")) for name in re.findall(r"`(\w+)`", row[0])}
    assert fields == set(runs.PatternRun.model_fields)
    assert all(f"`{status}`" in section(text, "Status") for status in names.RUN_STATUSES)
    assert {row[0].strip("`") for row in rows(section(text, "Anomalies"))} == set(anomaly_kinds())
    opened = {row[0]: row for row in rows(section(text, "Stages"))}
    assert tuple(opened) == names.STAGES
    for event_type, stage in stages.CLOSES.items():
        assert f"`{event_type.removeprefix('pattern.')}`" in opened[stage][2]


def anomaly_kinds() -> Iterator[str]:
    """Yield every kind of anomaly that the fold's source can make."""
    for node in ast.walk(ast.parse(inspect.getsource(fold))):
        part: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Anomaly":
            part = node.args[0]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "kind":
            part = node.value
        for inner in ast.walk(part) if part is not None else ():
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value
