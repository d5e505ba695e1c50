"""Every command in every page is run by a test, or says why not (tests/docs/tried.py)."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from glassbridge.lab import clips
from glassbridge.lab.impaired import available
from tests.docs.shell import PAGES, ROOT, SHELLS, Block, Typed, blocks, commands, program
from tests.docs.test_commands import Line, refused, run
from tests.docs.tried import NO_SHELL, PROGRAMS, RULES, How, Rule
from tests.scenarios.systems import isolated
from tests.support.walk import walk

BLOCKS = [block for path in PAGES for block in blocks(path)]
UNTAGGED = [block for block in BLOCKS if not block.language]


def is_shell(block: Block) -> bool:
    tagged = block.language in SHELLS
    return tagged or (not block.language and any(program(line) in PROGRAMS for line in block.lines))


TYPED = sorted({typed for block in BLOCKS if is_shell(block) for typed in commands(block)})


def rule_of(text: str) -> Rule | None:
    return next((rule for rule in RULES if re.fullmatch(rule.pattern, text)), None)


def of(how: How) -> list[str]:
    return sorted({text for _, text in TYPED if (rule := rule_of(text)) is not None and rule.how is how})


@walk("typed", TYPED)
def test_a_rule_knows_it(typed: Typed) -> None:
    assert rule_of(typed.text) is not None, f"no rule of tests/docs/tried.py knows {typed.text!r} ({typed.page})"


@walk("block", UNTAGGED)
def test_a_block_without_a_language_is_for_a_shell_or_known_for_something_else(block: Block) -> None:
    known = any(block.page == page and block.lines[0].startswith(begins) for page, begins in NO_SHELL)
    settings = all(not list(commands(Block(block.page, "sh", (line,)))) for line in block.lines)
    assert is_shell(block) + known + settings == 1, "name a program in PROGRAMS, or the block in NO_SHELL"


def test_no_rule_is_left_over() -> None:
    assert [rule.pattern for rule in RULES if not any(re.fullmatch(rule.pattern, text) for _, text in TYPED)] == []
    begins = {(block.page, start) for block in UNTAGGED for _, start in NO_SHELL if block.lines[0].startswith(start)}
    assert set(NO_SHELL) - begins == set()


@pytest.mark.parametrize("by", sorted({rule.by for rule in RULES if rule.how is How.TEST}))
def test_the_test_that_a_rule_names_is_there(by: str) -> None:
    path, _, name = by.partition("::")
    assert re.search(rf"^(async )?def {name or 'test_'}", (ROOT / path).read_text(), re.MULTILINE), by


@walk("text", of(How.TAKEN) + of(How.TEST))
def test_the_program_takes_its_options(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSBRIDGE_TOKEN", "x.y.z")
    ours = re.sub(r"\$\([^()]*\)|\$\w+", "X", text)
    ours = re.sub(r"^(\w+=\S+ )+", "", ours).removeprefix("new/bin/")
    if ours.startswith("glassbridge "):
        assert refused(Line("", " ".join(shlex.split(ours, posix=False)), False)) == ""


@pytest.mark.parametrize("text", of(How.HERE))
def test_it_runs(text: str, tmp_path: Path) -> None:
    rule = rule_of(text)
    assert rule is not None
    assert rule.by in run(text, tmp_path)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.skipif(not available(), reason="networks of their own need root, /dev/net/tun, unshare, nsenter and ip")
@pytest.mark.parametrize("text", of(How.SLOW))
def test_it_runs_slowly(text: str, tmp_path: Path) -> None:
    rule = rule_of(text)
    assert rule is not None
    printed = alone(text, tmp_path)
    assert rule.by in printed, printed


def alone(script: str, folder: Path) -> str:
    """What a script prints in a network where nothing else is."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(folder)}
    done = isolated(["bash", "-c", f"cd {shlex.quote(str(folder))} && {script}"], env, 180)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.skipif(not available(), reason="networks of their own need root, /dev/net/tun, unshare, nsenter and ip")
def test_the_parts_by_hand_as_readme_has_them(tmp_path: Path) -> None:
    shutil.copy(clips.wav(), tmp_path / "hello.wav")
    [block] = [block for block in BLOCKS if block.page == "README.md" and "livekit start" in block.lines[0]]
    *parts, phone = (typed.text for typed in commands(block))
    lines = [f"{part} > part-{number}.log 2>&1 & pids+=($!)" for number, part in enumerate(parts)]
    script = "\n".join(
        [
            "set -m; pids=(); trap 'kill ${pids[@]} 2>/dev/null; wait' EXIT",
            *lines,
            "for i in $(seq 600); do curl -sf http://127.0.0.1:8002/livez >/dev/null && break; sleep 0.1; done",
            phone,
        ]
    )
    printed = alone(script, tmp_path)
    assert "»" in printed, printed + "".join(path.read_text()[-2000:] for path in tmp_path.glob("part-*.log"))
    assert list((tmp_path / "recordings").rglob("*")), "what the recogniser was fed is recorded"
