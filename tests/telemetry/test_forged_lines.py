"""Log lines cannot be forged: whatever a peer calls itself, one event is one line, and no terminal obeys it."""

import json
import re

import pytest

from tests.telemetry.test_logs import run

HOSTILE = {
    "line ends": 'ann\r\n{"event": "forged"}\n',
    "colours": "ann\x1b[31m\x1b[2J",
    "a title": "ann\x1b]0;owned\x07",
    "bells": "ann\x00\x07\x08\x7f",
    "C1 controls": "ann\x85forged\x9b31m",
    "line separators": "ann\u2028forged\u2029",
    "other direction": "ann\u202etxt.exe",
    "half a surrogate": "ann\udcff",
}
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]")


@pytest.mark.parametrize("fmt", ["json", "console"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_one_event_is_one_line(kind: str, fmt: str) -> None:
    text = HOSTILE[kind]
    said = run(
        f"""
        text = {text!r}
        log.info("phone refused", user_id=text, reason=text, room_name=text)
        log.info("closed", detail={{"nested": [text]}})
        logging.getLogger("aiohttp.server").error("bad request: %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("request failed")
        """,
        fmt=fmt,
    )
    events = said.split("\n") if fmt == "json" else [line for line in said.split("\n") if re.match(r"\d{4}-", line)]
    if fmt == "json":
        found = [json.loads(line) for line in events if line]
        assert [line["event"] for line in found if "bad request" not in line["event"]] == [
            "phone refused", "closed", "request failed",
        ]  # fmt: skip
        assert len(found) == 4
    else:
        assert len(events) == 4
    assert not CONTROLS.search(said), CONTROLS.findall(said)
