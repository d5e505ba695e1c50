"""The phone: client library (`PhoneClient`, `events`) and simulator. Knows nothing of cloud or bridge but the wire."""

from glassbridge.phone.client import PhoneClient

__all__ = ["PhoneClient"]
