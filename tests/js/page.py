"""The files that docs/web-phone.md shows."""

import re

from tests.js.node import ROOT

PAGE = ROOT / "docs" / "web-phone.md"


def files_of_the_page() -> dict[str, str]:
    """Each block after its file's name, as a reader copies it."""
    found = re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)
