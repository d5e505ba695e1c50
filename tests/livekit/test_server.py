"""A real livekit-server as our child: found, started, owned, stopped."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from glassbridge.livekit import binary
from glassbridge.livekit.binary import LiveKitServerError, cached_binary, find_binary, provide_binary
from glassbridge.livekit.rooms import RoomService
from glassbridge.livekit.server import LiveKitServer, free_port
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.settings import settings
from tests.livekit.fake_go import fake_go, script
from tests.support.livekit import KEYS, real_server
from tests.support.patience import patient
from tests.support.poll import eventually, eventually_sync
from tests.support.process import Program

real = pytest.mark.real


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a server: an empty PATH and cache. Gives the folder that is the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "sleep", "cp", "cat", "chmod", "mkdir"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_configured_wins_over_path_wins_over_cache(bare: Path, tmp_path: Path) -> None:
    assert find_binary() is None
    cached = script(cached_binary(), "true")
    assert cached.is_relative_to(tmp_path / "cache")
    assert find_binary() == cached
    on_path = script(bare / "livekit-server", "true")
    assert find_binary() == on_path
    configured = script(tmp_path / "mine", "true")
    assert find_binary(configured) == configured


def test_a_configured_program_that_cannot_run_is_an_error_not_a_search(bare: Path, tmp_path: Path) -> None:
    script(bare / "livekit-server", "true")
    (tmp_path / "text").write_text("no program")
    for wrong in (tmp_path / "absent", tmp_path / "text", tmp_path):
        with pytest.raises(LiveKitServerError, match="LIVEKIT_SERVER_BIN"):
            find_binary(wrong)


async def test_without_server_and_go_the_error_names_three_ways(bare: Path) -> None:
    with pytest.raises(LiveKitServerError) as caught:
        await provide_binary()
    for way in ("PATH", "LIVEKIT_SERVER_BIN", "Go 1.21 or newer", "--livekit embedded"):
        assert way in str(caught.value)


@pytest.mark.parametrize("version", ["1.19.8", "1.20", "0.9", "devel"])
async def test_an_old_go_is_not_tried(bare: Path, version: str) -> None:
    fake_go(bare, version=version)
    with pytest.raises(LiveKitServerError, match="too old"):
        await provide_binary()


async def test_two_builders_build_once(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    fake_go(bare, seconds=0.3)
    said: list[str] = []
    first, second = await asyncio.gather(provide_binary(progress=said.append), provide_binary(progress=said.append))
    assert first == second == cached_binary()
    assert (tmp_path / "log").read_text() == "go\n"
    assert any("waiting" in line for line in said)
    assert sorted(p.name for p in cached_binary().parent.iterdir()) == ["livekit-server", "livekit-server.lock"]


async def test_a_failed_build_says_why_and_leaves_nothing(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    fake_go(bare, outcome="echo 'no space left on device' >&2; exit 1")
    with pytest.raises(LiveKitServerError, match="no space left on device"):
        await provide_binary()
    assert [p.name for p in cached_binary().parent.iterdir()] == ["livekit-server.lock"]


async def test_a_cancelled_build_stops_go(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    fake_go(bare, seconds=60)
    task = asyncio.create_task(provide_binary())
    await eventually(lambda: (tmp_path / "log").exists() or "go was not called")
    task.cancel()
    await asyncio.wait([task], timeout=3)
    assert task.cancelled()
    assert [p.name for p in cached_binary().parent.iterdir()] == ["livekit-server.lock"]


async def test_a_build_that_hangs_is_given_up(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(binary, "BUILD_TIMEOUT", 0.2)
    fake_go(bare, seconds=60)
    with pytest.raises(LiveKitServerError, match="took more than"):
        await provide_binary()


def test_a_weak_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LiveKitServer(Path("/bin/true"), LiveKitKeys("devkey", "secret"))


@real
async def test_it_starts_quickly_answers_and_stops() -> None:
    server = real_server()
    begun = monotonic()
    async with server:
        assert monotonic() - begun < patient(2)
        pid = server.pid
        assert pid is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        writer.close()
    assert server.pid is None
    assert not Path(f"/proc/{pid}").exists()


@real
async def test_it_listens_on_loopback_alone() -> None:
    async with real_server() as server:
        mine = set()
        for fd in os.listdir(f"/proc/{server.pid}/fd"):
            with suppress(FileNotFoundError):  # closed since it was listed; what listens stays
                mine.add(os.readlink(f"/proc/{server.pid}/fd/{fd}"))
        listening = []
        for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state and f"socket:[{fields[9]}]" in mine:
                    listening.append((table, fields[1].split(":")[0]))
        assert sorted(listening) == [("tcp", "0100007F"), ("udp", "0100007F")]


@real
async def test_its_configuration_is_private_and_goes_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with real_server() as server:
        (config,) = tmp_path.glob("glassbridge-livekit-*/config.yaml")
        assert config.stat().st_mode & 0o777 == 0o600
        assert KEYS.secret in config.read_text()
        assert KEYS.secret not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert list(tmp_path.iterdir()) == []


@real
@pytest.mark.parametrize("kind", ["TCP", "UDP"])
async def test_a_port_in_use_is_told_in_one_line(kind: str) -> None:
    async with real_server() as other:
        server = real_server(**{"port": other.port, "udp_port": free_port()} if kind == "TCP" else {})
        if kind == "UDP":
            server.udp_port = other.udp_port
        port = other.port if kind == "TCP" else other.udp_port
        with pytest.raises(LiveKitServerError, match=f"{kind} port {port} is in use.*--port") as caught:
            await server.start()
        assert "\n" not in str(caught.value)


@real
async def test_it_comes_back_on_its_ports_after_kill_and_stop() -> None:
    async with real_server() as server:
        url = server.url
        await server.kill()
        assert server.pid is None
        await server.start()
        await server.stop()
        await server.stop()
        await server.start()
        assert server.url == url


@real
async def test_a_bad_configuration_is_told_with_the_servers_last_words() -> None:
    with pytest.raises(LiveKitServerError, match=r"ended at once.*no_such_setting"):
        await real_server(rtc={"no_such_setting": 1}).start()


async def test_a_program_that_is_no_server_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not a program")
    (tmp_path / "x").chmod(0o755)
    with pytest.raises(LiveKitServerError, match="cannot run"):
        await LiveKitServer(tmp_path / "x", KEYS).start()


async def test_cancelling_the_start_leaves_no_process(tmp_path: Path) -> None:
    server = LiveKitServer(script(tmp_path / "slow", "sleep 60"), KEYS)
    task = asyncio.create_task(server.start())
    await eventually(lambda: server.pid is not None)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()
    assert server.pid is None


OWNER = """
import asyncio, json, sys
from contextlib import suppress
from pathlib import Path
from glassbridge.livekit.server import LiveKitServer
from glassbridge.livekit.tokens import LiveKitKeys

async def main():
    async with LiveKitServer(Path(sys.argv[1]), LiveKitKeys("k", "s" * 40)) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@real
def test_it_dies_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(real_server()._binary)], stdout=subprocess.PIPE, cwd=tmp_path
    ) as owner:
        assert owner.stdout is not None
        line = owner.stdout.readline()
        while not line.strip().isdigit():
            line = owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    eventually_sync(lambda: not Path(f"/proc/{int(line)}").exists() or f"server {int(line)} lives on", within=3)


START = ("livekit", "start", "--port", "0")


def livekit_child(of: int) -> int:
    """The server that the command has started."""
    (child,) = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("kind", [pytest.param("real", marks=real), "embedded"])
async def test_the_command_runs_it_until_it_is_asked_to_stop(kind: str) -> None:
    async with Program.glassbridge(*START, *(["--embedded"] if kind == "embedded" else [])) as command:
        said = await command.says("LiveKit is ready at ws://127.0.0.1:")
        url = said.split()[4]
        keys = settings()
        async with RoomService(
            url, LiveKitKeys(keys.livekit_api_key, keys.livekit_api_secret.get_secret_value())
        ) as service:
            assert await service.rooms() == []
        begun = monotonic()
        command.signal(signal.SIGTERM)
        assert await command.ends() == 0
        assert monotonic() - begun < patient(5)
        if kind == "embedded":
            await command.says("for development only")


@real
async def test_the_command_says_when_its_server_has_ended_by_itself() -> None:
    async with Program.glassbridge(*START) as command:
        await command.says("LiveKit is ready")
        os.kill(livekit_child(command.pid), signal.SIGKILL)
        await command.says("livekit-server has ended by itself (status -9")
        assert await command.ends() == 1
        assert not any("Traceback" in line for line in command.err)
