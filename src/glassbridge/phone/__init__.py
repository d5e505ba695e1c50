"""The phone: client library and simulator."""
