"""Log lines as OpenTelemetry's protocol wants them: OTLP 1.x over HTTP, in its JSON form, which every collector takes.

Written by hand because it is one page, and because lines must go the way of the spool (telemetry/shipper.py): the
exporters of the OpenTelemetry SDK keep theirs in memory and lose them with the process.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import msgspec

SEVERITIES: Final = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
RESOURCE: Final = {"service": "service.name", "region": "cloud.region"}
"""Fields that are of the program, not of the line, and OpenTelemetry's names for them."""

Line = dict[str, Any]


def encode(lines: Sequence[Line]) -> bytes:
    """The body of a request to /v1/logs."""
    ordered = sorted(lines, key=_resource)
    return msgspec.json.encode(
        {
            "resourceLogs": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeLogs": [{"scope": {"name": "glassbridge"}, "logRecords": [record(line) for line in group]}],
                }
                for resource, group in groupby(ordered, _resource)
            ]
        }
    )


def record(line: Line) -> dict[str, Any]:
    """One LogRecord."""
    rest = {name: value for name, value in line.items() if name not in (*RESOURCE, *_FIXED)}
    found: dict[str, Any] = {
        "timeUnixNano": str(_nanoseconds(line.get("timestamp"))),
        "severityNumber": SEVERITIES.get(line.get("level", ""), 0),
        "severityText": str(line.get("level", "")).upper(),
        "body": {"stringValue": str(line.get("event", ""))},
        "attributes": _attributes(rest.items()),
    }
    for name, spelled, pattern in _IDS:
        if pattern.fullmatch(str(line.get(name, ""))):
            found[spelled] = line[name]
    return found


_FIXED: Final = ("timestamp", "level", "event", "trace_id", "span_id")
_IDS: Final = (
    ("trace_id", "traceId", re.compile("[0-9a-f]{32}")),
    ("span_id", "spanId", re.compile("[0-9a-f]{16}")),
)


def _resource(line: Line) -> list[tuple[str, str]]:
    return [(name, str(line[field])) for field, name in RESOURCE.items() if field in line]


def _attributes(fields: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in fields]


def _value(value: Any) -> dict[str, Any]:
    """An AnyValue; whole numbers are strings in JSON, as 64 bits do not fit JavaScript's."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(part) for part in value]}}
        case dict():
            return {"kvlistValue": {"values": _attributes(value.items())}}
        case None:
            return {}
    return {"stringValue": str(value)}


def _nanoseconds(timestamp: Any) -> int:
    try:
        moment = datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        return 0
    return round(moment.timestamp() * 1_000_000) * 1_000
