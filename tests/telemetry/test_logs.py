"""Logging in a process of its own: what comes out of it, and that it never waits for its reader."""

import json
import os
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

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
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code)], capture_output=True, timeout=30
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
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=write, timeout=60)
    finally:
        os.close(write)
        os.close(read)
    worst, dropped = done.stdout.split()
    assert done.returncode == 0
    assert float(worst) < 1.0, "a log call waited for the reader"
    assert int(dropped) >= 20_000 - 10_000 - 1_000
    assert time.monotonic() - started < 30


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
