"""The sessions of several clouds as one list.

Rules
- A session that has moved is known to several clouds by the same id. It belongs to the one with the greatest epoch, and
  among those of the same epoch to one where it lives.
- Of several sessions of a user that live, the one with the greatest epoch is the user's. Another one is a remnant,
  which its cloud will end as soon as it knows: it is shown as MOVED.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

MOVED: Final = "moved"
OFF: Final = "off"

Row = dict[str, Any]


def merge_rows(parts: Mapping[str, Iterable[Row]]) -> list[Row]:
    """By the name of a cloud, its rows (`id`, `user`, `epoch`, `ended_ms`, `started_ms`, ...). Each row names its cloud
    (`node`); the newest session comes first."""
    by_session: dict[str, Row] = {}
    for node, rows in parts.items():
        for row in rows:
            known = by_session.get(row["id"])
            if known is None or _rank(row) > _rank(known):
                by_session[row["id"]] = {**row, "node": node}
    newest: dict[str, int] = {}
    for row in by_session.values():
        if row["ended_ms"] is None:
            newest[row["user"]] = max(row["epoch"], newest.get(row["user"], 0))
    merged = [
        {**row, "state": MOVED, "light": OFF} if row["ended_ms"] is None and row["epoch"] < newest[row["user"]] else row
        for row in by_session.values()
    ]
    return sorted(merged, key=lambda row: (row["started_ms"], row["id"]), reverse=True)


def _rank(row: Row) -> tuple[int, bool]:
    return row["epoch"], row["ended_ms"] is None
