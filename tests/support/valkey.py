"""A real Valkey server for tests: that of the lab."""

from glassbridge.lab.valkey import Valkey

__all__ = ["Valkey"]
