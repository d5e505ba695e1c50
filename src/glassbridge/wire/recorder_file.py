"""A session's flight recorder as one file: the console and `inspect --export` write it, `inspect FILE` reads it."""

from typing import Any, Final

import msgspec

FORMAT: Final = 1
MAX_BYTES: Final = 16 << 20
"""Of a file that is read; a full recorder has some 0.3 MB."""
_CONTROL: Final = {number: None for number in (*range(32), *range(127, 160)) if number not in (9, 10)}
"""Characters by which a file could speak to the terminal that shows it."""


class BadRecorderFile(ValueError):
    """The text of the error says why; the maker of the file is at fault."""


class _Session(msgspec.Struct):
    id: str
    user: str
    light: str
    state: str
    text: str
    since_ms: int
    bridge: str | None


class _Gap(msgspec.Struct):
    hop: str | None
    lane: str
    from_ms: int
    to_ms: int | None
    code: str
    text: str
    named_by: str
    silent_ms: int
    around: str | None
    healed_by: str | None


class _Event(msgspec.Struct):
    at_ms: int
    kind: str


class _Caption(msgspec.Struct):
    at_ms: int
    text: str
    seconds: float = 0.0


class _Timeline(msgspec.Struct):
    session: _Session
    now_ms: int
    start_ms: int
    columns: list[str]
    seconds: list[list[int | None]]
    events: list[_Event]
    gaps: list[_Gap]
    events_dropped: int
    captions: list[_Caption] | None


class _Room(msgspec.Struct):
    worker: int
    pid: int
    alive: bool
    generation: int
    columns: list[str]
    seconds: list[list[int | None]]
    events: list[_Event]


class _File(msgspec.Struct):
    format: int
    timeline: _Timeline
    bridge_rooms: list[_Room]


class RecorderFile(msgspec.Struct):
    """`timeline` and `bridge_rooms` are as docs/recorder.md describes them."""

    format: int
    glassbridge: str
    """The version that wrote it."""
    timeline: dict[str, Any]
    bridge_rooms: list[dict[str, Any]] = []


def encode(file: RecorderFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(file), indent=1)


def decode(data: bytes, columns: frozenset[str]) -> RecorderFile:
    """Raises BadRecorderFile. `columns`: those that a timeline must have. Control characters are left out."""
    if len(data) > MAX_BYTES:
        raise BadRecorderFile(f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        shape = msgspec.json.decode(data, type=_File)
        file = msgspec.json.decode(data, type=RecorderFile)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRecorderFile(str(error)) from None
    if shape.format != FORMAT:
        raise BadRecorderFile(f"it has format {shape.format}, and this version reads {FORMAT}")
    parts: list[_Timeline | _Room] = [shape.timeline, *shape.bridge_rooms]
    for part in parts:
        if len(part.columns) != len(part.seconds) or len({len(counts) for counts in part.seconds}) > 1:
            raise BadRecorderFile("its columns do not have one number for each second")
    if not columns <= set(shape.timeline.columns):
        raise BadRecorderFile("columns are missing")
    timeline: dict[str, Any] = _plain(file.timeline)
    return RecorderFile(file.format, _plain(file.glassbridge), timeline, _plain(file.bridge_rooms))


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value.translate(_CONTROL)
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {_plain(name): _plain(one) for name, one in value.items()}
    return value
