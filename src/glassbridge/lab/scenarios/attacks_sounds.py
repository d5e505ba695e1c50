"""A7, A8: an app brings sound files that are made to hurt whoever decodes them."""

import asyncio
import json
import struct
import zlib
from typing import Any, Final

import aiohttp
from aiohttp import web

from glassbridge.lab.attacker import http
from glassbridge.lab.bystander import Assault, attack
from glassbridge.lab.hostile_app import PACKAGE
from glassbridge.lab.scenario import always
from glassbridge.lab.scenarios.attacks_sockets import WITH_APP, app_of, app_socket, send, started

ANSWERED_WITHIN: Final = 20.0
SILENT_FRAME: Final = b"\xff\xfb\x90\x64" + bytes(413)
"""Of an MP3: 128 kbit/s, 44.1 kHz, 26 ms."""


@attack(
    "A7",
    "pictures in sounds",
    story="MP3s of 735 KB with one cover picture, then of 5.8 MB with eight",
    needs=WITH_APP,
    must=(always("answered"),),
)
async def pictures(assault: Assault) -> dict[str, float]:
    """They may be played: nobody needs to look at a picture for that."""
    told = await assault.by(play_pictures, **_app_of(assault), covers=[0] if assault.small else [1, 8, 1, 8])
    return {"answered": all(told.values()), "refused": _typed(told)}


@attack(
    "A8",
    "sounds that lie",
    story="ten files, among them 195 KB of WAV at 1 Hz, one after the other",
    needs=WITH_APP,
    must=(always("answered"),),
)
async def lies(assault: Assault) -> dict[str, float]:
    told = await assault.by(play_lies, **_app_of(assault), names=["good"] if assault.small else list(LIES))
    at_odd_rates = [answer for name, answer in told.items() if name.endswith("Hz")]
    return {"answered": all(told.values()), "refused": _typed(told) and "played" not in at_odd_rates}


def _typed(told: dict[str, str]) -> bool:
    """No answer is that of a failure of ours."""
    return all(told.values()) and not any("internal" in answer.lower() for answer in told.values())


def _app_of(assault: Assault) -> dict[str, Any]:
    return app_of(assault) | {"port": assault.system.hostile_app.sounds_port}


async def play_pictures(covers: list[int], **app: Any) -> dict[str, str]:
    return await play({f"{at}: {count} pictures": mp3(count) for at, count in enumerate(covers)}, **app)


async def play_lies(names: list[str], **app: Any) -> dict[str, str]:
    return await play({name: LIES[name] if name in LIES else wav() for name in names}, **app)


async def play(sounds: dict[str, bytes], url: str, token: str, key: str, port: int) -> dict[str, str]:
    """What the app was answered for each: played, why not, or nothing."""
    told: dict[str, str] = {}
    names = list(sounds)

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=sounds[names[int(request.match_info["number"])]])

    site = web.Application()
    site.router.add_get("/{number}", serve)
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with http() as client, started(client, url, token):
        await asyncio.sleep(1.5)  # the bridge has taken its place
        for number, name in enumerate(names):
            socket = await app_socket(client, url, key)
            try:
                async with asyncio.timeout(ANSWERED_WITHIN):
                    told[name] = await _play(socket, f"http://127.0.0.1:{port}/{number}", name)
            except (TimeoutError, ConnectionError):
                told[name] = ""
            finally:
                await socket.close()
    await runner.cleanup()
    return told


async def _play(socket: aiohttp.ClientWebSocketResponse, address: str, name: str) -> str:
    request: dict[str, Any] = {"type": "audio_play_request", "packageName": PACKAGE, "requestId": name}
    await send(socket, json.dumps(request | {"audioUrl": address}))
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return f"closed with {socket.close_code}"
        said = json.loads(message.data)
        if said["type"] == "audio_play_response" and said["requestId"] == name:
            return "played" if said["success"] else said.get("error") or "no reason"


# ---- files


def wav(
    rate: int = 16_000,
    data: int = 16_000,
    *,
    channels: int = 1,
    bits: int = 16,
    claimed: int | None = None,
    format_: int = 1,
) -> bytes:
    """Silence, and a header that says what it is told to say."""
    align = max(1, channels * bits // 8) & 0xFFFF
    header = struct.pack("<HHIIHH", format_, channels, rate, (rate * align) & 0xFFFFFFFF, align, bits)
    size = data if claimed is None else claimed
    parts = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, len(parts) + size)) + parts + bytes(data)


def snd(rate: int, data: int = 195_000) -> bytes:
    """Sun's format: 16 bits, one channel."""
    return struct.pack(">4sIIIII", b".snd", 24, data, 3, rate, 1) + bytes(data)


def mp3(covers: int, side: int = 15_700) -> bytes:
    """A second of silence with so many cover pictures of 740 MB each, once they are decoded."""
    picture = b"\0image/png\0\x03\0" + png(side) if covers else b""
    frames = (b"APIC" + _synchsafe(len(picture)) + b"\0\0" + picture) * covers
    tag = b"ID3\x04\0\0" + _synchsafe(len(frames)) + frames if covers else b""
    return tag + SILENT_FRAME * 40


def png(side: int) -> bytes:
    """All black, RGB. Zeros are compressed once and repeated; only their checksum is of them all."""
    size = side * (1 + 3 * side)
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, wbits=-15)
    rest = last.compress(bytes(size % (1 << 20))) + last.flush()
    adler = struct.pack(">I", (size % 65_521) << 16 | 1)
    data = b"\x78\xda" + block * (size >> 20) + rest + adler
    parts = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    chunks = (struct.pack(">I", len(body)) + name + body + _crc(name + body) for name, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


LIES: Final = {
    "wav 1 Hz": wav(1, 195_000),
    "wav 0 Hz": wav(0),
    "wav 4294967295 Hz": wav(0xFFFFFFFF),
    "snd 1 Hz": snd(1),
    "snd 2147483647 Hz": snd(0x7FFFFFFF),
    "65,535 channels": wav(channels=0xFFFF),
    "no bits": wav(bits=0),
    "claims 4 GiB": wav(claimed=0xFFFFFFFE),
    "an unknown codec": wav(format_=0xFFFE),
    "a picture": png(15_700),
}
