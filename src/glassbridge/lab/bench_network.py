"""`glassbridge bench network`: what of a phone's speech reaches the recogniser, how late, on each kind of network.

A whole system in a network namespace of its own, the phone in another, a forwarder of ours between the two
(lab/impaired.py). The speech tells which tenth of a second it is (lab/tone_code.py), so coding does not matter.
"""

import asyncio
import random
import selectors
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from time import monotonic_ns
from typing import Any, Self

from glassbridge.cloud import tap
from glassbridge.core.values import BYTES_PER_SAMPLE, UserId
from glassbridge.lab import tone_code
from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.impaired import CLEAR, SERVER, Wire
from glassbridge.lab.judge import percentile
from glassbridge.lab.networks import LIVE, TOLD, TURN_PORT, Cell
from glassbridge.lab.program import Line, Program
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.turn import embedded_turn
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.livekit.tokens import LiveKitKeys

PHONE_WITHIN = 120.0
FINE = ("heard", "connected", "connecting")
"""Situations of a phone that are no trouble."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What is measured."""

    cells: Sequence[Cell]
    transports: Sequence[str] = ("data", "websocket")
    participant: ParticipantKind = "own"
    seconds: float = 20.0
    runs: int = 1
    frame_ms: int = 100
    seed: int = 1
    livekit_bin: Path | None = None
    log_level: str = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One phone that spoke once on one network."""

    cell: Cell
    transport: str
    lost: float
    """Share of the speech that never reached the recogniser."""
    live: float
    late: float
    age: float | None
    """p99 over the link's delay, seconds."""
    hole: float
    """Longest time in which the recogniser got nothing, between the first sample and the last, seconds."""
    states: list[str]
    levels: list[str]
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the cell's limits do."""
        told = not self.cell.told or self.cell.told in self.states
        aged = self.age is not None and self.age <= self.cell.age
        heard = self.lost == 0 and self.live >= self.cell.live and aged and self.hole <= self.cell.hole
        return heard and told and not self.detail["wrong"]


class _Hearing:
    """What the recogniser of each user gets, and when; read in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: list[tuple[int, str, bytes]] = []
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._read, name="hearing", daemon=True)

    def __enter__(self) -> Self:
        self._reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reader.bind(str(self._path))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._woken.close()
        self._thread.join()
        self._reader.close()
        self._wake.close()

    def of(self, user: str) -> list[tuple[int, bytes]]:
        """(handed on at, samples) in that order."""
        return [(at, pcm) for at, name, pcm in list(self._blocks) if name == user]

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        return
                    at, live, user, _, pcm = tap.read(self._reader.recv(1 << 20))
                    if not live:
                        self._blocks.append((at, user, pcm))


async def measure(config: NetworkConfig, say: Callable[[str], None]) -> list[Result]:
    """Speaks once for each network, transport and run. Raises UserError. Call it in a namespace of our own."""
    results: list[Result] = []
    say(f"seed {config.seed}")
    with tempfile.TemporaryDirectory(prefix="glassbridge-network-") as name:
        folder = Path(name)
        clip = folder / "clip.pcm"
        clip.write_bytes(tone_code.speech(round(config.seconds * 10)))
        pem, secret = make_certificate(folder, host=SERVER)
        keys = LiveKitKeys("labkey", "a-livekit-secret-of-the-lab-0123456789abcdef")
        stack_config = StackConfig(
            livekit="real",
            keys=keys,
            jwt_secret="a-core-token-secret-of-the-lab-0123456789",  # noqa: S106 - of this run alone
            livekit_bin=config.livekit_bin,
            turn=embedded_turn(keys, SERVER, TURN_PORT, "tls", (pem, secret)),
            host=SERVER,
            log_level=config.log_level,
            env={"GLASSBRIDGE_RECOGNISERS": str(len(config.cells) * len(config.transports) * config.runs)},
            taps={"A": folder / "tap"},
        )
        lines: list[Line] = []
        async with Wire(random.Random(config.seed)) as wire:  # noqa: S311
            with _Hearing(folder / "tap") as hearing:
                async with Stack(stack_config, lines.append) as stack:
                    for cell in config.cells:
                        for transport in config.transports:
                            for run in range(config.runs):
                                user = UserId(f"{cell.name}-{transport}-{run}")
                                result = await _speak(
                                    config,
                                    stack,
                                    wire,
                                    hearing,
                                    cell,
                                    transport,
                                    user,
                                    clip,
                                    pem,
                                    lines.append,
                                )
                                results.append(result)
                                say(line(result))
        if config.log_level != "warning":
            for entry in lines:
                say(f"{entry.program}: {entry.text}")
    return results


async def _speak(
    config: NetworkConfig,
    stack: Stack,
    wire: Wire,
    hearing: _Hearing,
    cell: Cell,
    transport: str,
    user: UserId,
    clip: Path,
    authority: Path,
    on_line: Callable[[Line], None],
) -> Result:
    wire.begin(cell.upward, cell.both)
    since_ns = monotonic_ns()
    phone = Program(
        "phone",
        (stack.cloud_url, transport, config.participant, str(clip), str(config.frame_ms)),
        {
            "GLASSBRIDGE_TOKEN": stack.core_token(user),
            "GLASSBRIDGE_LOG_LEVEL": config.log_level,
            "SSL_CERT_FILE": str(authority),
        },
        on_line=on_line,
        module="glassbridge.lab.network_phone",
        prefix=wire.prefix,
    )
    await phone.start()
    try:
        async with asyncio.timeout(PHONE_WITHIN):
            await phone.wait()
    except TimeoutError:
        pass
    finally:
        await phone.stop(1.0)
        wire.begin(CLEAR, CLEAR)
    return _judge(cell, transport, phone, hearing.of(user), round(config.seconds * 10), since_ns)


def _judge(
    cell: Cell, transport: str, phone: Program, heard: list[tuple[int, bytes]], units: int, since_ns: int
) -> Result:
    begun = phone.events("begun")
    states = [f"{said['state']}" + (f":{said['code']}" if said["code"] else "") for said in phone.events("state")]
    codes = [said["code"] for said in phone.events("state")]
    levels = [said["level"] for said in phone.events("level")]
    done = phone.events("done")
    detail: dict[str, Any] = dict(done[-1]) if done else {"error": phone.last_words}
    detail["states"] = states
    told = [((said["t_ns"] - since_ns) / 1e9, f"{said['situation']}: {said['text']}") for said in phone.events("told")]
    detail["told"] = told
    detail["wrong"] = _wrong(cell, transport, phone, told, since_ns)
    detail["speech_ends"] = len(phone.events("speech_end"))
    if not begun:
        return Result(cell=cell, transport=transport, lost=1.0, live=0.0, late=0.0, age=None, hole=inf, states=codes,
                      levels=levels, detail=detail)  # fmt: skip
    ends: list[tuple[int, int]] = []
    total = 0
    for at, pcm in heard:
        total += len(pcm) // BYTES_PER_SAMPLE
        ends.append((total, at))
    ages: dict[int, float] = {}
    for found in tone_code.hear(b"".join(pcm for _, pcm in heard)):
        if found.unit >= units:
            continue
        at = next((at for stop, at in ends if stop >= found.stop - 80), ends[-1][1])
        spoken = begun[0]["t_ns"] + (found.unit + 1) * 100_000_000
        ages[found.unit] = (at - spoken) / 1e9 - cell.delay
    counted = [unit for unit in range(units) if unit >= cell.settle * 10]
    live = sum(ages.get(unit, 1e9) <= LIVE for unit in counted) / len(counted)
    late = sum(LIVE < ages.get(unit, 1e9) < 1e8 for unit in counted) / len(counted)
    missing = [unit for unit in range(units) if unit not in ages]
    moments = [begun[0]["t_ns"], *(at for at, _ in heard if at > begun[0]["t_ns"])]
    detail["missing"] = missing
    detail["ages"] = [round(ages.get(unit, -9.999) * 1000) for unit in range(units)]
    detail["changes"] = [
        (round((said["t_ns"] - begun[0]["t_ns"]) / 1e9, 2), said.get("level") or said.get("code") or said.get("state"))
        for said in sorted(
            phone.events("level") + phone.events("state") + phone.events("room") + phone.events("socket"),
            key=lambda said: said["t_ns"],
        )
    ]
    return Result(
        cell=cell,
        transport=transport,
        lost=len(missing) / units,
        live=live,
        late=late,
        age=percentile([ages[unit] for unit in counted if unit in ages], 0.99) if ages else None,
        hole=max((later - earlier for earlier, later in pairwise(moments)), default=0) / 1e9,
        states=codes,
        levels=levels,
        detail=detail,
    )


def _wrong(cell: Cell, transport: str, phone: Program, told: list[tuple[float, str]], since_ns: int) -> list[str]:
    """What does not hold of the cell, beside what is heard."""
    wrong = []
    if cell.says and not any(cell.says in text for _, text in told):
        wrong.append(f"nobody was told to {cell.says}")
    if cell.troubled_at is not None:
        known = [at for at, text in told if at >= cell.troubled_at and not text.startswith(FINE)]
        after = min(known, default=inf) - cell.troubled_at
        if after > TOLD:
            wrong.append(f"told after {after:.1f} s")
    if phone.events("begun") and (ready := (phone.events("begun")[0]["t_ns"] - since_ns) / 1e9) > cell.ready:
        wrong.append(f"ready after {ready:.1f} s")
    in_room = any(said["state"] == "joined" for said in phone.events("room"))
    if cell.by_room and transport != "websocket" and not in_room:
        wrong.append("never in the room")
    return wrong


def line(result: Result) -> str:
    """One row for people."""
    age = "   -  " if result.age is None else f"{result.age * 1000:6.0f}"
    detail = result.detail
    return (
        f"{result.cell.name:12} {result.transport:10} live {100 * result.live:5.1f} late {100 * result.late:5.1f} "
        f"lost {100 * result.lost:5.1f} %  p99 {age} ms  hole {result.hole:4.1f} s  "
        f"{'held' if result.holds else 'FAILED'}  "
        f"{','.join(result.levels)}  {','.join(detail['states'])}  "
        f"sent {detail.get('sent')} again {detail.get('replayed')}"
        f"{' missing ' + str(detail['missing']) if detail.get('missing') else ''}"
        f"{' ' + '; '.join(detail['wrong']) if detail['wrong'] else ''}"
        f"{' ' + detail['error'] if 'error' in detail else ''}"
    )
