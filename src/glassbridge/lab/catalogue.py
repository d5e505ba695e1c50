"""All scenarios: each module of lab/scenarios registers its own."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from glassbridge.lab import scenarios
from glassbridge.lab.scenario import Scenario, in_family, registered
from glassbridge.runtime.errors import UserError


def catalogue() -> list[Scenario]:
    """All scenarios, letter by letter, F2 before F10."""
    for module in iter_modules(scenarios.__path__):
        import_module(f"{scenarios.__name__}.{module.name}")
    return sorted(registered(), key=lambda found: _order(found.id))


def find(names: Sequence[str]) -> list[Scenario]:
    """The named ones (F4: all of F4a, F4b, ...; F: all of that letter; `all`: all that need nothing special).
    Raises UserError for an unknown name."""
    known = catalogue()
    if [name.casefold() for name in names] == ["all"]:
        return [found for found in known if not found.special]
    chosen: list[Scenario] = []
    for name in names:
        family = [found for found in known if in_family(found.id, name)]
        if not family:
            raise UserError(f"no scenario {name!r}: `glassbridge lab list` shows them", 2)
        chosen += [found for found in family if found not in chosen]
    return chosen


def _order(id: str) -> tuple[str, int, str]:
    digits = "".join(char for char in id if char.isdigit())
    return id[0], int(digits or 0), id
