"""Which track is a person's voice, and what keeps it from being heard."""

from itertools import permutations, product

import pytest

from glassbridge.core import voices
from glassbridge.core.voices import Hindrance, RemoteTrack, TrackSource, choose_voice
from glassbridge.livekit.codecs import CODECS

SCREEN, UNKNOWN, MICROPHONE = TrackSource.SCREEN, TrackSource.UNKNOWN, TrackSource.MICROPHONE


@pytest.mark.parametrize("order", list(permutations([SCREEN, UNKNOWN, MICROPHONE])))
def test_a_microphone_is_chosen_whenever_it_was_published(order: tuple[TrackSource, ...]) -> None:
    tracks = [RemoteTrack(source.name, source) for source in order]
    assert choose_voice(tracks) == RemoteTrack("MICROPHONE", MICROPHONE)
    assert choose_voice([track for track in tracks if track.source is not MICROPHONE]) == RemoteTrack("UNKNOWN")
    assert choose_voice([track for track in tracks if track.source is SCREEN]) is None
    assert choose_voice([]) is None


@pytest.mark.parametrize("source", [UNKNOWN, MICROPHONE])
@pytest.mark.parametrize(("muted", "encrypted"), list(product((False, True), repeat=2)))
def test_of_two_the_newest_is_chosen_even_if_it_cannot_be_heard(
    source: TrackSource, muted: bool, encrypted: bool
) -> None:
    newest = RemoteTrack("new", source, muted=muted, encrypted=encrypted)
    assert choose_voice([RemoteTrack("old", source), newest]) is newest


@pytest.mark.parametrize(
    ("muted", "encrypted", "codec", "allowed"),
    list(product((False, True), (False, True), ("opus", "speex"), (True, False))),
)
def test_the_greatest_hindrance_is_told(muted: bool, encrypted: bool, codec: str, allowed: bool) -> None:
    track = RemoteTrack("TR", muted=muted, encrypted=encrypted, codec=codec, allowed=allowed)
    expected = (
        Hindrance.ENCRYPTED
        if encrypted
        else Hindrance.CODEC
        if codec == "speex"
        else Hindrance.SUBSCRIPTION_DENIED
        if not allowed
        else Hindrance.MUTED
        if muted
        else None
    )
    assert track.hindrance is expected
    assert track.understood is (not encrypted and codec == "opus")


def test_the_codecs_that_are_promised_are_those_that_are_decoded() -> None:
    assert CODECS.keys() | {"red"} == voices.CODECS
