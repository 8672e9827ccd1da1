"""Where to look at a run's trace."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from ..settings import Settings

_MARGIN_MILLISECONDS: Final = 60_000


def links_to(settings: Settings, trace_id: str, start_unix_nano: int, end_unix_nano: int | None) -> dict[str, str]:
    """Return the URLs of a trace by the name of the program that shows it; `end` is None while the run goes on."""
    links: dict[str, str] = {}
    if settings.jaeger_url:
        links["jaeger"] = f"{settings.jaeger_url.rstrip('/')}/trace/{trace_id}"
    if settings.grafana_url:
        source = settings.grafana_datasource
        panes = {
            "trace": {
                "datasource": source,
                "queries": [
                    {
                        "refId": "A",
                        "datasource": {"type": "tempo", "uid": source},
                        "queryType": "traceql",
                        "query": trace_id,
                    }
                ],
                "range": {
                    "from": str(start_unix_nano // 1_000_000 - _MARGIN_MILLISECONDS),
                    "to": "now" if end_unix_nano is None else str(end_unix_nano // 1_000_000 + _MARGIN_MILLISECONDS),
                },
            }
        }
        encoded = quote(json.dumps(panes, separators=(",", ":")), safe="")
        links["grafana"] = f"{settings.grafana_url.rstrip('/')}/explore?schemaVersion=1&orgId=1&panes={encoded}"
    return links
