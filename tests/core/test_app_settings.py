"""Settings of apps: what can be one, what a user may choose."""

from typing import Any

import pytest

from glassbridge.core.app_settings import check_schema, chosen, fits, shown

OPTIONS = [{"label": "Small", "value": "s"}, {"label": "Large", "value": "l"}]
SCHEMA = check_schema(
    [
        {"type": "group", "title": "Look"},
        {"type": "toggle", "key": "toggle", "defaultValue": True},
        {"type": "text", "key": "text"},
        {"type": "select", "key": "select", "options": OPTIONS, "defaultValue": "s"},
        {"type": "multiselect", "key": "several", "options": OPTIONS, "defaultValue": ["s"]},
        {"type": "slider", "key": "slider", "min": 1, "max": 3, "defaultValue": 2},
        {"type": "titleValue", "label": "Version", "value": "1"},
    ]
)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("toggle", False, 1),
        ("text", "", None),
        ("select", "l", "m"),
        ("several", ["l", "s"], ["m"]),
        ("slider", 3, 3.1),
        ("slider", 1.5, True),
        ("slider", 1, float("nan")),
    ],
)
def test_a_value_fits_its_type(key: str, good: Any, bad: Any) -> None:
    assert fits(SCHEMA, key, good)
    assert not fits(SCHEMA, key, bad)
    assert not fits(SCHEMA, "other", good)


def test_what_does_not_fit_any_more_is_the_default_again() -> None:
    told = {one["key"]: one["value"] for one in chosen(SCHEMA, {"slider": 9, "text": "x", "gone": 1}) if "key" in one}
    assert told == {"toggle": True, "text": "x", "select": "s", "several": ["s"], "slider": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [1],
        [{"type": "unknown", "key": "a"}],
        [{"type": "text"}],
        [{"type": "text", "key": "a"}, {"type": "text", "key": "a"}],
        [{"type": "select", "key": "a"}],
        [{"type": "select", "key": "a", "options": OPTIONS, "defaultValue": "m"}],
        [{"type": "slider", "key": "a", "min": "1"}],
        [{"type": "group"}],
        [{"type": "text", "key": f"k{n}"} for n in range(65)],
    ],
)
def test_what_is_no_schema_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        check_schema(wrong)


def test_apps_are_told_known_settings_of_the_phone_only() -> None:
    assert shown({"brightness": 5, "core_token": "secret"}) == {"brightness": 5}
