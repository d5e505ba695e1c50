"""The table of the original's SDK in docs/apps.md holds every public name of the SDK, and names tests that exist."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from glassbridge.lab.original_sdk import VERSIONS, sdk_folder
from tests.apps.test_mentra_refused import CALLS

ROOT = Path(__file__).parents[2]
HEADING = "## Apps written for the original's SDK"
OBJECTS = {
    "AppServer": "AppServer",
    "AppSession": "session",
    "EventManager": "session.events",
    "LayoutManager": "session.layouts",
    "SettingsManager": "session.settings",
    "DashboardManager": "session.dashboard",
    "DashboardContentManager": "session.dashboard.content",
    "DashboardSystemManager": "session.dashboard.system",
    "DeviceState": "session.device.state",
    "CameraModule": "session.camera",
    "AudioManager": "session.audio",
    "AudioOutputStream": "output stream",
    "LedModule": "session.led",
    "LocationManager": "session.location",
    "SimpleStorage": "session.simpleStorage",
}
"""Classes of the SDK that an app's maker meets, and what docs/apps.md calls them."""
INSIDE = {"ApiClient", "CameraManagedExtension", "TpaServer", "TpaSession"}
"""Parts of these, and their former names."""
KINDS = ("works", "refused", "local", "never called")


class Row(NamedTuple):
    """One of the table."""

    of: str
    names: tuple[str, ...]
    status: str
    test: str


def table() -> list[Row]:
    part = (ROOT / "docs" / "apps.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ") and not line.startswith("| of ")]
    rows = []
    for line in lines:
        of, names, status, test = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append(Row(of.partition(" (")[0].strip("`"), tuple(re.findall(r"`(\w+)`", names)), status, test))
    return rows


def declared(version: str) -> dict[str, set[str]]:
    """Public names by object, from the type declarations."""
    folder = sdk_folder(version) / "node_modules" / "@mentra" / "sdk" / "dist" / "app"
    if not folder.is_dir():
        pytest.skip(f"@mentra/sdk {version} IS NOT INSTALLED: its names are not compared (run tests/apps first)")
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.d.ts")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for name, body in re.findall(r"^export declare class (\w+)[^\n]*\n(.*?)^}$", text, flags=re.S | re.M):
            if name in INSIDE or ("/session/" not in str(path) and name != "AppServer"):
                continue
            hidden = "private|static|constructor" + ("" if name == "AppServer" else "|protected")
            member = rf"^    (?!(?:{hidden})\b)(?:(?:readonly|get|set|protected|abstract) )*([a-zA-Z]\w*)\??[(<:]"
            found.setdefault(OBJECTS[name], set()).update(re.findall(member, body, flags=re.M))
    found.get("AppServer", set()).discard("Variables")  # a type argument of version 3
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_of_the_sdk_has_a_row(version: str) -> None:
    rows = table()
    for of, names in declared(version).items():
        assert names - {name for row in rows for name in row.names if row.of == of} == set(), of


def test_no_row_is_of_a_name_that_is_gone() -> None:
    known: dict[str, set[str]] = {}
    for version in VERSIONS:
        for of, names in declared(version).items():
            known.setdefault(of, set()).update(names)
    for row in table():
        assert set(row.names) <= known[row.of], row


def test_a_name_has_one_row() -> None:
    seen = [(row.of, name) for row in table() for name in row.names]
    assert len(seen) == len(set(seen)) > 200, {one for one in seen if seen.count(one) > 1}


def test_what_works_names_a_test_that_there_is() -> None:
    for row in table():
        assert row.status.startswith(KINDS), row
        if not row.status.startswith("works"):
            continue
        path, _, name = row.test.strip("`").partition("::")
        assert re.search(rf"^async def {name}\(", (ROOT / path).read_text(), flags=re.M), row


def test_what_is_refused_is_called_with_the_real_sdk() -> None:
    told = {f"{row.of}.{name}" for row in table() if row.status.startswith("refused") for name in row.names}
    assert told == {path for path, *_ in CALLS}
