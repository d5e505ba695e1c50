"""What the bench of the speaker makes of what a phone heard."""

from typing import Any

import pytest

from glassbridge.lab.bench_speaker import OTHER_HZ, TONE_HZ, PhoneEars, holds, table, tone
from glassbridge.livekit.participant import AudioBlock

BLOCK = 640


def heard(pcm: bytes, track: str = "TR_1", late: dict[int, float] | None = None) -> PhoneEars:
    """A phone to which blocks of 20 ms came in time, but for those in `late` (by number, seconds)."""
    phone = PhoneEars()
    for number in range(len(pcm) // BLOCK):
        phone.on_audio(AudioBlock(pcm[number * BLOCK : (number + 1) * BLOCK], "agent", track))
        _, track_sid, block = phone.blocks[-1]
        phone.blocks[-1] = (100 + 0.02 * number + (late or {}).get(number, 0.0), track_sid, block)
    return phone


def test_a_whole_tone_has_its_length_and_no_gap() -> None:
    found = heard(bytes(BLOCK) * 5 + tone(2.0, TONE_HZ) + bytes(BLOCK) * 5).whole(TONE_HZ)
    assert found.seconds == pytest.approx(2.0, abs=0.01)
    assert found.gap_ms < 1


def test_silence_inside_and_a_late_block_are_gaps() -> None:
    torn = heard(tone(1.0, TONE_HZ) + bytes(BLOCK) * 4 + tone(1.0, TONE_HZ)).whole(TONE_HZ)
    assert torn.seconds == pytest.approx(2.08, abs=0.01)
    assert torn.gap_ms == pytest.approx(80, abs=10)
    assert heard(tone(2.0, TONE_HZ), late={50: 0.07}).whole(TONE_HZ).gap_ms == pytest.approx(70, abs=1)


def test_what_the_machine_kept_the_phone_waiting_is_no_gap() -> None:
    phone = heard(tone(2.0, TONE_HZ), late={50: 0.07})
    phone.lateness._late.append((101.06, 0.06))  # from 101.00 to 101.06; the block came at 101.07
    found = phone.whole(TONE_HZ)
    assert found.gap_ms == pytest.approx(10, abs=1)
    assert found.late_ms == 60


def test_each_tone_is_found_on_its_track() -> None:
    phone = heard(tone(1.0, TONE_HZ), "TR_1")
    phone.blocks += heard(tone(0.5, OTHER_HZ), "TR_2").blocks
    assert phone.whole(OTHER_HZ).seconds == pytest.approx(0.5, abs=0.01)
    assert phone.whole(TONE_HZ).seconds == pytest.approx(1.0, abs=0.01)
    with pytest.raises(RuntimeError, match="700 Hz"):
        phone.whole(700.0)


def test_the_report_says_what_does_not_hold() -> None:
    spread = {"n": 1, "p50": 90.0, "p95": 95.0, "p99": 95.0, "max": 99.0}
    whole = {"seconds": 10.02, "gap_ms": 20.0, "late_ms": 0.0}
    torn = {"seconds": 10.2, "gap_ms": 41.0, "late_ms": 7.0}
    report: dict[str, Any] = {
        "ours": {
            "prepared_ms": spread,
            "first_sound_ms": spread,
            "stop_to_silence_ms": spread,
            "tone": {"before": whole, "during": torn},
        },
        "floor": {"first_sound_ms": spread},
        "ratio": 1.2,
    }
    report["holds"] = holds(report)
    assert list(report["holds"].values()) == [True, False, False, True]
    assert "DOES NOT HOLD: no gap over 40 ms" in table(report)
