"""The Python of the how-to pages does what the pages say."""

import re
from pathlib import Path
from typing import Any

import pytest

from glassbridge.cloud.auth import verify_core_token
from glassbridge.speech import providers
from glassbridge.speech.base import Recogniser, RecogniserError, Transcript, Want

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str) -> dict[str, Any]:
    """The names that the one Python block of a page defines."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(block, names)
    return names


def test_a_token_of_the_page_is_valid() -> None:
    secret = "a secret of a test that has 32 bytes"
    token = example("login.md")["core_token"]("ada@example.org", secret)
    assert verify_core_token(token, secret) == "ada@example.org"


async def test_the_recogniser_of_the_page_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "PROVIDERS", dict(providers.PROVIDERS))
    example("recogniser.md")
    mine = providers.make_recogniser("mine", providers.ProviderConfig())
    heard: list[Transcript] = []
    stream = await mine.open(mine.serves(Want("en-US")), heard.append, lambda _: None)
    for _ in range(30):
        stream.feed(bytes(3200))
    await stream.finish()
    await stream.finish()
    assert [(one.text, one.final, one.start_ms, one.end_ms) for one in heard] == [
        ("2000 ms", True, 0, 2000),
        ("1000 ms", True, 2000, 3000),
    ]
    with pytest.raises(RecogniserError, match="does not translate"):
        mine.serves(Want("en-US", target="es-ES"))
    members = {name for name in (*dir(Recogniser), *Recogniser.__annotations__) if name[0] != "_"}
    assert [name for name in members if not hasattr(mine, name)] == []
    await stream.close()
    await mine.close()
