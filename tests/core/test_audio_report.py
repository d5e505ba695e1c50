"""Which of several troubles a phone is told, and as what."""

from dataclasses import replace

import pytest

from glassbridge.core.audio_report import RULES, Report, Troubles, report
from glassbridge.core.coded_audio import CODED_AUDIO
from glassbridge.core.diagnosis import BRIDGE_SILENT, RECOGNISER_FAILED, RECOGNISER_SLOW, SLOW_NETWORK, Hop
from glassbridge.core.link_events import AudioRoute, Notice
from glassbridge.core.slowness import Slow
from glassbridge.core.sound_faults import FINDINGS, SoundFault
from glassbridge.core.values import AudioState

LIVE = Notice(AudioState.LIVE, route=AudioRoute.ROOM)
DEAD = Notice(AudioState.INTERRUPTED, BRIDGE_SILENT.code, BRIDGE_SILENT.text, Hop.BRIDGE, retry_at=7.0)
BESIDE = Notice(AudioState.LIVE, BRIDGE_SILENT.code, BRIDGE_SILENT.text, Hop.BRIDGE)
CONNECTING = Notice(AudioState.CONNECTING, "joining", "joining the room")
SILENCE = FINDINGS[SoundFault.SILENT]
SLOW = Slow(3.2, finals_only=False)
ALL = Troubles(coded=True, late=2.0, sound=SILENCE, recogniser=RECOGNISER_FAILED, slow=SLOW)


@pytest.mark.parametrize("notice", [LIVE, DEAD, BESIDE, CONNECTING])
def test_without_trouble_the_link_has_the_word(notice: Notice) -> None:
    assert report(notice, Troubles()) == Report(notice)


@pytest.mark.parametrize(
    ("notice", "troubles", "state", "code"),
    [
        (LIVE, ALL, AudioState.INTERRUPTED, CODED_AUDIO.code),
        (CONNECTING, ALL, AudioState.INTERRUPTED, CODED_AUDIO.code),
        (DEAD, ALL, AudioState.INTERRUPTED, BRIDGE_SILENT.code),
        (CONNECTING, replace(ALL, coded=False), AudioState.CONNECTING, "joining"),
        (LIVE, replace(ALL, coded=False), AudioState.INTERRUPTED, SLOW_NETWORK.code),
        (BESIDE, replace(ALL, coded=False), AudioState.INTERRUPTED, SLOW_NETWORK.code),
        (BESIDE, replace(ALL, coded=False, late=None), AudioState.LIVE, BRIDGE_SILENT.code),
        (LIVE, replace(ALL, coded=False, late=None), AudioState.LIVE, SILENCE.code),
        (LIVE, Troubles(recogniser=RECOGNISER_FAILED, slow=SLOW), AudioState.LIVE, RECOGNISER_FAILED.code),
        (LIVE, Troubles(slow=SLOW), AudioState.LIVE, RECOGNISER_SLOW),
    ],
)
def test_the_worst_trouble_is_told(notice: Notice, troubles: Troubles, state: AudioState, code: str) -> None:
    told = report(notice, troubles).notice
    assert (told.state, told.code) == (state, code)
    assert (told.route, told.retry_at) == (notice.route, notice.retry_at)


def test_only_late_captions_have_seconds() -> None:
    assert report(LIVE, Troubles(slow=SLOW)).captions_late == 3.2
    assert report(LIVE, Troubles(late=3.2)).captions_late is None
    assert "3 s late" in report(LIVE, Troubles(late=3.2)).notice.text


def test_the_last_rule_always_answers() -> None:
    assert RULES[-1](LIVE, ALL) is not None
