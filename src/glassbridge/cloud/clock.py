"""Wall clock, as the wire spells it: never used for durations."""

from datetime import UTC, datetime


def iso_now() -> str:
    """Now, as the original's timestamps that are text: 2026-01-31T12:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ms_now() -> int:
    """Now, as the timestamps that are numbers."""
    return int(datetime.now(UTC).timestamp() * 1000)
