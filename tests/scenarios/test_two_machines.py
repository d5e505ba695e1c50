"""Cloud and bridge on two machines, started one by one by the commands of docs/production.md: an app is heard.

The machines are network namespaces.
"""

import json
import os
import re
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import UserId
from glassbridge.lab.certificate import make_certificate
from tests.scenarios.test_sound_streams import loud_seconds
from tests.support.livekit import server_binary
from tests.support.machines import Machine, two_machines
from tests.support.process import Program
from tests.support.sound import tone

DOCS = Path(__file__).parents[2] / "docs" / "production.md"
PACKAGE = "com.example.speaks"
APP = """
import sys
from pathlib import Path
from glassbridge.app import AppServer, PlaybackFailed, Session

server = AppServer("com.example.speaks", port=7010)

@server.on_session
async def begin(session: Session) -> None:
    try:
        await session.speak("Good morning.")
        await session.play(Path(sys.argv[1]))
        print("@played", flush=True)
    except PlaybackFailed as error:
        print(f"@failed: {error}", flush=True)

server.run()
"""

pytestmark = [pytest.mark.real, pytest.mark.skipif(server_binary() is None, reason="NO livekit-server: see make test")]


@dataclass(frozen=True, slots=True)
class Site:
    """What lies on both machines: the certificate, the files of the secrets, the registry of apps."""

    cloud: Machine
    bridge: Machine
    folder: Path
    core_secret: str

    def commands(self, heading: str) -> str:
        """Those of docs/production.md below this line, with these addresses."""
        found = re.search(r"\n\n((?:    .*\n)+)", DOCS.read_text().partition(heading)[2])
        assert found, f"no commands below {heading!r}"
        return found[1].replace("10.0.0.1", self.cloud.address).replace("10.0.0.2", self.bridge.address)

    def shell(self, machine: Machine, script: str) -> Program:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return machine.runs("sh", "-c", f"cd {self.folder}\n{script}", env={"PATH": path})


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    """The two machines; livekit-server runs on the bridge's."""
    async with AsyncExitStack() as clean:
        cloud, bridge = await clean.enter_async_context(two_machines())
        pem, key = make_certificate(folder, host=bridge.address)
        pem.rename(folder / "bridge.pem")
        key.rename(folder / "bridge.key")
        secrets = {name: token_hex(32) for name in ("core", "livekit", "bridge")}
        for name, secret in secrets.items():
            (folder / f"{name}.secret").write_text(secret)
        rtc = {"udp_port": 7882, "tcp_port": 7881, "node_ip": bridge.address, "stun_servers": ["127.0.0.1:9"]}
        config = {
            "port": 7880,
            "bind_addresses": [bridge.address],
            "rtc": rtc | {"use_external_ip": False},
            "keys": {"key": secrets["livekit"]},
        }
        (folder / "livekit.yaml").write_text(json.dumps(config))
        server = bridge.runs(str(server_binary()), "--config", str(folder / "livekit.yaml"))
        await clean.enter_async_context(server)
        await server.says("starting LiveKit server")
        yield Site(cloud, bridge, folder, secrets["core"])


async def test_what_an_app_says_is_heard(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, AsyncExitStack() as clean:
        add = f"glassbridge apps add {PACKAGE} --url http://127.0.0.1:7010 --permission microphone"
        async with site.shell(site.cloud, add) as adding:
            assert await adding.ends() == 0
            key = adding.out[-1]
        bridge = await clean.enter_async_context(
            site.shell(site.bridge, site.commands("On the machine of the bridge:"))
        )
        await bridge.says("worker listening")
        cloud = await clean.enter_async_context(site.shell(site.cloud, site.commands("On the machine of the cloud:")))
        await cloud.says("cloud listens")
        with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(tone(0.5))
        app = site.cloud.runs(sys.executable, "-c", APP, str(tmp_path / "tone.wav"), env={"APP_KEY": key})
        await clean.enter_async_context(app)
        await app.says("app listens")
        token = mint_core_token(UserId("me"), site.core_secret, 600)
        heard = tmp_path / "heard.wav"
        phone = site.cloud.runs(
            sys.executable, "-m", "glassbridge", "phone", "--cloud", f"http://{site.cloud.address}:8002",
            "--token", token, "--app", PACKAGE, "--hear", str(heard), "--control", "--json",
        )  # fmt: skip
        async with phone:
            assert await app.says("@") == "@played"
            phone.tell("quit")
            await phone.ends()
    assert loud_seconds(heard) > 0.8
