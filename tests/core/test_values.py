"""Who is who: one spelling for one person, and never one for two."""

import pytest

from glassbridge.core.values import MAX_USER_BYTES, agent_identity, user_id


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("a-b+c@example.com", "a-b+c@example.com"),
        ("Ann Smith", "ann smith"),
        ("jose\u0301", "jos\u00e9"),  # NFC
        ("stra\u00dfe", "stra\u00dfe"),
        ("\u00c9va", "\u00c9va"),  # only what every issuer takes for equal: A to Z
        ("\u0438\u0432\u0430\u043d@example.com", "\u0438\u0432\u0430\u043d@example.com"),
        ("\u5f20\u4f1f", "\u5f20\u4f1f"),
        ("x" * MAX_USER_BYTES, "x" * MAX_USER_BYTES),
        ("\u00e9" * (MAX_USER_BYTES // 2), "\u00e9" * (MAX_USER_BYTES // 2)),
    ],
)
def test_the_one_spelling(text: str, spelled: str) -> None:
    assert user_id(text) == spelled
    assert user_id(user_id(text)) == spelled


@pytest.mark.parametrize(
    ("one", "other"),
    [("\u212aate", "kate"), ("gro\u00df", "gross"), ("\u017fam", "sam"), ("\ufb01n", "fin"), ("\u0130x", "ix"),
     ("\uff41nn", "ann"), ("\u00e5", "\u212b"), ("\u0430nn", "ann"), ("ann\u200b", "ann"), ("a\u00adnn", "ann")],
)  # fmt: skip
def test_two_people_are_never_one(one: str, other: str) -> None:
    spellings = []
    for text in (one, other):
        try:
            spellings.append(str(user_id(text)))
        except ValueError:
            spellings.append(f"refused {text!r}")
    assert spellings[0] != spellings[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1 to 244 bytes"),
        ("  ", "1 to 244 bytes"),
        ("x" * 245, "this one has 245"),
        ("\u00e9" * 123, "this one has 246"),
        ("x" * 5000, "at most 244"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u202eb", "cannot be seen"),  # right to left
        ("a\u2066b", "cannot be seen"),
        ("a\u200db", "cannot be seen"),
        ("a\ufe0fb", "cannot be seen"),
        ("a\u00a0b", "cannot be seen"),
        ("a\u2028b", "cannot be seen"),
        ("a\ud800", "cannot be seen"),
        ("a\ue000", "cannot be seen"),
        ("a\u0378", "cannot be seen"),  # not assigned
        ("\u212aate", "stands for another"),
        ("\u2126", "stands for another"),
        ("\u017fam", "stands for another"),
        ("\uff41nn", "stands for another"),
        ("\u0430nn@example.com", "mixes scripts"),
        ("p\u03b1ul", "mixes scripts"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        user_id(text)


def test_the_bridge_of_the_longest_id_fits_livekits_limit() -> None:
    assert len(agent_identity(user_id("x" * MAX_USER_BYTES)).encode()) == 256
