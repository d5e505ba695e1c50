"""An attribute that is made when somebody asks for it, once for each owner."""

from glassbridge.runtime.lazy import Lazy


class Owner:
    __slots__ = ("_parts", "made")

    def __init__(self) -> None:
        self._parts: list[str] | None = None
        self.made = 0

    @Lazy
    def parts(self) -> list[str]:
        self.made += 1
        return []


def test_it_is_made_once_for_each_owner_and_only_when_asked_for() -> None:
    one, other = Owner(), Owner()
    assert [owner._parts for owner in (one, other)] == [None, None]
    one.parts.append("a")
    assert (one.parts, one._parts, one.made) == (["a"], ["a"], 1)
    assert (other._parts, other.made) == (None, 0)
    assert other.parts == []
