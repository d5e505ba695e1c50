"""Logging in a process of its own: what comes out of it, and that it never waits for its reader."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from glassbridge.telemetry.logs import hash_user
from tests.support.patience import patient

SECRET = "canary-secret-of-more-than-32-characters"


def run(code: str, *, level: str = "info", fmt: str = "json", extra: str = "") -> str:
    """Standard error of a process that configures logging and runs `code`."""
    preamble = f"""
        import asyncio, logging, sys, threading, warnings
        import structlog
        from glassbridge.telemetry.config import LogConfig
        from glassbridge.telemetry.logs import configure
        log = structlog.get_logger()
        configure("cloud", LogConfig(level={level!r}, fmt={fmt!r}, secrets=({SECRET!r},){extra}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code)],
        capture_output=True,
        timeout=patient(30),
    )
    assert done.stdout == b"", "logs belong on standard error"
    return done.stderr.decode()


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_line_is_json_with_its_fields() -> None:
    [line] = lines(run("log.bind(user_id='ada').info('JoinRoom received', generation=3)"))
    assert line["event"] == "JoinRoom received"
    assert (line["user_id"], line["generation"], line["service"], line["level"]) == ("ada", 3, "cloud", "info")
    assert line["timestamp"].endswith("Z")


def test_libraries_are_captured_and_quiet_ones_kept_quiet() -> None:
    output = run(
        """
        logging.getLogger("other").info("plain %s", "text")
        logging.getLogger("aioice.ice").info("chatter")
        logging.getLogger("aioice.ice").warning("trouble")
        warnings.warn("odd")
        """
    )
    assert [line["event"].split("\n")[0] for line in lines(output)][:2] == ["plain text", "trouble"]
    assert "odd" in output
    assert "chatter" not in output


def test_level() -> None:
    assert [line["event"] for line in lines(run("log.info('no'); log.warning('yes')", level="warning"))] == ["yes"]
    assert [line["event"] for line in lines(run("logging.getLogger('aiortc').debug('yes')", level="debug"))] == ["yes"]


LEAKS = """
log.debug('field', url='ws://h/rtc?access_token=' + T, note=S)
log.info('named', token='opaque-value-of-a-token')
logging.getLogger('aiohttp.server').error('GET /?token=%s', T)
logging.getLogger('other').error('dict %r', {'authorization': 'Bearer ' + T, 'k': S})
try:
    raise ConnectionError('401 ' + T + S)
except ConnectionError:
    log.exception('caught', core_token='opaque-value-of-a-token')
thread = threading.Thread(target=lambda: int(T + S))
thread.start()
thread.join()
int(T + S)
"""


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_secret_at_any_level(fmt: str) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
    output = run(f"T = {token!r}; S = {SECRET!r}\n{LEAKS}", level="debug", fmt=fmt)
    for event in ("field", "named", "GET /", "dict", "caught", "a thread failed", "the program failed"):
        assert event in output
    for kept in ("eyJ", SECRET, "opaque-value-of-a-token"):
        assert kept not in output


def test_what_waits_for_a_sink_holds_no_secret_either(tmp_path: Path) -> None:
    """Nobody listens there, so all lines are on disk at the end."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
    sink = f"better_stack_sink('http://127.0.0.1:1', {SECRET!r})"
    config = f", spool={str(tmp_path)!r}, sinks=(__import__('glassbridge.telemetry.config', fromlist=['x']).{sink},)"
    run(f"T = {token!r}; S = {SECRET!r}\n{LEAKS}", level="debug", extra=config)
    [file] = tmp_path.rglob("*.jsonl")
    waiting = file.read_text()
    for event in ("field", "named", "caught", "a thread failed", "the program failed"):
        assert event in waiting
    for kept in ("eyJ", SECRET, "opaque-value-of-a-token"):
        assert kept not in waiting


def test_uncaught_errors_are_lines_too() -> None:
    [line] = lines(run("raise RuntimeError('boom')"))
    assert line["event"] == "the program failed"
    assert "RuntimeError: boom" in line["exception"]


@pytest.mark.parametrize(("level", "fmt"), [("loud", "json"), ("info", "xml")])
def test_unknown_words_are_refused(level: str, fmt: str) -> None:
    assert "there is no log" in run("", level=level, fmt=fmt)


def test_a_reader_that_stops_neither_stops_the_program_nor_its_end() -> None:
    """The pipe holds 64 KiB; 4 MB are logged; the longest single call stays short; the end takes the flush limit."""
    code = textwrap.dedent(
        """
        import time
        import structlog
        from glassbridge.telemetry import logs
        from glassbridge.telemetry.config import LogConfig
        logs.configure("cloud", LogConfig(fmt="json"))
        log, worst = structlog.get_logger(), 0.0
        for n in range(20_000):
            before = time.monotonic()
            log.info("line", filler="x" * 100)
            worst = max(worst, time.monotonic() - before)
        print(worst, logs.dropped()["stderr"], flush=True)
        """
    )
    read, write = os.pipe()
    started = time.monotonic()
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=write, timeout=patient(60))
    finally:
        os.close(write)
        os.close(read)
    worst, dropped = done.stdout.split()
    assert done.returncode == 0
    assert float(worst) < patient(1.0), "a log call waited for the reader"
    assert int(dropped) >= 20_000 - 10_000 - 1_000
    assert time.monotonic() - started < patient(30)


def test_drops_are_told_when_the_reader_is_back() -> None:
    code = textwrap.dedent(
        """
        import sys
        import structlog
        from glassbridge.telemetry import logs
        from glassbridge.telemetry.config import LogConfig
        from glassbridge.telemetry.writer import LineWriter
        LineWriter.__init__.__defaults__ = (50,)
        logs.configure("cloud", LogConfig(fmt="json"))
        for n in range(5_000):
            structlog.get_logger().info("line", filler="x" * 100)
        print("full", flush=True)
        sys.stdin.readline()
        structlog.get_logger().info("after")
        sys.stdin.readline()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdin.write(b"\n")
        process.stdin.flush()
        told = 0
        for raw in process.stderr:
            line = json.loads(raw)
            told += line.get("count", 0)
            if told > 4_000:
                break
        else:
            pytest.fail(f"only {told} of over 4,000 drops were told")
        process.stdin.close()


LOOP = """
    import time
    async def play():
        worst, ended = 0.0, time.monotonic() + 1.0
        while time.monotonic() < ended:
            due = time.monotonic() + 0.01
            for n in range(20):
                log.info("line", n=n, filler="x" * 500)
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - due)
        print(worst, flush=True)
    asyncio.run(play())
"""


@pytest.mark.parametrize("trouble", ["nobody reads", "frozen sink", "no sink"])
def test_the_event_loop_does_not_notice(trouble: str, tmp_path: Path) -> None:
    """20 lines each 10 ms for a second, to a pipe that nobody reads, to a sink that is silent, to nobody at all. The
    same program with everything well says what the machine itself does to such a loop."""
    lags = {}
    for way in ("well", trouble):
        read, write = os.pipe()
        drain = threading.Thread(target=lambda read=read: _drain(read), daemon=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if way == "frozen sink":
                listener.listen(1)
            sink = ""
            if way.endswith("sink"):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                sink = f", sinks=(better_stack_sink({url!r}, 'source-token'),), spool={str(tmp_path)!r}"
            if way != "nobody reads":
                drain.start()
            code = f"""
                import asyncio
                import structlog
                from glassbridge.telemetry.config import LogConfig, better_stack_sink
                from glassbridge.telemetry.logs import configure
                log = structlog.get_logger()
                configure("cloud", LogConfig(fmt="json"{sink}))
            """
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(LOOP)],
                stdout=subprocess.PIPE,
                stderr=write,
                timeout=patient(60),
            )
        os.close(write)
        if drain.ident is not None:
            drain.join(10)
        os.close(read)
        lags[way] = float(done.stdout)
    assert lags[trouble] < 1.0 + 3 * lags["well"], lags


def _drain(fd: int) -> None:
    while os.read(fd, 65_536):
        pass


def test_user_ids_are_hashed_by_a_setting_in_every_field_of_a_line() -> None:
    [line, other] = lines(
        run(
            """
            log.info("JoinRoom received", user_id="ada@example.org", room_name="ada@example.org", n=1,
                     error="room ada@example.org: no cloud-agent:ada@example.org, but xada@example.org.uk")
            log.info("cloud", user_id="cloud")
            """,
            extra=", user_key='a key'",
        )
    )
    hashed = hash_user("ada@example.org", "a key")
    assert line["user_id"] == line["room_name"] == hashed
    assert line["error"] == f"room {hashed}: no cloud-agent:{hashed}, but xada@example.org.uk"
    assert line["event"] == "JoinRoom received"
    assert (other["event"], other["service"]) == ("cloud", "cloud")
    assert other["user_id"] == hash_user("cloud", "a key") != hashed
    assert hash_user("ada@example.org", "another key") != hashed


def test_the_region_is_in_every_line() -> None:
    assert [line["region"] for line in lines(run("log.info('x')", extra=", region='eu'"))] == ["eu"]


def test_no_field_of_a_line_is_longer_than_512_bytes_whoever_wrote_it() -> None:
    output = run(
        f"""
        long = "/token" + "\\\\" * 100_000
        log.info("HTTP request", path=long, wide="\u20ac" * 1_000, raw=b"x" * 9_000, nested={{"a": [long] * 1_000}})
        odd = type("Odd", (), {{"__repr__": lambda _: long}})()
        log.info("x" * 100_000, known="a" * 380 + {SECRET!r} + "b" * 1_000, object=odd)
        logging.getLogger("aiohttp.server").error("bad request %s", long)
        try:
            raise ValueError("no " + long)
        except ValueError:
            log.exception("failed", path="/short")
        """
    )
    first, second, third, fourth = lines(output)
    for line in (first, second, third):
        for name in set(line) - {"nested"}:
            assert len(str(line[name]).encode()) <= 512, name
    assert first["path"].startswith("/token\\")
    assert len(json.dumps(first["nested"])) < 64 * 1_100
    assert SECRET[:10] not in output, "half of a secret is left"
    assert fourth["path"] == "/short"
    assert "ValueError: no /token" in fourth["exception"]
    assert len(fourth["exception"]) <= 16 << 10
