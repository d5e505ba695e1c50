"""A table that one test walks: pytest spends more on a test of its own than most rows take."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

Test = Callable[..., None]


def walk(names: str, rows: Iterable[Any]) -> Callable[[Test], Test]:
    """As pytest.mark.parametrize, in one test. It ends at the first row that fails, and names it; what the test has of
    fixtures is shared by all rows."""
    walked, rows = names.split(", "), list(rows)
    assert rows, f"no row for {names}"

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)

        @wraps(test)
        def walking(**fixtures: Any) -> None:
            for row in rows:
                values = (row,) if len(walked) == 1 else row
                try:
                    test(**dict(zip(walked, values, strict=True)), **fixtures)
                except Exception as error:
                    error.add_note(f"{names} = {row!r}"[:1000])
                    raise

        others = [one for name, one in signature.parameters.items() if name not in walked]
        walking.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return walking

    return decorate
