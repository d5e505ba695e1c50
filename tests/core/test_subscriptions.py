"""Subscriptions: the forms of the original, one spelling, reasons for what is refused, and sets that never drift."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.subscriptions import (
    MAX_SUBSCRIPTIONS,
    Permission,
    Stream,
    Subscription,
    Subscriptions,
    grant,
    parse,
)

MIC = frozenset({Permission.MICROPHONE})
ALL = frozenset({Permission.ALL})
NONE: frozenset[Permission] = frozenset()


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("transcription", "transcription:en-US"),
        ("transcription:en-US", "transcription:en-US"),
        ("transcription:EN-us", "transcription:en-US"),
        ("transcription:zh-hans-cn", "transcription:zh-Hans-CN"),
        ("transcription:fil", "transcription:fil"),
        ("transcription:auto", "transcription:auto"),
        (
            "transcription:de-DE?no-language-identification=true",
            "transcription:de-DE?no-language-identification=true",
        ),
        ("transcription?b=2&a=1", "transcription:en-US?a=1&b=2"),
        ("translation:es-ES-to-en-US", "translation:es-ES-to-en-US"),
        ("translation:to-TO-to-en-US", "translation:to-TO-to-en-US"),
        ("translation:auto-to-fr-FR", "translation:auto-to-fr-FR"),
        ("audio_chunk", "audio_chunk"),
        ("VAD", "VAD"),
        ("audio_state", "audio_state"),
        ("all", "*"),
        ("*", "*"),
    ],
)
def test_each_form_has_one_spelling(text: str, spelled: str) -> None:
    assert parse(text).text == spelled
    assert parse(spelled) == parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "vad", "transcription:", "transcription:e", "transcription:en-US-to-de-DE-to-fr-FR", "translation",
     "translation:en-US", "translation:en-US-to-", "translation:en-US-to-auto", "VAD:en-US", "transcription:en US",
     "transcription?a b=1", "transcription:en-US?" + "a" * 300, "transcription:ünicode"],
)  # fmt: skip
def test_what_is_no_subscription_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value)


@given(st.one_of(st.text(), st.text(alphabet=string.ascii_letters + ":?=&-*_", max_size=30)))
def test_any_text_is_one_or_refused(text: str) -> None:
    given_ = grant([text], ALL, lambda _: None)
    assert len(given_.in_force) + len(given_.refused) == 1
    for subscription in given_.in_force:
        assert parse(subscription.text) == subscription


def test_permissions_gate_streams_and_wildcards() -> None:
    given_ = grant(["transcription", "audio_state", "*"], NONE, lambda _: None)
    assert {s.text for s in given_.in_force} == {"audio_state", "*"}
    assert [(r.text, r.permission) for r in given_.refused] == [("transcription", Permission.MICROPHONE)]

    subscriptions = Subscriptions()
    subscriptions.replace("deaf", ["*"], NONE)
    subscriptions.replace("hears", ["*"], MIC)
    assert subscriptions.listeners(Stream.AUDIO_CHUNK) == ["hears"]
    assert subscriptions.listeners(Stream.AUDIO_STATE) == ["deaf", "hears"]


def test_what_cannot_be_had_here_is_refused_in_the_words_of_the_place() -> None:
    def offer(wanted: Subscription) -> str | None:
        return "no recogniser for it" if wanted.languages == ("fr-FR",) else None

    given_ = grant(["transcription:fr-FR", "transcription"], MIC, offer)
    assert {s.text for s in given_.in_force} == {"transcription:en-US"}
    assert [(r.text, r.why) for r in given_.refused] == [("transcription:fr-FR", "no recogniser for it")]


def test_an_app_has_so_many_and_no_more() -> None:
    asked = [f"transcription:en-US?n={number}" for number in range(MAX_SUBSCRIPTIONS + 2)]
    given_ = grant(asked, MIC, lambda _: None)
    assert len(given_.in_force) == MAX_SUBSCRIPTIONS
    assert len(given_.refused) == 2
    assert not grant(asked[:1] * 1000, MIC, lambda _: None).refused


def test_languages_are_told_apart_and_options_are_not() -> None:
    subscriptions = Subscriptions()
    subscriptions.replace("en", ["transcription"], MIC)
    subscriptions.replace("quick", ["transcription:en-US?speed=1"], MIC)
    subscriptions.replace("de", ["transcription:de-DE"], MIC)
    subscriptions.replace("es", ["translation:es-ES-to-en-US"], MIC)
    assert subscriptions.listeners(Stream.TRANSCRIPTION, "en-US") == ["en", "quick"]
    assert subscriptions.listeners(Stream.TRANSLATION, "es-ES", "en-US") == ["es"]
    assert subscriptions.listeners(Stream.TRANSLATION, "en-US", "es-ES") == []
    subscriptions.replace("any", ["transcription:auto", "translation:auto-to-en-US"], MIC)
    assert subscriptions.listeners(Stream.TRANSCRIPTION, "fr-FR") == ["any"]
    assert subscriptions.listeners(Stream.TRANSLATION, "fr-FR", "de-DE") == []
    subscriptions.drop("any")
    assert subscriptions.wanted(Stream.TRANSCRIPTION) == {("en-US",), ("de-DE",)}
    subscriptions.drop("de")
    subscriptions.drop("de")
    assert subscriptions.wanted(Stream.TRANSCRIPTION) == {("en-US",)}


def test_what_is_heard_goes_by_the_name_that_the_app_gave_it() -> None:
    subscriptions = Subscriptions()
    subscriptions.replace("odd", ["transcription:en-us?quick=1"], MIC)
    subscriptions.replace("all", ["*"], MIC)
    found = subscriptions.listeners_by_language(Stream.TRANSCRIPTION, [("en-US",)])
    assert [(app, wanted.spelling or wanted.text) for app, wanted in found] == [
        ("odd", "transcription:en-us?quick=1"),
        ("all", "transcription:en-US"),
    ]
    assert parse("translation:all-to-en-US") == parse("translation:auto-to-en-US")


UPDATES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.none(), st.lists(st.sampled_from(["transcription", "VAD", "audio_chunk", "*", "junk"]))),
    )
)


@given(UPDATES)
def test_the_last_word_of_each_app_is_what_is_in_force(updates: list[tuple[str, list[str] | None]]) -> None:
    """Hazards L-4 and L-5: nothing is counted, an empty set is a set, and no app touches another."""
    subscriptions = Subscriptions()
    last: dict[str, list[str] | None] = {}
    for app, asked in updates:
        if asked is None:
            subscriptions.drop(app)
        else:
            subscriptions.replace(app, asked, MIC)
        last[app] = asked
    for app, asked in last.items():
        assert set(subscriptions.in_force(app)) == {parse(text).text for text in asked or [] if text != "junk"}
    hear = {app for app, asked in last.items() if asked and {"VAD", "*"} & set(asked)}
    assert set(subscriptions.listeners(Stream.VAD)) == hear


def test_a_gesture_is_heard_by_those_who_named_it_or_none() -> None:
    subscriptions = Subscriptions()
    subscriptions.replace("one", ["touch_event:double_tap"], frozenset())
    subscriptions.replace("both", ["touch_event", "touch_event:double_tap"], frozenset())
    subscriptions.replace("all", ["all"], frozenset())
    taps = subscriptions.listeners_by_name(Stream.TOUCH_EVENT, "double_tap")
    assert sorted(taps) == [
        ("all", "touch_event"),
        ("both", "touch_event"),
        ("both", "touch_event:double_tap"),
        ("one", "touch_event:double_tap"),
    ]
    assert sorted(subscriptions.listeners_by_name(Stream.TOUCH_EVENT, "swipe")) == [
        ("all", "touch_event"),
        ("both", "touch_event"),
    ]
    with pytest.raises(ValueError, match="double_tap"):
        parse("touch_event:Double Tap")


def test_what_is_of_the_user_needs_a_permission_also_for_all() -> None:
    subscriptions = Subscriptions()
    subscriptions.replace("may", ["all"], frozenset({Permission.LOCATION}))
    subscriptions.replace("may not", ["all"], frozenset())
    assert subscriptions.listeners_by_name(Stream.LOCATION) == [("may", "location_update")]
    assert subscriptions.listeners_by_name(Stream.CALENDAR_EVENT) == []
    assert parse("location_stream").stream is Stream.LOCATION
