"""Coded audio that is read as samples: the first chunk decides, and one odd chunk in a voice changes nothing."""

import pytest

from glassbridge.core.coded_audio import TURN, CodedJudge, Shape, Verdict, verdict_of

PLAIN, CODED, UNSURE = Verdict.PLAIN, Verdict.CODED, Verdict.UNSURE


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
def test_verdicts(loud: float, likeness: float, verdict: Verdict) -> None:
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
def test_what_is_believed_after_so_many_chunks(chunks: list[Verdict], refuses: bool) -> None:
    judge = CodedJudge()
    for chunk in chunks:
        judge.take(chunk)
    assert judge.refuses is refuses
