"""Networks in words or in numbers: "10% loss, 200 ms delay", "up 20% loss, 64 kbit/s", "burst 0.5 s each 5 s"."""

import re
from dataclasses import replace
from typing import Final

from glassbridge.lab.impaired import Impairment
from glassbridge.lab.networks import BY_NAME, Cell
from glassbridge.runtime.errors import UserError

_AMOUNT: Final = r"([0-9]+(?:\.[0-9]+)?) ?"
_TIME: Final = rf"{_AMOUNT}(ms|s)"
_KBIT: Final = rf"{_AMOUNT}k(?:bit(?:/s)?|bps)?"
_PHRASES: Final = (
    (("loss",), re.compile(f"(?:loss )?{_AMOUNT}%(?: loss)?")),
    (("duplicate",), re.compile(f"{_AMOUNT}% (?:doubled|duplicates?)")),
    (("delay",), re.compile(f"(?:delay )?{_TIME}(?: delay)?")),
    (("jitter",), re.compile(f"{_TIME} jitter")),
    (("queue",), re.compile(f"{_TIME} queue")),
    (("burst", "every"), re.compile(f"bursts? (?:of )?{_TIME} each {_TIME}")),
    (("rate",), re.compile(_KBIT)),
    (("rate", "later_rate", "later_at"), re.compile(f"{_KBIT} then {_KBIT} after {_TIME}")),
)
"""Words for what a network does, and which fields of custom() they mean, in order."""
_WAY: Final = re.compile("(up|down) (.*)")


def described(text: str) -> Cell:
    """A network by name, or in words; with `up` or `down` before it a phrase holds only from the phone to us, or only
    from us to it. Raises UserError."""
    if text in BY_NAME:
        return BY_NAME[text]
    fields: dict[str, dict[str, float]] = {"up": {}, "down": {}}
    for part in re.split(r",|\+| and ", text.lower()):
        way, phrase = found.groups() if (found := _WAY.fullmatch(part.strip())) else ("", part.strip())
        said = _understood(phrase)
        for direction in (way,) if way else ("up", "down"):
            fields[direction] |= said
    cell = custom(**fields["down"])
    if fields["up"] == fields["down"]:
        return cell
    up = custom(**fields["up"])
    return replace(cell, name=f"up {up.name} down {cell.name}", up=up.both)


def custom(**fields: float) -> Cell:
    """A network of the caller's own, without limits: percent, milliseconds, kbit/s."""
    name = " ".join(f"{field} {value:g}" for field, value in fields.items() if value)
    bad = Impairment(
        loss=fields.get("loss", 0) / 100,
        delay=fields.get("delay", 0) / 1000,
        jitter=fields.get("jitter", 0) / 1000,
        duplicate=fields.get("duplicate", 0) / 100,
        rate=fields.get("rate", 0) * 1000,
        queue=(fields.get("queue", 0) or 1000) / 1000,
        mtu=int(fields.get("mtu", 0)),
        burst=(fields.get("burst", 0) / 1000, fields.get("every", 0) / 1000),
        later=(fields.get("later_at", 0) / 1000, fields.get("later_rate", 0) * 1000),
    )
    return Cell(name=name or "clear", both=bad, live=0.0, age=60.0)


def _understood(phrase: str) -> dict[str, float]:
    for fields, pattern in _PHRASES:
        if (match := pattern.fullmatch(phrase)) is not None:
            return dict(zip(fields, _amounts(match), strict=True))
    names = ", ".join(BY_NAME)
    raise UserError(
        f"{phrase!r} is no network: say a name ({names}) or what it does to packets, as in"
        ' "10% loss, 200 ms delay, 50 ms jitter, 64 kbit/s", "up 20% loss", "burst 0.5 s each 5 s",'
        ' "1000 kbit/s then 64 kbit/s after 10 s"',
        2,
    )


def _amounts(match: re.Match[str]) -> list[float]:
    """Its numbers; times in milliseconds."""
    numbers: list[float] = []
    for group in match.groups():
        if group in ("ms", "s"):
            numbers[-1] *= 1000 if group == "s" else 1
        else:
            numbers.append(float(group))
    return numbers
