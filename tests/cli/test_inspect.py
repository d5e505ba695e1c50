"""`glassbridge inspect`: what a terminal shows of a timeline, and what the command says when it cannot."""

import io
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from glassbridge.cli import lanes
from glassbridge.cli.admin_client import AdminClient
from glassbridge.core.flight import COLUMNS
from glassbridge.runtime.errors import UserError
from glassbridge.wire.recorder_file import BadRecorderFile, decode
from tests.cli.answering import answering
from tests.support import forked
from tests.support.patience import patient

START = 1_790_000_000_000
ROW = {
    "id": "3f9c", "user": "ada@example.com", "light": "part", "state": "live", "text": "the bridge is gone",
    "since_ms": START, "bridge": "unix:/run/bridge.sock",
}  # fmt: skip


def timeline(seconds: int = 10, **changes: Any) -> dict[str, Any]:
    counts = {name: [10] * seconds for name in COLUMNS} | {"bridge_out": [10, 10, 10, 0, 0, 10, 10, 10, 10, 10]}
    base = {
        "session": ROW,
        "now_ms": START + 1000 * seconds,
        "start_ms": START,
        "columns": list(COLUMNS),
        "seconds": [(counts[name] * seconds)[:seconds] for name in COLUMNS],
        "events": [{"seq": 1, "at_ms": START + 3_000, "kind": "recovery", "action": "join", "result": "joined"}],
        "gaps": [],
        "events_dropped": 0,
        "captions": None,
    }
    return base | changes


GAP = {
    "hop": "bridge", "lane": "bridge", "from_ms": START + 3_200, "to_ms": START + 5_000, "code": "bridge_died",
    "text": "the bridge is gone", "named_by": "decision", "silent_ms": 400, "around": "websocket",
    "actions": ["join:joined"], "healed_by": "join:joined",
}  # fmt: skip


def shown(data: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    lanes.show(data, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def lane(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name))[lanes.LABEL :].rstrip()


def test_a_dead_hop_is_marked_where_it_was_dead_and_told_below() -> None:
    text = shown(timeline(gaps=[GAP]), width=160)
    assert lane(text, "bridge ") == "███xx█████"
    assert "bridge_died" in text
    assert "1.8 s" in text
    assert "400 ms" in text
    assert "it came by the socket meanwhile; healed by join:joined" in text
    assert "action=join result=joined" in text


def test_an_open_gap_goes_on_until_now() -> None:
    gap = GAP | {"to_ms": None, "healed_by": None, "around": None}
    assert "still" in shown(timeline(gaps=[gap]))


def test_unknown_is_told_apart_from_nothing() -> None:
    data = timeline()
    data["seconds"][COLUMNS.index("livekit_in")] = [None] * 5 + [0] * 4 + [10]
    assert lane(shown(data), "livekit") == "·····    █"


@pytest.mark.parametrize("width", [20, 60, 100, 300])
def test_lanes_fit_the_terminal(width: int) -> None:
    for seconds in (1, 59, 900):
        for line in lanes.lanes(timeline(seconds), width):
            if not line.plain.startswith(" "):
                assert len(line.plain) <= width


def test_a_session_without_seconds_is_no_error() -> None:
    assert "nothing was counted yet" in shown(timeline(0))


def test_what_a_cloud_refuses_is_said_in_its_words() -> None:
    body = json.dumps({"success": False, "error": {"code": "ADMIN_DISABLED", "message": "no admin token"}}).encode()
    with answering(403, body) as url, pytest.raises(UserError, match="no admin token"):
        AdminClient(url, "token").get("sessions")
    with answering(502, b"<html>") as url, pytest.raises(UserError, match="answers 502"):
        AdminClient(url, "token").get("sessions")
    for other in (b"<html>", b"[]", b'{"sessions": []}', b"1"):
        with answering(200, other) as url, pytest.raises(UserError, match="is no cloud: correct --cloud"):
            AdminClient(url, "token").get("sessions")


def test_why_a_cloud_does_not_answer_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    for url, told in (
        ("http://cloud.invalid", r"name.* not known\): correct it"),
        (f"http://127.0.0.1:{free}", r"connection refused\): start it"),
    ):
        with pytest.raises(UserError, match=told):
            AdminClient(url, "token").get("sessions")
    with answering(200, b"") as url, pytest.raises(UserError, match="it does not speak TLS: check scheme and port"):
        AdminClient(url.replace("http://", "https://"), "token").get("sessions")


def test_the_token_is_not_carried_to_where_a_redirect_leads() -> None:
    with (
        answering(200, b'{"data": 1}') as other,
        answering(302, b"", {"Location": other}) as url,
        pytest.raises(UserError, match="answers 302"),
    ):
        AdminClient(url, "token").get("sessions")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GLASSBRIDGE_ADMIN_TOKEN"):
        AdminClient("http://127.0.0.1:1", "").get("sessions")
    with pytest.raises(UserError, match="does not answer"):
        AdminClient("http://127.0.0.1:1", "token").get("sessions")


# ---- eighty columns


def test_eighty_columns_are_enough_for_all_of_it() -> None:
    bridge = ROW | {"bridge": "unix:/run/user/1000/glassbridge/livekit_bridge.sock.0"}
    still = GAP | {"from_ms": START + 20_000, "to_ms": None, "healed_by": None, "around": None}
    text = shown(timeline(900, session=bridge, gaps=[GAP, still]), 80)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[1] == "by unix:/run/user/1000/glassbridge/livekit_bridge.sock.0"
    told = next(at for at, line in enumerate(lines) if "the bridge is gone (bridge_died)" in line)
    assert lines[told].split()[1:4] == ["bridge", "1.8", "s"]
    healed = " ".join(" ".join(lines[told + 1 : told + 3]).split())
    assert healed == "no audio for 400 ms; it came by the socket meanwhile; healed by join:joined"


# ---- a file


def written(path: Path, **changes: Any) -> Path:
    """As --export and the console write it."""
    file = {"format": 1, "glassbridge": "0.2.0", "timeline": timeline(gaps=[GAP]), "bridge_rooms": []} | changes
    path.write_text(json.dumps(file))
    return path


def inspect(path: Path) -> tuple[int, str]:
    """Without a cloud and a token: status and all that it printed."""
    env = {"PATH": os.environ["PATH"], "COLUMNS": "80", "HOME": str(path.parent)}
    done = forked.glassbridge("inspect", str(path), env=env, within=patient(30.0))
    return done.returncode, done.stdout + done.stderr


def test_a_file_is_opened_again_without_a_cloud(tmp_path: Path) -> None:
    status, text = inspect(written(tmp_path / "session.json"))
    assert (status, "the bridge is gone (bridge_died)" in text) == (0, True), text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "it has format 2, and this version reads 1"),
        ({"timeline": {}}, "missing required field"),
        ({"timeline": timeline(seconds=3) | {"columns": []}}, "its columns do not have one number for each second"),
        ({"timeline": timeline(seconds=3) | {"columns": [], "seconds": []}}, "columns are missing"),
        ({"timeline": timeline() | {"events": [{"kind": 1}]}}, "Expected `str`"),
        ({"bridge_rooms": [1]}, "Expected `object`"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = written(tmp_path / "session.json", **changes)
    with pytest.raises(BadRecorderFile, match=re.escape(why)):
        decode(path.read_bytes(), frozenset(COLUMNS))


def test_what_cannot_be_read_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("hello")
    for name, why in (("text.json", "is no recorder's file"), ("missing.json", "No such file")):
        status, text = inspect(tmp_path / name)
        assert (status, text.count("\n")) == (1, 1), text
        assert why in text
        assert "inspect --export" in text


def test_a_file_cannot_speak_to_the_terminal() -> None:
    evil = timeline(session=ROW | {"user": "\x1b]0;owned\x07ada\x9b31m"}, gaps=[GAP | {"text": "\x1b[2Jgone"}])
    data = json.dumps({"format": 1, "glassbridge": "\x1b[2J", "timeline": evil, "bridge_rooms": []}).encode()
    text = shown(decode(data, frozenset(COLUMNS)).timeline)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\x07" not in text
