"""The judge, with audio that was made up: each frame has one fate, each time is counted from the right moment."""

from math import inf

import pytest

from glassbridge.lab import judge
from glassbridge.lab.judge import Block, Fates, Run
from glassbridge.lab.stamps import FRAME_BYTES, Stamp, speech, stamps_in

ADA, BOB = 1, 2
SECOND = 1_000_000_000


def block(
    *frames: int,
    at: float,
    user: int = ADA,
    live: bool = True,
    session: str = "s",
    backend: str = "A",
    sent: float = 0.0,
) -> Block:
    stamps = tuple(Stamp(user, frame, int(sent * SECOND), 1) for frame in frames)
    return Block(backend, session, live, int(at * SECOND), stamps)


def both(*frames: int, at: float, sent: float = 0.0) -> list[Block]:
    """As a tap sends what is on time: to the complete view and to the live one."""
    return [block(*frames, at=at, live=live, sent=sent) for live in (False, True)]


def spoken(first: int, count: int, at: float = 0.0) -> Run:
    return Run(1, first, count, int(at * SECOND))


def test_frames_come_out_of_a_block_as_they_went_in() -> None:
    stamps, strange, rest = stamps_in(speech(ADA, 7, 100, 3, 42))
    assert stamps == [Stamp(ADA, number, 42, 7) for number in (100, 101, 102)]
    assert (strange, rest) == (0, b"")


@pytest.mark.parametrize("cut", [1, 24, 319])
def test_a_block_that_begins_inside_of_a_frame_costs_that_frame(cut: int) -> None:
    stamps, strange, _ = stamps_in(speech(ADA, 1, 0, 3, 42)[cut:])
    assert [stamp.sequence for stamp in stamps] == [1, 2]
    assert strange == FRAME_BYTES - cut


def test_a_frame_whose_samples_were_touched_is_none() -> None:
    pcm = bytearray(speech(ADA, 1, 0, 2, 42))
    pcm[100] = 1
    stamps, strange, _ = stamps_in(bytes(pcm))
    assert [stamp.sequence for stamp in stamps] == [1]
    assert strange == FRAME_BYTES


def test_silence_holds_no_frames() -> None:
    assert stamps_in(bytes(1000)) == ([], 1000, b"")


@pytest.mark.parametrize("cut", [1, 3, 4, 24, 25, 319, 320, 321])
def test_a_frame_may_come_in_two_blocks(cut: int) -> None:
    pcm = speech(ADA, 1, 0, 3, 42)
    before, strange, rest = stamps_in(pcm[:cut])
    after, more, end = stamps_in(rest + pcm[cut:])
    assert [stamp.sequence for stamp in before + after] == [0, 1, 2]
    assert (strange, more, end) == (0, 0, b"")


def test_each_frame_has_one_fate() -> None:
    blocks = [
        *both(0, 1, at=0.1),
        block(2, at=0.5, live=False),  # too late to be live
        *both(5, 4, at=0.6),  # out of order
        *both(4, at=0.7),  # twice
        block(9, at=0.8, user=BOB),
        *both(77, at=0.9),  # spoken at another time
    ]
    assert judge.fates(ADA, [spoken(0, 6)], blocks) == Fates(
        sent=6, delivered=4, late=1, lost=1, duplicated=1, reordered=2, foreign=1, strange=0, oldest_s=0.7
    )


def test_a_new_session_may_get_what_the_old_one_had() -> None:
    blocks = [block(0, 1, at=1, session="old"), block(1, 2, at=2, session="new")]
    found = judge.fates(ADA, [spoken(0, 3)], blocks)
    assert (found.delivered, found.duplicated, found.reordered) == (3, 0, 0)


def test_audio_is_back_with_what_was_spoken_after_the_cause_was_gone() -> None:
    blocks = [
        block(1, at=10.1, sent=9.9),  # comes late, but is old
        block(2, at=10.3, sent=10.2, backend="B"),
        block(2, at=10.4, sent=10.2, live=False),
        block(3, at=10.5, sent=10.2, user=BOB),
        block(4, at=10.6, sent=10.2),
    ]
    gone = 10 * SECOND
    assert judge.first_new(ADA, blocks, gone) == int(10.3 * SECOND)
    assert judge.first_new(ADA, blocks, gone, "A") == int(10.6 * SECOND)
    assert judge.first_new(ADA, blocks, 11 * SECOND) is None
    assert judge.seconds(gone, None) == inf


def test_the_longest_hole_may_be_at_the_edges() -> None:
    blocks = [block(1, at=1.0), block(2, at=1.5), block(3, at=4.0, live=False), block(4, at=4.5, user=BOB)]
    assert judge.longest_hole(ADA, blocks, 0, 5 * SECOND) == (int(1.5 * SECOND), 5 * SECOND)
    assert judge.longest_hole(ADA, blocks, 0, 2 * SECOND) == (0, SECOND)
    assert judge.longest_hole(ADA, [], 0, SECOND) == (0, SECOND)


def test_silence_is_the_sum_of_all_holes_but_the_short_ones() -> None:
    blocks = [block(number, at=at) for number, at in enumerate((0.4, 1.5, 1.9, 2.4, 4.0))]
    assert judge.silence(ADA, blocks, 0, 5 * SECOND) == pytest.approx(1.1 + 0.5 + 1.6 + 1.0)
    assert judge.silence(ADA, [], 0, SECOND) == 1.0


def said(event: str, at: float, **fields: str) -> dict[str, object]:
    return {"event": event, "t_ns": int(at * SECOND), **fields}


@pytest.mark.parametrize(
    ("event", "bad"),
    [
        (said("audio_state", 2, state="interrupted"), True),
        (said("audio_state", 2, state="live"), False),
        (said("socket", 2, state="closed"), True),
        (said("socket", 2, state="open"), False),
        (said("room", 2, state="lost"), True),
        (said("room", 2, state="left"), False),
        (said("audio_state", 0.5, state="interrupted"), False),
    ],
)
def test_bad_news_is_what_says_that_audio_is_away(event: dict[str, object], bad: bool) -> None:
    assert (judge.bad_news([event], SECOND) is not None) == bad


def test_a_phone_says_live_only_on_the_socket_that_it_has() -> None:
    live = said("audio_state", 1, state="live")
    assert judge.says_live([live])
    assert not judge.says_live([live, said("socket", 2, state="closed")])
    assert not judge.says_live([live, said("socket", 2, state="open")])
    assert not judge.says_live([])


@pytest.mark.parametrize(
    ("hole", "told", "seconds"),
    [
        ((1, 1.9), None, 0.0),  # no hole at all
        ((1, 6), None, 5.0),
        ((1, 6), 3, 2.0),
        ((1, 6), 0.5, 0.0),
        ((1, 6), 7, 5.0),
    ],
)
def test_untold_is_the_time_in_the_dark(hole: tuple[float, float], told: float | None, seconds: float) -> None:
    begin, end = (int(edge * SECOND) for edge in hole)
    assert judge.untold((begin, end), None if told is None else int(told * SECOND)) == pytest.approx(seconds)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 11)]
    assert judge.percentile(values, 0.5) == 5
    assert judge.percentile(values, 0.95) == 10
    assert judge.percentile([*values, *values], 0.95) == 10
    assert judge.percentile([3.0], 0.95) == 3
    with pytest.raises(ValueError, match="no values"):
        judge.percentile([], 0.5)
