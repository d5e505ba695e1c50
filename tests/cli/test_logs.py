"""`glassbridge logs`, and a program that ships: what arrives of its life and of its death."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.ingest import TOKEN, Ingest
from tests.support import forked
from tests.support.patience import patient
from tests.support.poll import eventually

WITHIN = 30.0


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    async with Ingest() as double:
        yield double
        assert double.problems == []


async def glassbridge(*args: str, **env: str) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    done = await asyncio.to_thread(forked.glassbridge, *args, env=os.environ | env, within=patient(WITHIN))
    return done.returncode, done.stdout, done.stderr


def better_stack(ingest: Ingest, **more: str) -> dict[str, str]:
    return {"BETTERSTACK_INGESTING_HOST": ingest.url, "BETTERSTACK_SOURCE_TOKEN": TOKEN} | more


async def test_one_line_a_batch_and_a_complex_line_arrive(ingest: Ingest) -> None:
    status, out, _ = await glassbridge("logs", "test", **better_stack(ingest))
    assert status == 0
    assert [line.strip() for line in out.splitlines()[1:]] == [
        "one line: 202, arrived",
        "a batch of 20: 202, arrived",
        "a complex line: 202, arrived",
    ]
    assert ingest.batches == [1, 20, 1]
    assert ingest.lines[-1]["nested"] == {"list": [1, 2.5, None, True, "text"], "object": {"a": {"b": {"c": []}}}}


async def test_otlp_too(ingest: Ingest) -> None:
    status, out, _ = await glassbridge(
        "logs",
        "test",
        OTEL_EXPORTER_OTLP_ENDPOINT=ingest.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"Authorization=Bearer {TOKEN}",
    )
    assert (status, len(ingest.lines)) == (0, 22), out


@pytest.mark.parametrize(
    ("answer", "advice"), [(403, "source token"), (500, "takes nothing now"), (404, "check that its address")]
)
async def test_what_does_not_arrive_is_said_with_what_to_do(ingest: Ingest, answer: int, advice: str) -> None:
    if answer == 403:
        ingest.token = "another"
    ingest.status = answer
    status, out, _ = await glassbridge("logs", "test", **better_stack(ingest))
    assert status == 1
    assert f"{answer}, NOT arrived" in out
    assert advice in out
    assert TOKEN not in out


async def test_nobody_there_and_nothing_set(ingest: Ingest) -> None:
    await ingest.refuse()
    status, out, _ = await glassbridge("logs", "test", **better_stack(ingest))
    assert (status, "no answer" in out, "check the host name" in out) == (1, True, True)
    unset = {"BETTERSTACK_INGESTING_HOST": "", "BETTERSTACK_SOURCE_TOKEN": ""}
    status, _, err = await glassbridge("logs", "test", **unset)
    assert (status, "BETTERSTACK_SOURCE_TOKEN" in err) == (2, True)
    status, _, err = await glassbridge("logs", "test", **unset | {"BETTERSTACK_SOURCE_TOKEN": TOKEN})
    assert (status, "needs both" in err) == (2, True)


async def test_https_is_verified(tmp_path: Path) -> None:
    pem, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    async with Ingest(ssl_context=context) as sink:
        host = {"BETTERSTACK_INGESTING_HOST": sink.url.removeprefix("https://"), "BETTERSTACK_SOURCE_TOKEN": TOKEN}
        status, out, _ = await glassbridge("logs", "test", **host)
        assert (status, sink.requests) == (1, 0), "a certificate that nobody vouches for"
        assert "certificate verify failed" in out
        status, out, _ = await glassbridge("logs", "test", **host | {"SSL_CERT_FILE": str(pem)})
        assert (status, len(sink.lines)) == (0, 22), out
        assert sink.problems == []


async def test_users_can_be_found_though_they_are_hashed(ingest: Ingest) -> None:
    plain = await glassbridge("logs", "user", "Ada@Example.org")
    assert plain[1] == "ada@example.org\n"
    hashed = await glassbridge("logs", "user", "Ada@Example.org", GLASSBRIDGE_LOG_USER_KEY="a key of some length")
    assert hashed[1].startswith("u-")
    assert "ada" not in hashed[1]


async def test_a_bridge_ships_what_its_workers_say_and_what_kills_them(ingest: Ingest, tmp_path: Path) -> None:
    """One dies of a fault in native code: its lines, its native words and the reason arrive, and a successor lives."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "glassbridge",
        "bridge",
        "--no-spare",
        env=os.environ
        | better_stack(
            ingest, LIVEKIT_GRPC_SOCKET=str(tmp_path / "b.sock"), GLASSBRIDGE_LOG_SPOOL=str(tmp_path / "spool")
        )
        | {"GLASSBRIDGE_LOG_EVERY": "60", "GLASSBRIDGE_REGION": "lab"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        spooled = tmp_path / "spool"
        listening = b'"worker listening"'
        await eventually(
            lambda: any(listening in file.read_bytes() for file in spooled.rglob("*.jsonl")) or "no worker listens",
            WITHIN,
        )
        text = b"".join(file.read_bytes() for file in spooled.rglob("*.jsonl"))
        line = next(line for line in text.splitlines() if listening in line)
        pid = int(line.split(b'"pid": ')[1].split(b",")[0])
        os.kill(pid, 11)
        again = "a successor"
        await eventually(
            lambda: b"".join(f.read_bytes() for f in spooled.rglob("*.jsonl")).count(b'"worker ready"') > 1 or again,
            WITHIN,
        )
    finally:
        process.terminate()
        await process.wait()
    messages = ingest.messages()
    assert {"bridge starting", "worker listening", "worker died", "worker ready", "bridge stopped"} <= set(messages)
    [died] = [line for line in ingest.lines if line["message"] == "worker died"]
    assert died["cause"] == "SIGSEGV"
    assert any("Segmentation fault" in words for words in died["last_words"])
    assert any(
        "Segmentation fault" in line["text"] for line in ingest.lines if line["message"] == "worker wrote to stderr"
    )
    assert {line["service"] for line in ingest.lines} == {"livekit-bridge"}
    assert {line["region"] for line in ingest.lines} == {"lab"}
    assert not list(spooled.rglob("*.jsonl")), "all arrived, and nothing waits"
