"""`glassbridge doctor` with real servers that are well, wrong, gone, cut off from media, or of another time.

Each trouble of its catalogue is met here.
"""

import asyncio
import json
import os
import resource
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path as FilePath
from time import time
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web

from glassbridge.cli.admin_client import base_url
from glassbridge.cli.checks import CHECKS, addresses, livekit, machine, programs, speech
from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import Finding, FindingState, Patient, new_session
from glassbridge.cluster.address import read_address
from glassbridge.cluster.directory import Node
from glassbridge.cluster.valkey import ValkeyDirectory
from glassbridge.core.ownership import NodeState, Owner, Role
from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.ingest import TOKEN, Ingest
from glassbridge.lab.link_breaker import LinkBreaker, Path, behind_breaker
from glassbridge.lab.stack import Stack
from glassbridge.lab.turn import Turn, embedded_turn
from glassbridge.livekit.server import LOOPBACK, LiveKitServer, free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.errors import UserError
from glassbridge.settings import Settings
from glassbridge.speech.soniox_double import Fault, Manner, SonioxDouble
from glassbridge.telemetry.config import better_stack_sink
from tests.scenarios.systems import KEYS, config
from tests.support.livekit import server_binary
from tests.support.patience import deadline
from tests.support.process import Program
from tests.support.scripted_bridge import ScriptedBridge
from tests.support.tls import tls_front
from tests.support.valkey import Valkey

WITHIN = 120.0


@asynccontextmanager
async def patient(url: str, keys: LiveKitKeys = KEYS, **settings: Any) -> AsyncIterator[Patient]:
    """One whose keys are set; what the first checks find is known."""
    fields = {"livekit_url": url, "livekit_api_key": keys.api_key, "livekit_api_secret": keys.secret}
    async with new_session() as http:
        yield Patient(Settings.model_validate(fields | settings), "http://127.0.0.1:1", http)


def assert_told(finding: Finding, trouble: Trouble, *words: str) -> None:
    """It is this trouble, says so with these words, and what to do about it."""
    assert finding.code == trouble.name.lower(), finding
    assert finding.state is trouble.value.state
    assert finding.text
    assert finding.advice
    assert not [word for word in words if word not in f"{finding.text} {finding.advice}"], finding


@asynccontextmanager
async def http_server(
    status: int = 200, text: str = "OK", date: str | None = None, content_type: str = "text/plain"
) -> AsyncIterator[str]:
    """Answers everything so; gives host:port."""

    async def answer(_request: web.Request) -> web.Response:
        headers = {} if date is None else {"Date": date}
        return web.Response(status=status, text=text, headers=headers, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def deaf_server(says: bytes = b"") -> AsyncIterator[str]:
    """Takes connections, says this, and closes; without words it says nothing and keeps them. Gives host:port."""
    kept = []

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)
        if says:
            writer.write(says)
            await writer.drain()
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        for writer in kept:
            writer.transport.abort()
        listener.close()


@asynccontextmanager
async def server(turn: Turn | None = None, **rtc: object) -> AsyncIterator[LiveKitServer]:
    binary = server_binary()
    assert binary is not None
    if turn is not None:
        rtc["turn_servers"] = turn.servers
    async with LiveKitServer(binary, KEYS, rtc=rtc, turn=turn and turn.turn) as running:
        yield running


@pytest.mark.real
@pytest.mark.timeout(600)
async def test_all_is_well(tmp_path: FilePath) -> None:
    """The command, with everything that a deployment has. Public development secrets are what tests use."""
    async with (
        Ingest() as sink,
        server(embedded_turn(KEYS, LOOPBACK, free_port(), "tcp"), tcp_port=free_port()) as running,
        Stack(config(livekit=running.url)) as stack,
    ):
        env = {
            "LIVEKIT_URL": running.url,
            "LIVEKIT_API_KEY": KEYS.api_key,
            "LIVEKIT_API_SECRET": KEYS.secret,
            "LIVEKIT_GRPC_SOCKET": str(stack.bridge_socket),
            "BETTERSTACK_INGESTING_HOST": sink.url,
            "BETTERSTACK_SOURCE_TOKEN": TOKEN,
            "GLASSBRIDGE_LOG_SPOOL": str(tmp_path),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "glassbridge", "doctor", "--json", "--cloud", stack.cloud_url,
            env=os.environ | env,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with deadline(WITHIN):
            out, _ = await process.communicate()
    found = {line["check"]: line for line in map(json.loads, out.splitlines())}
    assert list(found) == [name for name, _ in CHECKS]
    ill = {name: line for name, line in found.items() if line["state"] != "well"}
    assert set(ill) <= {"secrets", "open files", "disk"}, ill
    assert process.returncode == 0
    assert KEYS.secret not in out.decode()
    assert "log sink test" in sink.messages()


# ---- addresses, secrets, encryption


async def test_a_name_that_does_not_resolve_is_told_once_with_its_setting() -> None:
    async with patient("wss://livekit.invalid", otlp_endpoint="https://collector.invalid") as ill:
        found = await addresses.names(ill)
        assert_told(found, Trouble.NAME_UNRESOLVED, "livekit.invalid of LIVEKIT_URL", "of OTEL_EXPORTER_OTLP_ENDPOINT")
        assert (await livekit.http(ill)).state is FindingState.SKIPPED
        ill.cloud = "http://livekit.invalid:8002"
        assert (await programs.cloud(ill)).state is FindingState.SKIPPED


async def test_the_same_where_only_the_asking_itself_shows_it() -> None:
    async with patient("wss://livekit.invalid") as ill:
        assert_told(await livekit.http(ill), Trouble.NAME_UNRESOLVED, "livekit.invalid of LIVEKIT_URL")


async def test_addresses_that_lead_nowhere() -> None:
    async with patient("ws://0.0.0.0:7880") as ill:
        assert_told(await addresses.names(ill), Trouble.ADDRESS_OF_NOWHERE, "LIVEKIT_URL", "0.0.0.0")
    async with patient("ws://127.0.0.1:7880", public_url="https://203.0.113.7") as ill:
        assert_told(await addresses.names(ill), Trouble.LOOPBACK_TOLD, "LIVEKIT_URL", "GLASSBRIDGE_LIVEKIT_PUBLIC_URL")
    async with patient(
        "ws://127.0.0.1:7880", public_url="https://203.0.113.7", livekit_public_url="wss://[::1]"
    ) as ill:
        assert_told(await addresses.names(ill), Trouble.LOOPBACK_TOLD, "GLASSBRIDGE_LIVEKIT_PUBLIC_URL is an")
    here, there = "ws://127.0.0.1:7880", "203.0.113.7"
    async with patient(here, public_url=f"https://{there}", livekit_public_url=f"wss://{there}") as healthy:
        assert (await addresses.names(healthy)).state is FindingState.WELL


def test_every_setting_that_is_a_url_is_looked_at() -> None:
    checked = [name for name, field in Settings.model_fields.items() if "check_url" in f"{field!r}{field.annotation}"]
    assert len(checked) >= 8
    assert set(checked) - {"allowed_origins"} <= set(addresses.URL_SETTINGS)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, None),
        ({"livekit_url": "wss://livekit.example.com", "public_url": "https://cloud.example.com"}, None),
        ({"livekit_url": "ws://livekit.example.com"}, "LIVEKIT_URL"),
        ({"public_url": "http://cloud.example.com"}, "GLASSBRIDGE_PUBLIC_URL"),
        ({"otlp_traces_endpoint": "http://collector.example.com"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"jwks_url": "http://login.example.com"}, "GLASSBRIDGE_JWKS_URL"),
        ({"livekit_url": "http://livekit.example.com"}, "LIVEKIT_URL"),
        ({"bridge_urls": "bridge.example.com:9090", "bridge_ca": "/ca.pem"}, None),
    ],
)
async def test_what_goes_out_in_the_clear_is_told(settings: dict[str, Any], told: str | None) -> None:
    async with patient(settings.pop("livekit_url", "ws://127.0.0.1:7880"), **settings) as found:
        finding = await addresses.encryption(found)
    if told is None:
        assert finding.state is FindingState.WELL
    else:
        assert_told(finding, Trouble.PLAINTEXT, told)


async def test_more_that_goes_out_in_the_clear() -> None:
    async with patient("ws://127.0.0.1:7880", bridge_urls="127.0.0.1:9090,bridge.example.com:9090") as ill:
        assert_told(await addresses.encryption(ill), Trouble.BRIDGES_IN_CLEAR, "GLASSBRIDGE_BRIDGE_CA")
    async with patient("ws://127.0.0.1:7880") as ill:
        ill.cloud = "http://cloud.example.com"
        assert_told(await addresses.encryption(ill), Trouble.PLAINTEXT, "--cloud")


@pytest.mark.parametrize(
    ("settings", "trouble"),
    [
        ({"jwt_secrets": "j" * 32}, None),
        ({}, Trouble.SECRETS_PUBLIC),
        ({"public_url": "https://cloud.example.com"}, Trouble.SECRETS_EXPOSED),
        ({"public_host_name": "cloud.example.com"}, Trouble.SECRETS_EXPOSED),
        ({"jwt_secrets": "tiny"}, Trouble.SECRETS_SHORT),
        ({"jwt_secrets": "j" * 32, "admin_tokens": "a" * 20}, Trouble.SECRETS_SHORT),
        ({"jwt_secrets": "j" * 32, "bridge_secrets": "b"}, Trouble.SECRETS_SHORT),
    ],
)
async def test_weak_secrets_are_told(settings: dict[str, Any], trouble: Trouble | None) -> None:
    async with patient("ws://127.0.0.1:7880", **settings) as found:
        finding = await addresses.secrets(found)
    if trouble is None:
        assert finding.state is FindingState.WELL
    else:
        assert_told(finding, trouble, "openssl rand -hex 32")
    assert not any(value in finding.text.split() for name, value in settings.items() if "secret" in name)


# ---- LiveKit


async def test_no_livekit() -> None:
    async with patient(f"ws://127.0.0.1:{free_port()}") as ill:
        assert_told(await livekit.http(ill), Trouble.REFUSED, "glassbridge livekit start", "LIVEKIT_URL")
        later = [
            await check(ill) for check in (livekit.clock, livekit.keys, livekit.media_by_udp, livekit.media_by_tcp)
        ]
        assert [finding.state for finding in later] == [FindingState.SKIPPED] * 4


async def test_something_else_at_livekits_address() -> None:
    async with deaf_server(b"220 mail.example.com ESMTP\r\n") as where, patient(f"ws://{where}") as ill:
        assert_told(await livekit.http(ill), Trouble.NOT_HTTP, f"(pid {os.getpid()})", "LIVEKIT_URL")
    async with http_server(text="<html>Hello</html>") as where, patient(f"ws://{where}") as ill:
        assert_told(await livekit.http(ill), Trouble.LIVEKIT_STRANGE, "<html>", f"(pid {os.getpid()})")
        assert_told(await livekit.keys(ill), Trouble.ROOM_SERVICE, "LIVEKIT_URL")
        assert (await livekit.media_by_udp(ill)).state is FindingState.SKIPPED
        ill.livekit_trouble = ""
        assert_told(await livekit.media_by_udp(ill), Trouble.JOIN)
        assert_told(await livekit.media_by_tcp(ill), Trouble.JOIN)


async def test_a_server_that_says_nothing() -> None:
    async with deaf_server() as where, patient(f"ws://{where}") as ill:
        ill.http._timeout = aiohttp.ClientTimeout(total=0.3)
        assert_told(await livekit.http(ill), Trouble.SILENT, "LIVEKIT_URL")


async def test_tls_that_does_not_fit(tmp_path: FilePath) -> None:
    certificate, key = make_certificate(tmp_path)
    async with http_server() as where:
        async with tls_front(int(where.rpartition(":")[2]), certificate, key, []) as url, patient(url) as ill:
            assert_told(await livekit.http(ill), Trouble.CERTIFICATE, "SSL_CERT_FILE", "self-signed certificate")
        async with patient(f"wss://{where}") as ill:
            assert_told(await livekit.http(ill), Trouble.NO_TLS, "use ws:// in LIVEKIT_URL")


async def test_a_proxy_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with patient("wss://livekit.invalid") as ill:
        assert_told(await livekit.http(ill), Trouble.PROXY, "HTTPS_PROXY", "NO_PROXY")


@pytest.mark.real
async def test_wrong_key() -> None:
    async with server() as running, patient(running.url, LiveKitKeys(KEYS.api_key, "z" * 40)) as ill:
        assert (await livekit.http(ill)).state is FindingState.WELL
        assert_told(await livekit.keys(ill), Trouble.KEY_REFUSED, "LIVEKIT_API_SECRET")
        assert (await livekit.media_by_udp(ill)).text == "LiveKit refuses our key"


@pytest.mark.real
async def test_media_is_cut_off_while_signalling_works() -> None:
    async with server(**behind_breaker()) as running, LinkBreaker(running) as breaker:
        link = await breaker.link()
        async with patient(link.url) as ill:
            await livekit.http(ill)
            await livekit.keys(ill)
            assert (await livekit.media_by_udp(ill)).state is FindingState.WELL
            link.drop(Path.MEDIA)
            found = await livekit.media_by_udp(ill)
            assert "UDP" in found.advice
            assert found.code in ("join", "media_lost")
            assert_told(await livekit.media_by_tcp(ill), Trouble.NO_MEDIA_BY_TCP, "rtc.tcp_port")
            assert_told(await livekit.media_by_turn(ill), Trouble.NO_MEDIA_BY_TURN, "names no TURN server", "`turn:`")


@pytest.mark.real
async def test_media_by_turn_alone() -> None:
    turn = embedded_turn(KEYS, LOOPBACK, free_port(), "tcp")
    async with server(turn) as running, patient(running.url) as ill:
        await livekit.http(ill)
        await livekit.keys(ill)
        found = await livekit.media_by_turn(ill)
        assert (found.state, found.text.split(" in ")[0]) == (FindingState.WELL, "a packet went through TURN")


@pytest.mark.real
async def test_turn_that_leads_not_to_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livekit, "TIMEOUT", 1.5)
    turn = embedded_turn(KEYS, LOOPBACK, free_port(), "tcp")
    del turn.turn["allow_restricted_peer_cidrs"]
    async with server(turn) as running, patient(running.url) as ill:
        await livekit.http(ill)
        await livekit.keys(ill)
        found = await livekit.media_by_turn(ill)
        assert_told(found, Trouble.NO_MEDIA_BY_TURN, "allow_restricted_peer_cidrs")


@pytest.mark.real
async def test_media_that_ends_after_the_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livekit, "TIMEOUT", 1.0)
    async with server() as running, patient(running.url) as ill:
        await livekit.http(ill)
        await livekit.keys(ill)
        monkeypatch.setattr(livekit._Ears, "on_packet", lambda *_: None)
        assert_told(await livekit.media_by_udp(ill), Trouble.MEDIA_LOST, "UDP")


# ---- clocks


@pytest.mark.parametrize(
    ("ahead", "trouble"),
    [(0, None), (12, Trouble.CLOCK_DRIFTS), (-120, Trouble.CLOCK_WRONG), (172_800, Trouble.CLOCK_WRONG)],
)
async def test_clocks_are_told_once(ahead: int, trouble: Trouble | None) -> None:
    date = formatdate(time() - ahead, usegmt=True)
    async with http_server(date=date) as where, patient(f"ws://{where}") as ill:
        await livekit.http(ill)
        found = await livekit.clock(ill)
        if trouble is None:
            assert found.state is FindingState.WELL
            return
        assert_told(found, trouble, "NTP", "ahead of" if ahead > 0 else "behind", "LiveKit's")
        if trouble is Trouble.CLOCK_WRONG:
            later = [await check(ill) for check in (livekit.keys, livekit.media_by_udp, livekit.media_by_tcp)]
            assert [(finding.state, finding.text) for finding in later] == [
                (FindingState.SKIPPED, "not before the clocks agree")
            ] * 3


async def test_a_cloud_of_another_time_is_told_with_livekit_of_the_same() -> None:
    date = formatdate(time() - 120, usegmt=True)
    async with http_server(date=date, text='{"bridges": 1}') as where, patient(f"ws://{where}") as ill:
        ill.cloud = f"http://{where}"
        await programs.cloud(ill)
        assert_told(await livekit.clock(ill), Trouble.CLOCK_WRONG, "120 s ahead of the cloud's")
        await livekit.http(ill)
        assert_told(await livekit.clock(ill), Trouble.CLOCK_WRONG, "the cloud's and LiveKit's")


# ---- bridges and their sockets


async def test_no_bridge_and_a_socket_that_others_may_open(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bridge.sock"
    async with patient("ws://127.0.0.1:1", bridge_socket=str(path)) as ill:
        assert_told(await programs.bridges(ill), Trouble.BRIDGE_ABSENT, "glassbridge bridge", str(path))
        path.write_text("")
        assert_told(await programs.sockets(ill), Trouble.SOCKET_OWNER, "is no socket")
        path.unlink()
        listener = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), path)
        path.chmod(0o666)
        assert_told(await programs.sockets(ill), Trouble.SOCKET_OPEN, "chmod 600")
        tmp_path.chmod(0o777)
        assert_told(await programs.sockets(ill), Trouble.SOCKET_FOLDER, "0700")
        with monkeypatch.context() as patch:  # who runs the tests may be root, who may do everything
            patch.setattr(os, "access", lambda *_: False)
            assert_told(await programs.sockets(ill), Trouble.SOCKET_CLOSED, "same user")

            def forbid(_path: FilePath) -> None:
                raise PermissionError

            patch.setattr(FilePath, "stat", forbid)
            assert_told(await programs.sockets(ill), Trouble.SOCKET_UNSEEN, "the bridge's user")
        listener.close()


async def test_a_port_of_a_bridge_that_something_else_holds() -> None:
    async with http_server() as where, patient("ws://127.0.0.1:1", bridge_urls=where) as ill:
        assert_told(
            await programs.bridges(ill), Trouble.BRIDGE_STRANGE, f"(pid {os.getpid()})", "LIVEKIT_GRPC_BRIDGE_URL"
        )


async def test_bridges_of_another_version_and_those_that_want_a_secret() -> None:
    async with ScriptedBridge() as bridge, patient("ws://127.0.0.1:1", bridge_urls=bridge.target) as ill:
        assert_told(await programs.bridges(ill), Trouble.BRIDGE_VERSION, "bridges first")

    async def refuse(_requests: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the shared secret is missing or wrong")

    class Refusal(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(refuse)

    strict = grpc.aio.server(handlers=[Refusal()])
    port = strict.add_insecure_port("127.0.0.1:0")
    await strict.start()
    async with patient("ws://127.0.0.1:1", bridge_urls=f"127.0.0.1:{port}") as ill:
        assert_told(await programs.bridges(ill), Trouble.BRIDGE_REFUSES, "GLASSBRIDGE_BRIDGE_SECRET")
    await strict.stop(None)


async def test_half_the_settings_of_a_bridge() -> None:
    async with patient("ws://127.0.0.1:1", bridge_client_cert="/none.pem") as ill:
        assert_told(await programs.bridges(ill), Trouble.BRIDGE_SETTINGS, "GLASSBRIDGE_BRIDGE_CLIENT_KEY")


async def test_bridges_of_a_cluster_are_those_that_its_directory_lists(tmp_path: FilePath) -> None:
    where = "ws://127.0.0.1:1"
    async with patient(where, cluster="valkey://127.0.0.1:1") as ill:
        assert_told(await programs.bridges(ill), Trouble.DIRECTORY_AWAY, "GLASSBRIDGE_CLUSTER", "Valkey")
    async with Valkey(tmp_path) as server, ScriptedBridge() as bridge, patient(where, cluster=server.url) as ill:
        assert_told(await programs.bridges(ill), Trouble.BRIDGES_UNLISTED, "GLASSBRIDGE_CLUSTER")
        directory = ValkeyDirectory(read_address(server.url))
        owner = Owner(bridge.target, "incarnation", bridge.target)
        await directory.renew(Node(owner, NodeState.SERVING, 0, Role.BRIDGE), 30.0, (), 5.0)
        assert_told(await programs.bridges(ill), Trouble.BRIDGE_VERSION)  # it is asked, and tells its version
        await directory.withdraw(owner, 5.0, Role.BRIDGE)
        assert_told(await programs.bridges(ill), Trouble.BRIDGES_UNLISTED)
        await directory.close()


# ---- the cloud


async def test_no_cloud() -> None:
    async with patient("ws://127.0.0.1:1") as ill:
        ill.cloud = f"http://127.0.0.1:{free_port()}"
        assert_told(await programs.cloud(ill), Trouble.CLOUD_ABSENT, "port is free", "glassbridge dev")


async def test_a_cloud_elsewhere_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "is_here", lambda _url: False)
    async with patient("ws://127.0.0.1:1") as ill:
        ill.cloud = f"http://127.0.0.1:{free_port()}"
        assert_told(await programs.cloud(ill), Trouble.REFUSED, "--cloud", "glassbridge cloud")


async def test_something_else_holds_the_port_of_the_cloud() -> None:
    for other in (partial(deaf_server, b"SSH-2.0-OpenSSH_9.2\r\n"), partial(http_server, 404), partial(http_server)):
        async with other() as where, patient("ws://127.0.0.1:1") as ill:
            ill.cloud = f"http://{where}"
            assert_told(await programs.cloud(ill), Trouble.CLOUD_STRANGE, f"(pid {os.getpid()})", "--port")


async def test_a_cloud_that_drains_or_sees_no_bridge() -> None:
    async with patient("ws://127.0.0.1:1") as ill:
        async with http_server(503, "{}", content_type="application/json") as where:
            ill.cloud = f"http://{where}"
            assert_told(await programs.cloud(ill), Trouble.CLOUD_DRAINING)
        async with http_server(200, '{"bridges": 0}', content_type="application/json") as where:
            ill.cloud = f"http://{where}"
            assert_told(await programs.cloud(ill), Trouble.CLOUD_WITHOUT_BRIDGE, "LIVEKIT_GRPC_SOCKET")


# ---- speech


@pytest.mark.parametrize(
    ("key", "code", "advice"),
    [("right", None, ""), ("wrong", None, "SONIOX_API_KEY"), ("right", 402, "credit"), ("right", 429, "streams")],
)
async def test_the_key_of_a_recogniser(key: str, code: int | None, advice: str) -> None:
    async with SonioxDouble(key="right") as double:
        if code is not None:
            double.misbehave(Fault(Manner.ERROR, code))
        where = "ws://127.0.0.1:1"
        async with patient(where, recogniser="soniox", soniox_api_key=key, soniox_endpoint=double.url) as ill:
            found = await speech.recogniser(ill)
    if advice:
        assert_told(found, Trouble.RECOGNISER, advice)
    else:
        assert found.state is FindingState.WELL
    assert "right" not in found.text


async def test_a_recogniser_that_cannot_be_had_or_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with patient("ws://127.0.0.1:1", recogniser="soniox") as ill:
        assert_told(await speech.recogniser(ill), Trouble.RECOGNISER_SETTINGS, "SONIOX_API_KEY")
    monkeypatch.setattr(speech, "WITHIN", 0.5)
    async with SonioxDouble(key="right") as double:
        double.misbehave(Fault(Manner.MUTE))
        where = "ws://127.0.0.1:1"
        async with patient(where, recogniser="soniox", soniox_api_key="right", soniox_endpoint=double.url) as ill:
            assert_told(await speech.recogniser(ill), Trouble.RECOGNISER_SILENT, "soniox")


async def test_too_few_speakers_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hear(*_: object) -> None: ...

    async def speakers(ill: Patient) -> Finding:
        await speech.recogniser(ill)
        return await speech.speakers(ill)

    monkeypatch.setattr(speech, "_hear", hear)
    monkeypatch.setattr(speech, "usable_processors", lambda: 1)
    where = "ws://127.0.0.1:1"
    async with patient(where, recogniser="pocketsphinx") as ill:
        assert_told(await speakers(ill), Trouble.SPEAKERS_FEW, "4 people", "1 processors")
    monkeypatch.setattr(speech, "usable_processors", lambda: 8)
    async with patient(where, recogniser="pocketsphinx", recognisers=2) as ill:
        assert_told(await speakers(ill), Trouble.SPEAKERS_LIMITED, "2 people", "about 32")
    async with patient(where, recogniser="pocketsphinx", recognisers=64) as ill:
        assert (await speakers(ill)).text == "about 32 people may speak at once, on 8 processors"
    async with patient(where, captions="") as ill:
        assert (await speakers(ill)).state is FindingState.SKIPPED


# ---- this machine


async def test_log_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    def half() -> tuple[()]:
        raise UserError("Better Stack needs both: BETTERSTACK_SOURCE_TOKEN and BETTERSTACK_INGESTING_HOST")

    async with patient("ws://127.0.0.1:1") as ill, Ingest() as sink:
        monkeypatch.setattr(machine, "log_sinks", half)
        assert_told(await machine.log_sink(ill), Trouble.SINK_SETTINGS, "BETTERSTACK_SOURCE_TOKEN")
        monkeypatch.setattr(machine, "log_sinks", tuple)
        assert_told(await machine.log_sink(ill), Trouble.SINK_NONE, "BETTERSTACK_SOURCE_TOKEN")
        monkeypatch.setattr(machine, "log_sinks", lambda: (better_stack_sink(sink.url, "another token"),))
        assert_told(await machine.log_sink(ill), Trouble.SINK, "answers 403", "token")


async def test_disk_and_files(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    async with patient("ws://127.0.0.1:1", log_spool=str(tmp_path)) as ill:
        for free, trouble in ((50 << 20, Trouble.DISK_FULL), (500 << 20, Trouble.DISK_LOW)):
            monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
            assert_told(await machine.disk(ill), trouble, str(tmp_path), "make room")
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert_told(await machine.disk(ill), Trouble.SPOOL_CLOSED, "GLASSBRIDGE_LOG_SPOOL")
    monkeypatch.setattr(machine, "default_spool", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    async with patient("ws://127.0.0.1:1") as ill:
        assert_told(await machine.disk(ill), Trouble.SPOOL_NONE, "GLASSBRIDGE_LOG_SPOOL")
        assert_told(await machine.descriptors(ill), Trouble.FEW_FILES, "ulimit")


# ---- the command, and its catalogue


def test_each_trouble_is_met_by_a_test() -> None:
    source = FilePath(__file__).read_text()
    assert [trouble.name for trouble in Trouble if f"Trouble.{trouble.name}" not in source] == []


def test_each_trouble_has_a_cause_and_a_remedy() -> None:
    for trouble in Trouble:
        assert trouble.value.text
        assert trouble.value.advice


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("foo", "begins with http:// or https://"),
        ("ftp://cloud", "begins with http:// or https://"),
        ("http://cloud:99999", "the port"),
        ("http://:8002", "the host is missing"),
        ("http://me:secret@cloud", "no password"),
        ("http://cloud/?token=secret", "leave out"),
        ("http://a cloud", "no white space"),
    ],
)
def test_a_url_that_cannot_be(url: str, why: str) -> None:
    with pytest.raises(UserError, match=r"^--cloud: .*: it looks like http://127\.0\.0\.1:8002$") as refused:
        base_url(url, "--cloud")
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "command", [("doctor",), ("top", "--once"), ("inspect", "ada"), ("phone", "--token", "x.y.z", "--control")]
)
async def test_no_command_takes_such_a_url_or_quotes_it(command: tuple[str, ...]) -> None:
    async with Program.glassbridge(*command, "--cloud", "http://me:secret@cloud") as refused:
        assert await refused.ends(20) == 2
    [line] = refused.err
    assert "no password" in line
    assert "secret" not in line


async def test_the_command_fails_without_a_cloud(tmp_path: FilePath) -> None:
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "GLASSBRIDGE_CAPTIONS": ""}
    where = f"http://127.0.0.1:{free_port()}"
    async with Program.glassbridge("doctor", "--json", "--cloud", where, env=env) as doctor:
        assert await doctor.ends(60) == 1
    told = {line["check"]: line for line in map(json.loads, doctor.out)}
    assert (told["cloud"]["state"], told["cloud"]["code"]) == ("failed", "cloud_absent")
