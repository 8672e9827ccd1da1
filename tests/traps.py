"""Values at which a schema and a model part ways, by key: what has to be accepted, and what refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_patterns.model import names

INF = float("inf")
NAN = float("nan")
LONGEST = "A" * 128


@dataclass(frozen=True)
class Values:
    """What a key may hold and what not, as Python parses JSON: 1e400 is infinite, text may hold lone surrogates."""

    accepted: Sequence[Any]
    refused: Sequence[Any]


def verdicts(values: Values) -> list[tuple[Any, bool]]:
    """Return each value with whether it is accepted."""
    return [(value, True) for value in values.accepted] + [(value, False) for value in values.refused]


def _ids(prefix: str, *, accepted: Sequence[Any] = (), refused: Sequence[Any] = (None,)) -> Values:
    good = ["a", "0", "A.b_c-", "TEST-001", "01KANBQ8M00000000000000001", LONGEST]
    bad = ["", "A\n", "A\nB", ".a", "-a", "_a", "\u0661", "A\u00e9", "\u212a", "A B", "\ud800", "a/../b", f"A{LONGEST}"]
    other: list[Any] = [
        f"\n{prefix}A",
        f" {prefix}A",
        f"X{prefix}A",
        f"{prefix.lower()}A",
        "A",
        "",
        True,
        1,
        1.0,
        [],
        {},
        [f"{prefix}A"],
    ]
    return Values([*(prefix + text for text in good), *accepted], [*(prefix + text for text in bad), *other, *refused])


_PATTERN_IDS = Values(
    ["PAT-A", "PAT--", "PAT-0", "PAT-" + "A" * 1000],
    ["PAT-", "PAT-a", "PAT-A\n", "PAT-A_B", "PAT-\u0661", "PAT", "pat-A", None, 1, True, [], {}, ["PAT-A"]],
)
TIMESTAMPS = Values(
    [
        "1970-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999999Z",
        "2026-11-22T09:30:00+00:00",
        "2026-11-22T09:30:00.1Z",
        "2026-11-22T09:30:00.123Z",
        "2026-11-22T09:30:00.000000Z",
        "2026-11-22T09:30:00.123456789+00:00",
        "1972-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2096-02-29T00:00:00Z",
        "2196-02-29T00:00:00Z",
    ],
    [
        "2026-11-22T09:30:00",
        "2026-11-22T09:30:00Z\n",
        "2026-11-22T09:30:00+00:00\n",
        "2026-11-22T09:30:00-00:00",
        "2026-11-22T09:30:00+01:00",
        "2026-11-22T09:30:00+0000",
        "2026-11-22T09:30:00+00",
        "2026-11-22T09:30:00z",
        "2026-11-22t09:30:00Z",
        "2026-11-22 09:30:00Z",
        "2026-11-22T09:30Z",
        "2026-11-22T09:30:00.Z",
        "2026-11-22T09:30:00,5Z",
        "2026-11-22T09:30:00.1234567890Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T23:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-11-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-10T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "20260-11-22T09:30:00Z",
        "\u0662026-11-22T09:30:00Z",
        "2026-11-22T09:30:00.\u0661Z",
        "2026-W47-7T09:30:00Z",
        "20261122T093000Z",
        " 2026-11-22T09:30:00Z",
        "Z",
        "",
        1795339800,
        True,
        [],
        {},
    ],
)
_TEXTS = Values([[], ["a"], ["\ud800", ""]], ["a", [1], ["a", None], [["a"]], {}, None, True])
_TEXT = Values(["", "a\n", "\ud800"], [None, True, 1, 1.5, ["a"], {}])
_OBJECT = Values([{}, {"": None}, {"\ud800": {"a": [INF, 10**400]}}], [None, [], "text", 1, True, [{}]])
_INTEGER = Values([0, -1, 1.0, -0.0, 10**400, 1e308, 2**64], [True, False, 1.5, "0", INF, NAN, [], {}])
_NUMBER = Values([0, -1, 1.5, -0.0, 10**400, INF, -INF, NAN, 2**63], [True, False, "1.5", [], {}, [1.5]])


def _or(values: Values, *also: Any) -> Values:
    return Values([*values.accepted, *also], values.refused)


def _but(values: Values, *refused: Any) -> Values:
    return Values(values.accepted, [*values.refused, *refused])


EVENT_VALUES: Mapping[str, Values] = {
    "event_id": _ids("EVT-"),
    "event_type": Values(
        names.EVENT_TYPES,
        [
            "pattern.execution.done",
            "Pattern.execution.started",
            "pattern.execution.started\n",
            "pattern_execution_started",
            "",
            "\ud800",
            None,
            1,
            True,
            [],
            {},
            [["a"]],
        ],
    ),
    "timestamp": _but(TIMESTAMPS, None),
    "job_id": _ids("JOB-"),
    "pattern_run_id": _ids("PRUN-"),
    "pattern_id": _PATTERN_IDS,
    "status": Values(
        names.EVENT_STATUSES,
        ["pending", "Success", "success\n", "", None, True, 0, [], ["success"], {"success": 1}],
    ),
    "details": Values([], [None, [], "semgrep_scan", 1, True]),
    "step_id": _ids("STEP-", accepted=[None], refused=[]),
}
# By event type and detail. Where a check is lenient, it accepts the refused ones too.
DETAIL_VALUES: Mapping[tuple[str, str], Values] = {
    (names.EXECUTION_COMPLETED, "exit_code"): _but(_INTEGER, None),
    (names.EXECUTION_COMPLETED, "duration_seconds"): _but(_NUMBER, None),
    (names.EXECUTION_COMPLETED, "artifacts"): _TEXTS,
    (names.EXECUTION_COMPLETED, "result_summary"): _OBJECT,
    (names.EXECUTION_COMPLETED, "stdout_lines"): _but(_INTEGER, None),
    (names.EXECUTION_FAILED, "exit_code"): _or(_INTEGER, None),
    (names.EXECUTION_FAILED, "error_message"): _TEXT,
    (names.SELECTION_STARTED, "context"): _OBJECT,
    (names.SELECTION_STARTED, "candidate_patterns"): _TEXTS,
    (names.SELECTION_RESOLVED, "selection_method"): Values(
        ["explicit", "auto", "fallback"], ["Auto", "auto\n", "", None, 1, ["auto"], {"auto": 1}]
    ),
    (names.TEMPLATE_EXPANDED, "variables_resolved"): Values([3, 3.0, {}, {"a": 1}], [True, 3.5, None, [], "3", INF]),
    (names.VALIDATION_FAILED, "failed_checks"): Values(
        [[], [{"check": "a", "error": "", "more": 1}]],
        [{}, ["a"], [{}], [{"check": "a"}], [{"check": "a", "error": None}], [{"check": 1, "error": "b"}], None],
    ),
    (names.EXECUTION_STARTED, "timeout_seconds"): _but(_NUMBER, None),
    # Details of another event type are no known ones here.
    (names.EXECUTION_STARTED, "exit_code"): Values(["text", None], []),
}
RUN_VALUES: Mapping[str, Values] = {
    "pattern_run_id": _ids("PRUN-"),
    "pattern_id": _PATTERN_IDS,
    "job_id": _ids("JOB-"),
    "operation_kind": _TEXT,
    "status": Values(names.RUN_STATUSES, ["Pending", "pending\n", "", None, 1, True, [], {}, ["pending"]]),
    "started_at": _but(TIMESTAMPS, None),
    "pattern_version": _TEXT,
    "step_id": _ids("STEP-", accepted=[None], refused=[]),
    "finished_at": _or(TIMESTAMPS, None),
    "duration_seconds": _or(_NUMBER, None),
    "inputs": _OBJECT,
    "outputs": _OBJECT,
    "artifacts": _TEXTS,
    "events": Values([[], ["EVT-a", "EVT-a"]], [None, {}, "EVT-a", ["EVT-a\n"], [None], [["EVT-a"]], ["JOB-a"], [1]]),
    "metrics": Values(
        [{}, {"execution_ms": 10**400, "total_ms": INF, "selection_ms": 1}, {"unknown": "text", "\ud800": None}],
        [None, [], {"total_ms": True}, {"validation_ms": None}, {"total_ms": "1"}, {"artifact_generation_ms": []}, 1],
    ),
    "tool_metadata": Values(
        [{}, {"unknown": 1}, {"executor": ""}],
        [None, [], {"command": ["a"]}, {"tool_name": None}, {"tool_version": 1.0}, {"executor": {}}, "text"],
    ),
    "error": Values(
        [None, {}, {"exit_code": 1.0}, {"exit_code": 10**400}, {"unknown": []}],
        [[], "text", *({"exit_code": value} for value in (None, True, 1.5, INF)), {"type": None}, {"stderr": 1}],
    ),
}
EXTRA: Mapping[str, Any] = {"unknown": 1, "\ud800": 2, "": 3, "model_config": 4, "to_dict": 5, "rank": 6, "error": None}
