"""`otel-patterns doctor`: each section, and the JSON contract."""

from __future__ import annotations

import json
import os
from email.utils import formatdate
from pathlib import Path

import pytest

from otel_patterns.cli.reference import reference
from otel_patterns.tracing.answers import Answer, Kind
from otel_patterns.tracing.delivered import Checkpoint, DeliveryRecord
from otel_patterns.tracing.parcels import Parcel
from tests.unit.cli.doctor import NOW, URL, examined, findings, settle
from tests.unit.cli.sinks import FakeSink
from tests.unit.cli.support import RUN_ID, Result, call, event

pytestmark = pytest.mark.usefixtures("sink")


# All together.


def test_doctor_with_nothing_wrong_is_done(path: Path, sink: type[FakeSink]) -> None:
    """Each section is a heading and a line for each finding, all of them with the sign of success; exit code 0."""
    settle(path, Answer("acknowledged"))
    result = call("doctor", "--journal", str(path))
    assert (result.code, result.err) == (0, "otel-patterns: nothing is wrong\n")
    headings = [line for line in result.lines if not line.startswith("  ")]
    assert headings == ["settings", "endpoint", "journal", "delivery", "clock", "runs"]
    assert all(line.startswith("  ✓ ") for line in result.lines if line not in headings)
    assert sink.bodies == [b""]


def test_doctor_counts_problems_and_warnings_apart(path: Path, sink: type[FakeSink]) -> None:
    """A problem fails the command, a warning does not; both are counted, with sign and fix."""
    settle(path, Answer("refused", "no"))
    warned = call("doctor", "--journal", str(path))
    assert (warned.code, warned.err) == (0, "otel-patterns: 1 warning\n")
    assert f"  ! {URL}: 5 spans parked: refused: no: the receiver does not want them" in warned.out
    sink.answer = Answer("misconfigured", "HTTP 404")
    failed = call("doctor", "--journal", str(path))
    assert (failed.code, failed.err) == (1, "otel-patterns: 1 problem, 1 warning\n")
    assert f"  ✗ {URL} does not take spans: HTTP 404: see that it is an OTLP receiver" in failed.out


def test_json_is_one_object_with_the_keys_of_the_contract(path: Path) -> None:
    """Programs find `owed`, `problems` and each section's facts, whatever was found."""
    result = call("doctor", "--json", "--journal", str(path))
    assert len(result.lines) == 1
    document = json.loads(result.out)
    assert list(document) == [
        "owed", "problems", "warnings", "settings", "endpoint", "journal", "delivery", "clock", "runs",
    ]  # fmt: skip
    assert {key: list(document[key]) for key in list(document)[4:]} == KEYS
    path.unlink()
    path.mkdir()
    assert {key: list(examined(path)[key]) for key in list(document)[4:]} == KEYS
    assert set(document["runs"]["findings"][0]) == {"level", "message", "fix"}


KEYS = {
    "endpoint": ["url", "source", "protocol", "headers", "probe", "findings"],
    "journal": [
        "path", "segments", "bytes", "obstacle", "bad_lines", "torn_tails", "lost_lines", "failed_syncs",
        "spool_files", "spooled_lines", "quarantined_lines", "findings",
    ],
    "delivery": ["owed", "destinations", "findings"],
    "clock": ["receiver_ahead_seconds", "future_events", "farthest_seconds", "findings"],
    "runs": ["abandoned", "silent", "out_of_sight", "findings"],
}  # fmt: skip


def test_reference_has_the_keys_of_the_contract() -> None:
    """Each section's row names its keys."""
    rows = {line.split("`")[1]: line for line in reference().splitlines() if line.startswith("| `")}
    for section, keys in KEYS.items():
        assert [key for key in keys if key != "findings" and f"`{key}`" not in rows[section]] == [], section


@pytest.mark.parametrize("option", ["--fix", "--run=x", "--job=x", "--since=1d"])
def test_options_of_reconcile_alone_are_wrong_usage(path: Path, option: str, sink: type[FakeSink]) -> None:
    """What would be without effect is refused, before anything is asked."""
    sink.bodies = []
    result = call("doctor", "--journal", str(path), option)
    assert (result.code, result.out, sink.bodies) == (2, "", [])
    assert "--reconcile" in result.err


def test_text_of_files_cannot_reach_the_terminal(path: Path) -> None:
    """What a receiver said, and what a line holds, is shown escaped."""
    settle(path, Answer("refused", "\x1b]0;owned\x07"))
    with path.open("ab") as file:
        file.write(b'"\xe2\x80\xae\n')
    result = call("doctor", "--journal", str(path))
    assert "\\x1b]0;owned\\x07" in result.out
    assert not {"\x1b", "\x07", "\u202e"} & set(result.out)


# Settings.


def test_settings_tell_where_they_come_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, variable and default are told apart."""
    monkeypatch.setenv("OTEL_PATTERNS_DURABILITY", "each")
    monkeypatch.setenv("OTEL_PATTERNS_JOURNAL", "elsewhere")
    settings = examined(path)["settings"]
    assert settings["journal"] == {"value": str(path), "source": "argument"}
    assert settings["durability"] == {"value": "each", "source": "OTEL_PATTERNS_DURABILITY"}
    assert settings["join"] == {"value": "child", "source": "default"}
    assert "  ✓ journal = elsewhere (OTEL_PATTERNS_JOURNAL)" in call("doctor").lines


def test_setting_that_cannot_be_used_is_a_problem(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is in force then, and everything else is looked at all the same."""
    monkeypatch.setenv("OTEL_PATTERNS_DURABILITY", "always")
    document = examined(path)
    assert document["settings"]["durability"] == {"value": "group", "source": "default"}
    assert findings(document, "settings", "problem") == [
        "OTEL_PATTERNS_DURABILITY cannot be used, and the default is: give one of os, group, each"
    ]
    assert document["journal"]["segments"] == 1


def test_settings_and_endpoint_show_no_secret(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users and passwords in URLs and the values of headers are left out; names of headers are not."""
    monkeypatch.setenv("OTEL_PATTERNS_GRAFANA_URL", "https://me:s3cret@grafana/x?token=s3cret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:s3cret@here/v1?key=s3cret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret,authorization=Bearer%20s3cret")
    result = call("doctor", "--json", "--journal", str(path))
    assert "s3cret" not in result.out + result.err + call("doctor", "--journal", str(path)).out
    document = json.loads(result.out)
    assert document["settings"]["grafana_url"]["value"] == "https://grafana/x"
    endpoint = document["endpoint"]
    assert (endpoint["url"], endpoint["source"]) == ("https://here/v1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    assert endpoint["headers"] == ["authorization", "x-key"]


# Endpoint.


@pytest.mark.parametrize(
    ("kind", "level", "words"),
    [
        ("acknowledged", "warning", "the receiver says: so"),
        ("retry", "problem", "start the receiver there"),
        ("misconfigured", "problem", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("failed", "problem", "the receiver's own log"),
        ("too_large", "problem", "the receiver's own log"),
        ("refused", "warning", "refuses a request without spans: so"),
    ],
)
def test_answer_of_probe_is_told_with_what_to_repair(
    path: Path, sink: type[FakeSink], monkeypatch: pytest.MonkeyPatch, kind: Kind, level: str, words: str
) -> None:
    """Each kind of answer has its level and its fix."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    sink.answer = Answer(kind, "so")
    document = examined(path)
    assert document["endpoint"]["probe"] == {"kind": kind, "message": "so"}
    [found] = findings(document, "endpoint", level)
    assert words in found


@pytest.mark.parametrize(
    ("variables", "kind", "words"),
    [
        ({"ENDPOINT": "http://c:4317", "PROTOCOL": "http/protobuf"}, "retry", "name port 4318"),
        (
            {"ENDPOINT": "http://c:4318/v1/traces"},
            "misconfigured",
            "leave /v1/traces out of OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ({"TRACES_ENDPOINT": "http://c:4318/"}, "misconfigured", "add /v1/traces, or set OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "misconfigured", "OTEL_EXPORTER_OTLP_HEADERS lets us in"),
        ({"TRACES_ENDPOINT": "http://c:4317"}, "misconfigured", "OTEL_EXPORTER_OTLP_HEADERS lets us in"),
        ({"ENDPOINT": "http://c:4318/v1/traces"}, "failed", "the receiver's own log"),
    ],
)
def test_common_mistakes_in_the_endpoint_are_named(
    path: Path, sink: type[FakeSink], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: Kind, words: str
) -> None:
    """A path twice or not at all, and the port of the other protocol, are what most often is wrong."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    sink.answer = Answer(kind, "so")
    [found] = findings(examined(path), "endpoint", "problem")
    assert words in found


def test_default_endpoint_where_nobody_listens_is_no_problem(path: Path, sink: type[FakeSink]) -> None:
    """Who has named no receiver may want none: a warning says how to name one."""
    sink.answer = Answer("retry", "connection refused")
    result = call("doctor", "--journal", str(path))
    assert result.code == 0
    assert f"  ! nobody takes spans at {URL}, and no variable names another place: set OTEL_" in result.out


def test_no_probe_sends_nothing(path: Path, sink: type[FakeSink]) -> None:
    """`--no-probe` leaves the receiver alone."""
    sink.bodies = []
    document = examined(path, "--no-probe")
    assert (sink.bodies, document["endpoint"]["probe"]) == ([], None)
    assert document["endpoint"]["url"] == URL


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_traces_that_are_turned_off_are_a_warning(
    path: Path, sink: type[FakeSink], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The variable that does it is named, and nobody is asked."""
    sink.bodies = []
    monkeypatch.setenv(name, value)
    document = examined(path)
    assert findings(document, "endpoint", "warning") == [
        f"{name}={value} turns traces off: runs stay in the journal: unset it"
    ]
    assert sink.bodies == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("EXPORT", "off", "engines send nothing, as"),
        ("DELIVERY", "off", "engines send nothing, as"),
        ("DELIVERY", "ship", "'otel-patterns ship' delivers"),
        ("EXPORT", "tracer", "provider exports"),
    ],
)
def test_engines_that_do_not_send_by_otlp_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """Then the receiver gets what is replayed or shipped alone."""
    monkeypatch.setenv(f"OTEL_PATTERNS_{name}", value)
    assert any(words in found for found in findings(examined(path), "endpoint", "ok"))


def test_endpoint_that_is_none_is_a_problem(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named; what is owed cannot be told then."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost")
    document = examined(path)
    assert document["owed"] is None
    assert "OTEL_EXPORTER_OTLP_ENDPOINT='localhost': give a URL" in findings(document, "endpoint", "problem")[0]
    assert len(findings(document, "delivery", "warning")) == 1


# Delivery.


def test_delivery_is_told_for_each_destination(path: Path) -> None:
    """Acknowledged runs and parked spans are counted for each, with the receiver's words; one is in force."""
    with path.open("ab") as file:
        file.write(json.dumps(event("execution.completed", 9, run_id="PRUN-TEST-2", status="success")).encode() + b"\n")
    settle(path, Answer("acknowledged"), "http://other:4318/v1/traces")
    record = DeliveryRecord(path, URL)
    record.settle([Parcel(RUN_ID, ("a" * 16,))], Answer("acknowledged"))
    record.settle([Parcel(RUN_ID, ("b" * 16, "c" * 16))], Answer("too_large", "too much"))
    record.close()
    other, ours = sorted(examined(path)["delivery"]["destinations"], key=lambda each: each["in_force"])
    assert other["name"].startswith("http-other-4318-v1-traces-")
    assert (other["in_force"], other["runs"], other["parked_spans"]) == (False, 2, 0)
    assert ours == {
        "name": URL,
        "in_force": True,
        "delivered_before": 0,
        "runs": 1,
        "parked_spans": 2,
        "reasons": {"too_large: too much": 2},
        "owner": None,
    }


def test_owed_runs_are_a_warning_and_a_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the receiver in force has not acknowledged is owed, and `replay` is named."""
    assert examined(path)["owed"] == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    document = examined(path)
    assert (document["owed"], document["delivery"]["owed"]) == (1, 1)
    assert findings(document, "delivery", "warning") == ["1 run owed: 'otel-patterns replay' sends what is owed"]
    monkeypatch.setenv("OTEL_PATTERNS_DELIVERY", "ship")
    assert "'otel-patterns ship' sends" in findings(examined(path), "delivery", "warning")[0]
    settle(path, Answer("acknowledged"))
    assert examined(path)["owed"] == 0


def test_runs_before_a_checkpoint_are_counted_apart(path: Path) -> None:
    """Their spans may have been dropped from the record; a record with a checkpoint knows its destination."""
    record = DeliveryRecord(path, "http://other:4318/v1/traces")
    record.settle([Parcel(RUN_ID, ("a" * 16,))], Answer("acknowledged"))
    record.save_checkpoint(Checkpoint(before={"delivered": 7, "native": 2}))
    record.close()
    [destination] = examined(path)["delivery"]["destinations"]
    assert (destination["name"], destination["delivered_before"], destination["runs"]) == (
        "http://other:4318/v1/traces",
        7,
        1,
    )


# Clock.


@pytest.mark.parametrize(
    ("seconds", "ahead"), [(0, 0.0), (2, 2.0), (3, 3.0), (-1, 0.0), (-3, -2.0), (-4, -3.0), (86_400, 86_400.0)]
)
def test_clock_of_receiver_is_compared_in_whole_seconds(
    path: Path, sink: type[FakeSink], seconds: int, ahead: float
) -> None:
    """More than two seconds are a warning, in both directions; the second that a date is short of does not count."""
    sink.answer = Answer("acknowledged", date=formatdate(NOW + seconds, usegmt=True))
    document = examined(path)
    assert document["clock"]["receiver_ahead_seconds"] == pytest.approx(ahead, abs=0.1)
    assert len(findings(document, "clock", "warning")) == (abs(ahead) > 2)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_clock_of_receiver_without_a_date_is_not_known(path: Path, sink: type[FakeSink], date: str) -> None:
    """Nothing is compared over gRPC, which has no date, and a wrong date is none."""
    sink.answer = Answer("acknowledged", date=date)
    document = examined(path)
    assert document["clock"]["receiver_ahead_seconds"] is None
    assert findings(document, "clock", "warning") == []


def test_events_from_the_future_are_a_warning(path: Path) -> None:
    """They are counted, and the farthest one says how far; two seconds are tolerated."""
    with path.open("ab") as file:
        for seconds in (3601, 3602, 3700, 7200):
            file.write(json.dumps(event("execution.started", seconds, run_id="PRUN-TEST-2")).encode() + b"\n")
    document = examined(path)
    assert document["clock"]["future_events"] == 2
    assert document["clock"]["farthest_seconds"] == pytest.approx(3600, abs=1)
    assert findings(document, "clock", "warning")[0].startswith("2 events from the future, the farthest by 1 h 00 m")


# Runs.


def test_runs_that_nobody_ends_are_counted_by_what_is_known(path: Path) -> None:
    """A writer that is gone, one that is out of sight for a day, and one that is so for a moment are three things."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    ours = {"host": os.uname().nodename, "boot": boot, "pid": 2**22 + 1, "start": 1}
    with path.open("ab") as file:
        for run_id, seconds, writer in (
            ("PRUN-TEST-2", 5, ours),
            ("PRUN-TEST-3", 5, {**ours, "boot": "before"}),
            ("PRUN-TEST-4", 5, {**ours, "host": "another"}),
            ("PRUN-TEST-5", -86_400, {**ours, "host": "another"}),
        ):
            details = {"otel": {"v": 1, "writer": writer}}
            line = json.dumps(event("execution.started", seconds, run_id=run_id, details=details)).encode()
            file.write(line + b"\n")
    document = examined(path)
    runs = document["runs"]
    assert (runs["abandoned"], runs["silent"], runs["out_of_sight"]) == (1, 1, 2)
    gone, silent = findings(document, "runs", "warning")
    assert gone == "1 run without an end whose writer is gone: 'otel-patterns finalize' ends them"
    assert silent.startswith("1 run without an end, from another host or before a reboot")
    assert len(findings(document, "runs", "ok")) == 1


def test_examination_changes_nothing(path: Path) -> None:
    """What is looked at is left as it was: no file is made, and none is written."""
    settle(path, Answer("acknowledged"))
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    result: Result = call("doctor", "--journal", str(path))
    assert result.code == 0
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before
