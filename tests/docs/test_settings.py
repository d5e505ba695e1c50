"""docs/settings.md has every variable that a program reads; no page names one that nothing reads."""

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from glassbridge.cli.common import known_names
from glassbridge.settings import FILE_SUFFIX, SettingKind
from tests.support.walk import walk
from tools import describe_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
PAGE = describe_settings.TARGET.read_text()


def test_the_page_is_that_of_the_source() -> None:
    assert describe_settings.page(PAGE) == PAGE, "run make settings"


def test_each_variable_that_a_program_reads_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    known = {name for name in known_names() if not name.endswith(FILE_SUFFIX) or name in rows}
    assert len(known) > 80
    assert set(rows) == known
    assert len(rows) == len(known), "a variable has two rows"


@walk("page", PAGES)
def test_no_page_names_a_variable_that_nothing_reads(page: Path) -> None:
    named = set(re.findall(r"\bGLASSBRIDGE_[A-Z_]*[A-Z]\b(?!\*|_)", page.read_text()))
    assert named - known_names() == set()


COPY = re.compile(r"^\|[^\n]*\bdefault\b[^\n]*\n\|[-| :]+\n(?:\|.*\n)*?\| `(GLASSBRIDGE_\w+)`", re.MULTILINE)
"""A table of settings with a column for their defaults."""
WITH_DEFAULTS = {"docs/settings.md", "docs/cli.md", "README.md"}


@walk("page", PAGES)
def test_no_other_page_repeats_the_defaults(page: Path) -> None:
    if str(page.relative_to(ROOT)) not in WITH_DEFAULTS:
        assert COPY.findall(f"{page.read_text()}\n") == [], "link to docs/settings.md"


def test_a_repeated_table_is_noticed() -> None:
    assert COPY.findall("| setting | default | |\n|---|---|---|\n| `GLASSBRIDGE_X` | 1 | |\n") == ["GLASSBRIDGE_X"]


@pytest.mark.parametrize(
    "body",
    [
        "    # --- A section\n    first: int = 1",
        '    # --- A section\n    first: int = 1\n    second: int = 2\n    """Words."""',
        '    # --- A section\n    first: int = 1\n    """ """',
        '    first: int = 1\n    """Words, and no section."""',
    ],
)
def test_a_setting_without_words_is_an_error(body: str) -> None:
    with pytest.raises(ValueError, match="the setting first has no words"):
        describe_settings.documented(f"class Settings:\n{body}\n", "Settings")


class Example(BaseModel):
    wait: float = 1.0
    pause: Annotated[float, SettingKind("s")] = Field(2.0, gt=0, le=5000)
    rest: Annotated[float, SettingKind("s"), Field(ge=1, le=9)] | None = None
    hosts: tuple[str, ...] = ()


def test_a_number_without_a_unit_is_an_error() -> None:
    with pytest.raises(ValueError, match="the setting wait needs a SettingKind"):
        describe_settings.unit("wait", Example.model_fields["wait"])


@pytest.mark.parametrize(
    ("name", "unit"), [("pause", "s, above 0 to 5,000"), ("rest", "s, 1 to 9"), ("hosts", "comma list")]
)
def test_units(name: str, unit: str) -> None:
    assert describe_settings.unit(name, Example.model_fields[name]) == unit
