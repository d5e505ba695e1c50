"""The lab's double of the original's bridge client, with what it heard."""

from collections.abc import Mapping
from typing import Any

from glassbridge.lab.originals.bridge_client import OriginalBridgeClient
from tests.support.poll import eventually


class OriginalCloud(OriginalBridgeClient):
    """One user's client; use as an async context. `joining` are the fields of its JoinRoomRequest."""

    def __init__(self, target: str, joining: Mapping[str, Any]) -> None:
        self.heard: list[bytes] = []
        super().__init__(target, lambda: joining, self.heard.append)

    async def __aenter__(self) -> "OriginalCloud":
        return self

    async def connect(self) -> bool:
        """Raises AssertionError where the join fails."""
        assert await super().connect(), "the first join failed"
        await eventually(lambda: self.connected or "no frame comes")
        return True
