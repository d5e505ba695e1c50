"""docs/troubleshooting.md quotes what the programs say, word for word, and has every code of `audio_state`."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from glassbridge.core import audio_link, coded_audio, diagnosis, recovery, sound_faults
from glassbridge.core.audio_report import slow_captions
from glassbridge.core.recogniser import Reason, Reopening
from glassbridge.core.slowness import Slow
from glassbridge.core.values import LossReason
from glassbridge.runtime.complaints import Complaint
from glassbridge.wire.close_codes import CloseCode, ComeBack
from tests.support.walk import walk

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
VARIES = "…"
LITERAL = 8
"""Letters that a string with blanks must have of its own."""


def rows(columns: int) -> list[list[str]]:
    """The rows of tables with so many columns."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == columns]


CODES = [(row[0].strip("`"), row[1]) for row in rows(3) if re.fullmatch(r"`[a-z_]+`", row[0])]


def told() -> dict[str, str]:
    """Each code of an audio_state, and its reason (its beginning, where it goes on)."""
    findings = [value for value in vars(diagnosis).values() if isinstance(value, diagnosis.Finding)]
    findings += [*diagnosis._HINDRANCES.values(), *sound_faults.FINDINGS.values(), coded_audio.CODED_AUDIO]
    notices = [value for value in vars(audio_link).values() if isinstance(value, audio_link.Notice)]
    found = {one.code: one.text for one in findings} | {one.code: one.text for one in notices}
    losses = {reason.code: reason.text for reason in LossReason}
    return found | losses | {fault.code: fault.text for fault in recovery.BridgeFault}


def as_shown(reason: str) -> str:
    """With what varies as the page shows it."""
    return re.sub(r"\{\w+\}", VARIES, reason)


def test_every_code_has_its_row() -> None:
    codes = {code for code, _ in CODES}
    assert len(told()) > 35
    assert set(told()) - codes == set()
    assert codes - set(told()) == {diagnosis.RECOGNISER_SLOW, "phone_away"}


@walk("code, reason", CODES)
def test_each_reason_is_what_is_told(code: str, reason: str) -> None:
    exact = as_shown(told().get(code, ""))
    assert reason in (exact, f"{exact} {VARIES}") or is_said(reason)


def test_slow_captions_are_told_so() -> None:
    shown = [reason for code, reason in CODES if code == diagnosis.RECOGNISER_SLOW]
    assert shown[0] == slow_captions(Slow(seconds=7.0, finals_only=False)).replace("7", VARIES)
    assert shown[1] == slow_captions(Slow(seconds=7.0, finals_only=True))


def test_reasons_of_recognisers() -> None:
    texts = {reason.text for reason in Reason}
    shown = [row[0] for row in rows(2) if row[0].startswith(("the recogniser", "all recognisers"))]
    assert len(shown) >= 5
    assert set(shown) <= texts
    lasting = {reason.text for reason in Reason if reason.again in (Reopening.LATER, Reopening.NEVER)}
    assert lasting - set(shown) == {Reason.BAD_REQUEST.text, Reason.CLOSED.text}, "defects of ours, and the end"


def test_close_codes() -> None:
    shown = {int(row[0]): (row[1], row[2]) for row in rows(3) if row[0].isdecimal()}
    words = {ComeBack.NO: "no", ComeBack.NOW: "now", ComeBack.LATER: "later"}
    for number, cells in shown.items():
        code = next(code for code in CloseCode if code == number)
        assert cells == (code.meaning, words[code.come_back])
    assert {code for code in CloseCode if code >= 4000} <= shown.keys()


def test_quoted_messages_are_said_by_a_program() -> None:
    quoted = [text for row in rows(2) if (text := row[0]).startswith("`")]
    quoted += re.findall(r"`(you are connected[^`]*)`", PAGE)
    assert len(quoted) >= 8
    for text in quoted:
        assert is_said(text.strip("` ")), f"no program says {text}"


@pytest.mark.parametrize("text", ["the bridge is asleep", "audio arrives, but it is purple: …", "port … is mine: …"])
def test_what_no_program_says_is_noticed(text: str) -> None:
    assert not is_said(text)


def is_said(text: str) -> bool:
    """Whether a string of the programs reads so, or one whose blanks are filled with such strings, or with …."""
    if any(text in one for one in spoken()):
        return True
    for one in spoken():
        pieces = [re.escape(piece) for piece in one.split(VARIES)]
        if len(one.replace(VARIES, "")) >= LITERAL and len(pieces) > 1:
            filled = re.fullmatch("(.+?)".join(pieces), text)
            if filled is not None and all(part == VARIES or is_said(part) for part in filled.groups()):
                return True
    return False


@cache
def spoken() -> tuple[str, ...]:
    """All text of the programs; what is filled in varies."""
    found = []
    for path in sorted((ROOT / "src" / "glassbridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                pieces = [str(part.value) if isinstance(part, ast.Constant) else VARIES for part in node.values]
                found.append("".join(pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    found += [re.sub(r"\{[^}]*\}", VARIES, f"{one.cause}: {one.remedy}") for one in Complaint]
    return tuple({" ".join(text.split()) for text in found})
