"""Commands on standard input, whatever standard input is."""

import os
import pty
from pathlib import Path

import pytest

from glassbridge.phone import commands
from glassbridge.phone.commands import BadCommand, Drop, Microphone, Network, Quit, Speak, Switch


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("switch http://h:1\n", Switch("http://h:1")),
        ("  drop 2.5 ", Drop(2.5)),
        ("network", Network()),
        ("mic on", Microphone(True)),
        ("mic off", Microphone(False)),
        ("wav a file.wav", Speak(Path("a file.wav"))),
        ("quit", Quit()),
    ],
)
def test_commands_are_read(line: str, command: commands.Command) -> None:
    assert commands.parse(line) == command


@pytest.mark.parametrize(
    "line", ["", "dance", "switch", "wav", "mic", "mic loud", "drop", "drop -1", "drop nan", "quit now", "network off"]
)
def test_other_lines_are_refused_with_what_would_be_right(line: str) -> None:
    with pytest.raises(BadCommand, match="drop"):
        commands.parse(line)


async def read(fd: int) -> list[str]:
    with os.fdopen(fd) as source:
        return [line.strip() async for line in commands.lines(source)]


async def test_a_file_and_the_null_device_are_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text("mic off\n\nquit")
    assert await read(os.open(path, os.O_RDONLY)) == ["mic off", "quit"]
    assert await read(os.open("/dev/null", os.O_RDONLY)) == []


async def test_a_pipe_is_read_to_its_end_and_left_as_it_was() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"mic on\n" + b"x" * 20_000 + b"\n\xff\nlast")
    os.close(theirs)
    kept = os.dup(ours)
    got = await read(ours)
    assert (got[0], got[-2], got[-1]) == ("mic on", "\ufffd", "last")
    assert os.get_blocking(kept)
    os.close(kept)


async def test_a_terminal_is_read() -> None:
    keyboard, screen = pty.openpty()
    os.write(keyboard, b"mic on\nquit\n")
    with os.fdopen(screen) as source:
        lines = commands.lines(source)
        assert [(await anext(lines)).strip() for _ in range(2)] == ["mic on", "quit"]
        await lines.aclose()
        assert os.get_blocking(source.fileno())
    os.close(keyboard)
