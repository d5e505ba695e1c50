"""API keys of apps: what is stored of one, and how a webhook proves that it comes from a cloud that knows the app.

The signature is ours (the original's webhooks are not signed; older apps ignore the header): HMAC-SHA256 over the time
and the body, keyed with what both sides know of the API key.
"""

import hmac
from hashlib import sha256
from typing import Final

SIGNATURE_HEADER: Final = "X-Glassbridge-Signature"
MAX_AGE: Final = 300
"""Seconds for which a signature counts."""


def hash_key(api_key: str) -> str:
    """What is stored of an API key: its SHA-256 as hex."""
    return sha256(api_key.encode()).hexdigest()


def key_fits(api_key: str, key_hash: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(hash_key(api_key), key_hash.lower())


def sign(key_hash: str, body: bytes, at: int) -> str:
    """The value of the signature header; `at` is unix seconds."""
    return f"t={at},v1={_mac(key_hash, body, str(at))}"


def signed_by(key_hash: str, body: bytes, header: str, now: float) -> bool:
    """Whether the header is a signature of this body, not older than MAX_AGE."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    at, mac = parts.get("t", ""), parts.get("v1", "")
    if not (at.isascii() and at.isdigit() and len(at) < 20) or abs(now - int(at)) > MAX_AGE:
        return False
    return hmac.compare_digest(_mac(key_hash, body, at).encode(), mac.encode())


def _mac(key_hash: str, body: bytes, at: str) -> str:
    return hmac.new(key_hash.lower().encode(), at.encode() + b"." + body, sha256).hexdigest()


def speech_claim(package: str, text: str, voice: str) -> bytes:
    """What an app signs to have a text said (`/api/tts`)."""
    return "\0".join(("tts", package, voice, text)).encode(errors="replace")
