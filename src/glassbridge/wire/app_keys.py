"""API keys of apps: what is kept of one, and how each side proves to the other that it knows it.

The cloud keeps the SHA-256 of a key, which tells whether a key fits, and a signing secret, which is made from the key
and cannot be made from its hash. Webhooks, sounds and speech are signed with the secret: HMAC-SHA256 over the time and
what is said (`v2`). Before, they were signed with the hash (`v1`): anyone who saw it could speak for the app.

The signature is ours (the original's webhooks are not signed; older apps ignore the header).
"""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

SIGNATURE_HEADER: Final = "X-Glassbridge-Signature"
DIGEST_HEADER: Final = "X-Glassbridge-Content-SHA256"
"""SHA-256 of a sound, as hex: the signature is looked at before the sound is read."""
MAX_AGE: Final = 300
"""Seconds for which a signature counts."""
_PURPOSE: Final = b"glassbridge signing secret"


def hash_key(api_key: str) -> str:
    """What tells whether a key fits: its SHA-256 as hex."""
    return sha256(_bytes(api_key)).hexdigest()


def signing_secret(api_key: str) -> str:
    """What the app of this key and its cloud sign with."""
    return hmac.new(_bytes(api_key), _PURPOSE, sha256).hexdigest()


def key_fits(api_key: str, key_hash: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(hash_key(api_key), key_hash.lower())


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and verifies for one app; its repr shows nothing."""

    secret: str = field(repr=False)
    """Of signing_secret(); empty: this app was registered before there was one."""
    key_hash: str = field(default="", repr=False)
    """With it, the old form is signed as well, and verified where there is no secret; empty: never."""

    def sign(self, body: bytes, at: int) -> str:
        """The value of the signature header; `at` is unix seconds."""
        forms = (("v2", self.secret), ("v1", self.key_hash.lower()))
        return ",".join((f"t={at}", *(f"{form}={_mac(key, body, str(at))}" for form, key in forms if key)))

    def signed(self, body: bytes, header: str, now: float) -> bool:
        """Whether the header is a signature of this body, not older than MAX_AGE."""
        parts = dict(part.partition("=")[::2] for part in header.split(","))
        at = parts.get("t", "")
        form, key = ("v2", self.secret) if self.secret else ("v1", self.key_hash.lower())
        if not (at.isascii() and at.isdigit() and len(at) < 20) or abs(now - int(at)) > MAX_AGE or not key:
            return False
        return hmac.compare_digest(_bytes(_mac(key, body, at)), _bytes(parts.get(form, "")))


def signer(api_key: str) -> Signer:
    """For the app itself, which has its key. It takes only the new form."""
    return Signer(signing_secret(api_key))


def _mac(key: str, body: bytes, at: str) -> str:
    return hmac.new(key.encode(), at.encode() + b"." + body, sha256).hexdigest()


def _bytes(text: str) -> bytes:
    """Of what came from a peer, too, which may be no text at all."""
    return text.encode(errors="backslashreplace")


def speech_claim(package: str, text: str, voice: str) -> bytes:
    """What an app signs to have a text said (`/api/tts`)."""
    return "\0".join(("tts", package, voice, text)).encode(errors="replace")


def sound_claim(package: str, size: int, digest: str) -> bytes:
    """What an app signs to bring a sound of so many bytes (`/api/sounds`)."""
    return "\0".join(("sound", package, str(size), digest)).encode(errors="replace")
