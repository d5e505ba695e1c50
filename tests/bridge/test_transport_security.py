"""Cloud and bridge on TCP: what lets a caller in, and what a program refuses to start without."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from glassbridge.lab.certificate import make_certificate
from glassbridge.livekit.server import free_port
from glassbridge.runtime.grpc_security import ChannelSecurity, ServerSecurity
from glassbridge.runtime.socket_owner import check_owner, own_users
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.cli.test_start import STRONG, refused
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.process import Program

SECRET, NEXT = "the-shared-secret-of-the-bridge-tests-01", "the-next-secret-of-the-bridge-tests-0123"


@pytest.fixture
def pki(tmp_path: Path) -> Mapping[str, str]:
    """Certificates of a bridge and of a cloud, each its own CA."""
    found: dict[str, str] = {}
    for name in ("bridge", "cloud", "stranger"):
        (tmp_path / name).mkdir()
        certificate, key = make_certificate(tmp_path / name)
        found |= {name: str(certificate), f"{name}-key": str(key)}
    return found


def server_env(pki: Mapping[str, str], **more: str) -> dict[str, str]:
    return {"GLASSBRIDGE_BRIDGE_CERT": pki["bridge"], "GLASSBRIDGE_BRIDGE_KEY": pki["bridge-key"]} | more


@asynccontextmanager
async def bridge(env: Mapping[str, str]) -> AsyncIterator[str]:
    """A real bridge on loopback TCP; gives its target."""
    port = free_port()
    argv = ("bridge", "--port", str(port), "--no-spare", "--reflection")
    async with Program.glassbridge(*argv, env=env) as program:
        await program.says("bridge ready")
        yield f"127.0.0.1:{port}"


REFUSALS = {"UNAUTHENTICATED", "UNAVAILABLE"}


async def answer(target: str, channel: ChannelSecurity, secret: str = "") -> str:
    """ok, or the status with which HealthCheck, a stream and the health service are all refused."""
    found = await answers(target, channel, secret)
    refusals = found & REFUSALS
    assert len(refusals) <= 1
    assert not refusals or found == refusals, found
    return refusals.pop() if refusals else "ok"


async def answers(target: str, channel: ChannelSecurity, secret: str) -> set[str]:
    """To each kind of call; they differ while workers are replaced."""
    async with channel.open(target, lambda: secret) as opened:
        stub: Any = LiveKitBridgeStub(opened)  # type: ignore[no-untyped-call]
        health: Any = health_pb2_grpc.HealthStub(opened)
        outcomes = set()
        for call in (
            lambda: stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(5)),
            lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=patient(5)),
            lambda: stub.StreamAudio(timeout=patient(1)).read(),
            lambda: stub.PlayAudio(pb.PlayAudioRequest(), timeout=patient(5)).read(),
        ):
            try:
                await call()  # type: ignore[no-untyped-call]
                outcomes.add("ok")
            except grpc.aio.AioRpcError as error:
                outcomes.add(error.code().name)
    return outcomes


async def test_a_shared_secret_lets_in(pki: Mapping[str, str]) -> None:
    trusting = ChannelSecurity(ca=pki["bridge"])
    async with bridge(server_env(pki, GLASSBRIDGE_BRIDGE_SECRET=f"{NEXT},{SECRET}")) as target:
        assert await answer(target, trusting, SECRET) == "ok"
        assert await answer(target, trusting, NEXT) == "ok"
        assert await answer(target, trusting, SECRET[:-1]) == "UNAUTHENTICATED"
        assert await answer(target, trusting, "") == "UNAUTHENTICATED"
        assert await answer(target, ChannelSecurity(), SECRET) == "UNAVAILABLE"  # plaintext
        assert await answer(target, ChannelSecurity(ca=pki["stranger"]), SECRET) == "UNAVAILABLE"


async def test_a_client_certificate_lets_in(pki: Mapping[str, str]) -> None:
    shown = {"ca": pki["bridge"], "certificate": pki["cloud"], "key": pki["cloud-key"]}
    strange = shown | {"certificate": pki["stranger"], "key": pki["stranger-key"]}
    async with bridge(server_env(pki, GLASSBRIDGE_BRIDGE_CLIENT_CA=pki["cloud"])) as target:
        assert await answer(target, ChannelSecurity(**shown)) == "ok"
        assert await answer(target, ChannelSecurity(**strange)) == "UNAVAILABLE"
        assert await answer(target, ChannelSecurity(ca=pki["bridge"])) == "UNAVAILABLE"


async def test_an_expired_certificate_of_a_bridge_is_refused(pki: Mapping[str, str], tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, days=-1)
    env = {"GLASSBRIDGE_BRIDGE_CERT": str(certificate), "GLASSBRIDGE_BRIDGE_KEY": str(key)}
    async with bridge(env | {"GLASSBRIDGE_BRIDGE_SECRET": SECRET}) as target:
        assert await answer(target, ChannelSecurity(ca=str(certificate)), SECRET) == "UNAVAILABLE"


async def test_a_cloud_and_a_bridge_with_tls_know_each_other(pki: Mapping[str, str]) -> None:
    async with bridge(server_env(pki, GLASSBRIDGE_BRIDGE_SECRET=SECRET)) as target:
        env = STRONG | {
            "LIVEKIT_GRPC_BRIDGE_URL": target,
            "GLASSBRIDGE_BRIDGE_CA": pki["bridge"],
            "GLASSBRIDGE_BRIDGE_SECRET": SECRET,
        }
        port = free_port()
        async with Program.glassbridge("cloud", "--port", str(port), env=env) as cloud:
            await cloud.says("bridge answers")
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as ready:
                assert (await ready.json())["bridges"] == 1
            assert not any(SECRET in line for line in (*cloud.out, *cloud.err))


async def test_plaintext_on_loopback_stays_as_the_original_has_it() -> None:
    async with bridge({}) as target:
        assert await answer(target, ChannelSecurity()) == "ok"


# ---- what a start needs


def test_a_bridge_for_other_machines_needs_tls_and_a_proof_of_its_callers(pki: Mapping[str, str]) -> None:
    anywhere = ("bridge", "--host", "0.0.0.0", "--port", str(free_port()))
    for env in ({}, server_env(pki)):
        (line,) = refused(*anywhere, **env)
        assert "--host lets other machines in" in line
        assert "GLASSBRIDGE_BRIDGE_CERT" in line
        assert "GLASSBRIDGE_BRIDGE_SECRET" in line
        assert "--development" in line
    (line,) = refused(*anywhere, **server_env(pki, GLASSBRIDGE_BRIDGE_SECRET="s" * 31))
    assert "GLASSBRIDGE_BRIDGE_SECRET is shorter than 32 bytes" in line


def test_a_cloud_with_bridges_elsewhere_needs_tls_and_a_proof_of_its_own(pki: Mapping[str, str]) -> None:
    here = ("cloud", "--port", "0")
    away = STRONG | {"LIVEKIT_GRPC_BRIDGE_URL": "127.0.0.1:9090,bridge.example.com:9090"}
    (line,) = refused(*here, **away)
    assert line.startswith("LIVEKIT_GRPC_BRIDGE_URL names another machine")
    assert "GLASSBRIDGE_BRIDGE_CA" in line
    (line,) = refused(*here, **away, GLASSBRIDGE_BRIDGE_CA=pki["bridge"])
    assert "GLASSBRIDGE_BRIDGE_CLIENT_CERT" in line
    assert "GLASSBRIDGE_BRIDGE_SECRET" in line


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"certificate": "bridge"}, "GLASSBRIDGE_BRIDGE_CERT and GLASSBRIDGE_BRIDGE_KEY belong together"),
        (
            {"certificate": "bridge", "key": "cloud-key"},
            "GLASSBRIDGE_BRIDGE_CERT: no certificate, no key, or not those",
        ),
        ({"certificate": "bridge-key", "key": "bridge-key"}, "GLASSBRIDGE_BRIDGE_CERT"),
        ({"certificate": "missing", "key": "missing"}, "cannot be read: No such file"),
        ({"client_ca": "cloud"}, "GLASSBRIDGE_BRIDGE_CLIENT_CA needs TLS"),
        ({"client_ca": "cloud-key"}, "GLASSBRIDGE_BRIDGE_CLIENT_CA: no certificate"),
    ],
)
def test_files_that_do_not_fit_are_told(pki: Mapping[str, str], fields: dict[str, str], told: str) -> None:
    paths: dict[str, Any] = {name: pki.get(value, "/missing") for name, value in fields.items()}
    with pytest.raises(ValueError, match=told):
        ServerSecurity(**paths).check()
    with pytest.raises(ValueError, match="GLASSBRIDGE_BRIDGE_SECRET needs TLS"):
        ServerSecurity(secrets=(SECRET,)).check()


# ---- the owner of a Unix socket


def test_the_owner_of_a_socket_has_to_be_us_or_root(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "bridge.sock"
    assert check_owner(path, own_users("")) == ""  # nobody listens there
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert check_owner(path, own_users("")) == ""
        assert check_owner(path, own_users(str(os.geteuid()))) == ""
        assert "belongs to user" in check_owner(path, own_users("54321"))
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
            assert "belongs to user 65534" in check_owner(path, own_users(""))
            assert check_owner(path, own_users("65534")) == ""
    path.unlink()
    path.write_text("no socket")
    assert "is no socket" in check_owner(path, own_users(""))


async def test_a_cloud_uses_no_bridge_of_another_user(tmp_path: Path) -> None:
    """A real bridge, whose owner is not the one that the cloud was told to expect: no call gets there."""
    path = tmp_path / "bridge.sock"
    async with Program.glassbridge("bridge", "--socket", str(path), "--no-spare") as bridge:
        await bridge.says("bridge ready")
        env = STRONG | {"LIVEKIT_GRPC_SOCKET": str(path), "GLASSBRIDGE_BRIDGE_OWNER": "54321"}
        async with Program.glassbridge("cloud", "--port", "0", env=env) as cloud:
            await cloud.says("bridge refused")
            await stays(lambda: not any("bridge answers" in line for line in cloud.err), 1.5)
            assert sum("bridge refused" in line for line in cloud.err) == 1


def test_an_owner_that_does_not_exist_is_an_error_at_start() -> None:
    (line,) = refused("cloud", "--port", "0", **STRONG, GLASSBRIDGE_BRIDGE_OWNER="nobody-of-this-name")
    assert line.startswith("GLASSBRIDGE_BRIDGE_OWNER: ")


async def test_the_secret_of_a_cloud_can_be_replaced(pki: Mapping[str, str]) -> None:
    """The plugin asks for the secret at each call."""
    held = ["wrong"]
    async with (
        bridge(server_env(pki, GLASSBRIDGE_BRIDGE_SECRET=SECRET)) as target,
        ChannelSecurity(ca=pki["bridge"]).open(target, lambda: held[0]) as channel,
    ):
        stub: Any = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]

        async def let_in() -> bool | str:
            try:
                await stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(5))
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return True

        assert await let_in() == "UNAUTHENTICATED"
        held[0] = SECRET
        await eventually(let_in)
        await asyncio.sleep(0)


async def test_sighup_takes_the_secrets_of_a_bridges_file(pki: Mapping[str, str], tmp_path: Path) -> None:
    """Its workers are replaced one after the other, by ones that know the new secret."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    port = free_port()
    env = server_env(pki, GLASSBRIDGE_BRIDGE_SECRET_FILE=str(file))
    trusting, target = ChannelSecurity(ca=pki["bridge"]), f"127.0.0.1:{port}"
    async with Program.glassbridge("bridge", "--port", str(port), env=env) as program:
        await program.says("bridge ready")
        assert await answer(target, trusting, NEXT) == "UNAUTHENTICATED"
        file.write_text(f"{NEXT}\n{SECRET}\n")
        program.signal(signal.SIGHUP)
        await program.says("setting reloaded")

        async def let_in() -> bool | str:
            said = await answers(target, trusting, NEXT)
            return not said & REFUSALS or ", ".join(sorted(said))

        await eventually(let_in, 30, 0.5)
        assert await answer(target, trusting, SECRET) == "ok"
