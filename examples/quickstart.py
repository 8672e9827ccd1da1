"""The README's first program. The events are in `state/events/pattern_events.jsonl`; look with `otel-patterns runs`."""

from otel_patterns import pattern_run

with pattern_run("PAT-HELLO-001", job_id="JOB-42", operation_kind="hello", inputs={"name": "Ada"}) as run:
    run.result_summary["greeting"] = "Hello, Ada"
print(run.pattern_run_id)
