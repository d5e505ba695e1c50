"""Coded audio that is read as samples: the first chunk decides, and one odd chunk in a voice changes nothing."""

import pytest

from glassbridge.core.coded_audio import SECONDS, TURN, CodedJudge, CodingVerdict, Shape, may_be_lc3, verdict_of

PLAIN, CODED, UNSURE = CodingVerdict.PLAIN, CodingVerdict.CODED, CodingVerdict.UNSURE


@pytest.mark.parametrize(
    ("loud", "likeness", "verdict"),
    [
        (0.0, 0.9, PLAIN),
        (0.0, 0.0, PLAIN),
        (0.24, 0.0, PLAIN),
        (0.9, 0.51, PLAIN),
        (0.75, 0.1, CODED),
        (0.5, 0.5, CODED),
        (0.4, 0.1, UNSURE),
    ],
)
def test_verdicts(loud: float, likeness: float, verdict: CodingVerdict) -> None:
    assert verdict_of(Shape(loud, likeness)) is verdict


@pytest.mark.parametrize(
    ("chunks", "refuses"),
    [
        ([CODED], True),
        ([UNSURE, CODED], True),
        ([UNSURE] * 9, False),
        ([PLAIN, CODED], False),
        ([PLAIN, *[CODED] * (TURN - 1), PLAIN, CODED], False),
        ([PLAIN, *[CODED] * TURN], True),
        ([CODED, *[PLAIN] * (TURN - 1)], True),
        ([CODED, *[PLAIN] * (TURN - 1), CODED, PLAIN], True),
        ([CODED, *[PLAIN] * TURN], False),
        ([CODED, *[PLAIN] * TURN, CODED, CODED], False),
    ],
)
def test_what_is_believed_after_so_many_chunks(chunks: list[CodingVerdict], refuses: bool) -> None:
    judge = CodedJudge()
    for chunk in chunks:
        judge.take(chunk, 0.0, likely=True)
    assert judge.refuses is refuses


@pytest.mark.parametrize(
    ("size", "likely"), [(20, True), (160, True), (480, True), (600, True), (640, False), (999, False)]
)
def test_lengths(size: int, likely: bool) -> None:
    assert may_be_lc3(size) is likely


def test_noise_in_chunks_that_may_be_samples_is_refused_after_some_seconds() -> None:
    judge = CodedJudge()
    for now in (0.0, SECONDS / 2, SECONDS - 0.1):
        judge.take(CODED, now, likely=False)
    assert not judge.refuses
    judge.take(PLAIN, SECONDS, likely=False)
    judge.take(CODED, SECONDS, likely=False)
    assert not judge.refuses
    judge.take(UNSURE, 2 * SECONDS, likely=False)
    judge.take(CODED, 2 * SECONDS, likely=False)
    assert judge.refuses
