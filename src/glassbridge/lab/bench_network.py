"""`glassbridge bench network`: what of a phone's speech reaches the recogniser, how late, on each kind of network.

A whole system in a network namespace of its own (lab/side_by_side.py), the phone in another, a forwarder of ours
between the two (lab/impaired.py). The speech tells which tenth of a second it is (lab/tone_code.py), so coding does not
matter.
"""

import asyncio
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from time import monotonic_ns

from glassbridge.core.values import UserId
from glassbridge.lab import tone_code
from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.impaired import CLEAR, SERVER, Wire
from glassbridge.lab.network_judge import Result, judge
from glassbridge.lab.networks import TURN_PORT, Cell
from glassbridge.lab.overheard import Overheard
from glassbridge.lab.program import Line, Program
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.lab.turn import embedded_turn
from glassbridge.livekit.participant import ParticipantKind
from glassbridge.livekit.tokens import LiveKitKeys

PHONE_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One phone that speaks once."""

    cell: Cell
    transport: str
    run: int

    @property
    def user(self) -> UserId:
        """Of this phone alone."""
        return UserId(f"{self.cell.name}-{self.transport}-{self.run}")


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
    share: tuple[int, int] = (0, 1)
    """(which, of how many): the turns of this process, where several measure side by side (lab/side_by_side.py)."""
    livekit_bin: Path | None = None
    log_level: str = "warning"
    phone: str = "glassbridge.lab.network_phone"
    """The module of the phone's process: another one speaks the same lines."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Of the programs that serve the phone."""

    @property
    def turns(self) -> list[Turn]:
        """One for each network, transport and run of the share, in that order."""
        every = [Turn(*each) for each in product(self.cells, self.transports, range(self.runs))]
        which, shares = self.share
        return every[which::shares]


async def measure(config: NetworkConfig, say: Callable[[str], None], on_result: Callable[[Result], None]) -> None:
    """Speaks once for each turn. Raises UserError. Call it in a namespace of our own."""
    chance = random.Random()  # noqa: S311
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
            env={
                "GLASSBRIDGE_RECOGNISERS": str(len(config.turns)),
                **config.env,
            },
            taps={"A": folder / "tap"},
        )
        lines: list[Line] = []
        async with Wire(chance) as wire:
            with Overheard(folder / "tap") as hearing:
                async with Stack(stack_config, lines.append) as stack:
                    for turn in config.turns:
                        chance.seed(f"{config.seed} {turn.user}")  # the same in any share
                        on_result(await _speak(config, stack, wire, hearing, turn, clip, pem, lines.append))
        if config.log_level != "warning":
            for entry in lines:
                say(f"{entry.program}: {entry.text}")


async def _speak(
    config: NetworkConfig,
    stack: Stack,
    wire: Wire,
    hearing: Overheard,
    turn: Turn,
    clip: Path,
    authority: Path,
    on_line: Callable[[Line], None],
) -> Result:
    since_ns = 0

    def become_bad() -> None:
        nonlocal since_ns
        wire.begin(turn.cell.upward, turn.cell.both)
        since_ns = monotonic_ns()

    def hear(said: Line) -> None:
        if turn.cell.counts_from_speech and said.fields.get("event") == "begun":
            become_bad()
        on_line(said)

    dropped = wire.dropped
    become_bad()
    phone = Program(
        "phone",
        (stack.cloud_url, turn.transport, config.participant, str(clip), str(config.frame_ms)),
        {
            "GLASSBRIDGE_TOKEN": stack.core_token(turn.user),
            "GLASSBRIDGE_LOG_LEVEL": config.log_level,
            "SSL_CERT_FILE": str(authority),
        },
        on_line=hear,
        module=config.phone,
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
    lab = {"unseen": hearing.missed(turn.user), "dropped": wire.dropped - dropped}
    heard = hearing.of(turn.user)
    return judge(turn.cell, turn.transport, phone, heard, round(config.seconds * 10), since_ns, lab)
