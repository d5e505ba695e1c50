"""The WebSocket conformance suite of Autobahn against echo handlers with exactly the settings of our two sockets.

`python -m tools.autobahn [--wstest PROGRAM] [--cases 1.* ...]` prints each case that is not OK, non-strict or
informational, and ends with 1 if one of them is not in EXPECTED. The suite runs on Python 2.7 only: tools/autobahn.sh
installs it into a folder of its own and runs this.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web

from glassbridge.cloud.apps_config import AppsConfig, SocketRates
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.websocket import WebSocket, app_websocket, phone_websocket
from glassbridge.livekit.tokens import LiveKitKeys

GOOD: Final = frozenset({"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"})
"""Unimplemented: compression, which we do not offer."""
EXPECTED: Final[dict[str, str]] = {}
"""Cases that may fail, each with its reason."""
CASES: Final = [*(f"{section}.*" for section in range(1, 8)), "9.*", "10.*", "12.1.1", "13.1.1"]
LARGEST: Final = 20 << 20
"""Section 9 sends messages of up to 16 MiB: only the limits of size and rate are raised for it."""
PLENTY: Final = SocketRates(1_000_000, 1 << 30)


def config() -> CloudConfig:
    """That of a cloud, with limits that let the suite measure all of its sizes."""
    return CloudConfig(
        keys=CloudKeys((), LiveKitKeys("key", "secret")),
        livekit_url="",
        bridges=(),
        max_text=LARGEST,
        max_binary=LARGEST,
        phone_rates=PLENTY,
        apps=AppsConfig(rates=PLENTY),
    )


async def echo(socket: WebSocket, request: web.Request) -> WebSocket:
    """What comes goes back; pings are answered, as by our own connections."""
    await socket.prepare(request)
    while True:
        message = await socket.receive()
        match message.type:
            case WSMsgType.TEXT:
                await socket.send_str(message.data)
            case WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            case WSMsgType.PING:
                await socket.pong(message.data)
            case WSMsgType.PONG:
                pass
            case _:
                return socket


def application() -> web.Application:
    """`/phone` and `/app`."""
    app = web.Application()
    settings = config()
    app.router.add_get("/phone", lambda request: echo(phone_websocket(settings), request))
    app.router.add_get("/app", lambda request: echo(app_websocket(settings), request))
    return app


async def run(wstest: str, cases: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """By socket and case, how it ended: `behavior`, or that of the close where that is worse."""
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    names = ("phone", "app")
    spec = {
        "outdir": str(folder),
        "servers": [{"agent": name, "url": f"ws://127.0.0.1:{port}/{name}"} for name in names],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    child = await asyncio.create_subprocess_exec(
        wstest, "-m", "fuzzingclient", "-s", str(folder / "spec.json"), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await child.wait()
    finally:
        await runner.cleanup()
    told = json.loads((folder / "index.json").read_text())
    return {name: {case: _worst(result) for case, result in told[name].items()} for name in names}


def _worst(result: dict[str, str]) -> str:
    return result["behavior"] if result["behavior"] not in GOOD else result["behaviorClose"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wstest", default="wstest")
    parser.add_argument("--cases", nargs="*", default=CASES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(run(chosen.wstest, chosen.cases, Path(folder)))
    wrong = 0
    for name, cases in results.items():
        bad = {case: how for case, how in cases.items() if how not in GOOD}
        print(f"{name}: {len(cases)} cases, {len(cases) - len(bad)} as they should be")
        for case, how in sorted(bad.items()):
            wrong += case not in EXPECTED
            print(f"  {case}: {how}  {EXPECTED.get(case, '')}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
