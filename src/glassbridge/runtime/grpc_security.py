"""How cloud and bridge know each other on TCP: TLS, and client certificates or a shared secret in the metadata.

Unix sockets and plaintext on loopback stay as the original has them: there the owner of the socket file counts, or the
machine. Files are read when a server or a channel begins, so a recycled worker has the newest certificate.
"""

import hmac
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from glassbridge.runtime.addresses import UNIX
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS

KEY: Final = "authorization"
_BEARER: Final = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSecurity:
    """Paths of PEM files, and secrets. Without a certificate the server speaks plaintext."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    """Callers need a certificate that one of these has signed; empty: they need none."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Callers need one of these; none: they need none."""

    @property
    def complete(self) -> bool:
        """The server proves what it is, and callers have to."""
        return bool(self.certificate and (self.client_ca or self.secrets))

    def check(self) -> None:
        """Raises ValueError: a file that cannot be used, half a pair, a secret that would go over plaintext."""
        _check_pair("GLASSBRIDGE_BRIDGE_CERT", self.certificate, "GLASSBRIDGE_BRIDGE_KEY", self.key)
        _check_ca("GLASSBRIDGE_BRIDGE_CLIENT_CA", self.client_ca)
        for name, wanted in (("CLIENT_CA", self.client_ca), ("SECRET", self.secrets)):
            if wanted and not self.certificate:
                raise ValueError(f"GLASSBRIDGE_BRIDGE_{name} needs TLS: set GLASSBRIDGE_BRIDGE_CERT and _KEY too")

    def add_port(self, server: grpc.aio.Server, target: str) -> int:
        """Has the server listen there. Raises RuntimeError where it cannot, OSError for a file."""
        if target.startswith(UNIX) or not self.certificate:
            return server.add_insecure_port(target)
        pair = Path(self.key).read_bytes(), Path(self.certificate).read_bytes()
        roots = Path(self.client_ca).read_bytes() if self.client_ca else None
        credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
        return server.add_secure_port(target, credentials)

    def interceptors(self, target: str) -> tuple[grpc.aio.ServerInterceptor, ...]:
        """Of a server that listens there."""
        return (_SecretInterceptor(self.secrets),) if self.secrets and not target.startswith(UNIX) else ()


PLAINTEXT: Final = ServerSecurity()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSecurity:
    """Paths of PEM files. Without a CA channels speak plaintext."""

    ca: str = ""
    """Whom to believe that it is a bridge; TLS on all TCP addresses then."""
    certificate: str = ""
    key: str = ""
    """Our own, for bridges that ask for one."""

    def check(self) -> None:
        """Raises ValueError: a file that cannot be used, half a pair, a certificate that would not be shown."""
        _check_ca("GLASSBRIDGE_BRIDGE_CA", self.ca)
        _check_pair("GLASSBRIDGE_BRIDGE_CLIENT_CERT", self.certificate, "GLASSBRIDGE_BRIDGE_CLIENT_KEY", self.key)
        if self.certificate and not self.ca:
            raise ValueError("GLASSBRIDGE_BRIDGE_CLIENT_CERT needs TLS: set GLASSBRIDGE_BRIDGE_CA too")

    def open(self, target: str, secret: Callable[[], str] = str) -> grpc.aio.Channel:
        """A channel to a bridge. `secret` is asked at each call; empty: none is shown. Raises OSError for a file."""
        if target.startswith(UNIX) or not self.ca:
            return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        key = Path(self.key).read_bytes() if self.key else None
        chain = Path(self.certificate).read_bytes() if self.certificate else None
        credentials = grpc.ssl_channel_credentials(Path(self.ca).read_bytes(), key, chain)
        calls = grpc.metadata_call_credentials(_SecretPlugin(secret), name="bridge-secret")
        return grpc.aio.secure_channel(
            target, grpc.composite_channel_credentials(credentials, calls), options=CHANNEL_OPTIONS
        )


PLAINTEXT_CHANNELS: Final = ChannelSecurity()


class _SecretPlugin(grpc.AuthMetadataPlugin):
    """Shows the secret on channels with TLS; gRPC keeps it off all others."""

    def __init__(self, secret: Callable[[], str]) -> None:
        self._secret = secret

    def __call__(self, context: Any, callback: Any) -> None:
        secret = self._secret()
        callback(((KEY, f"{_BEARER}{secret}"),) if secret else (), None)


class _SecretInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls pass that show one of the secrets, health and reflection too."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = tuple(f"{_BEARER}{secret}".encode() for secret in secrets)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        shown = [_bytes(value) for key, value in details.invocation_metadata or () if key == KEY]
        known = [hmac.compare_digest(value, secret) for value in shown for secret in self._secrets]
        return await continuation(details) if any(known) else _REFUSAL


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


async def _refuse(_requests: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the shared secret is missing or wrong")


_REFUSAL: Final[Any] = grpc.stream_stream_rpc_method_handler(_refuse)
"""Serves calls of every kind: it ends them before it reads anything."""


def _check_pair(cert_name: str, certificate: str, key_name: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise ValueError(f"{cert_name} and {key_name} belong together: set both")
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(cert_name, lambda: context.load_cert_chain(certificate, key, password=str))


def _check_ca(name: str, ca: str) -> None:
    if ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(name, lambda: context.load_verify_locations(ca))


def _load(name: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise ValueError(f"{name}: no certificate, no key, or not those of each other ({error.reason})") from None
    except OSError as error:
        raise ValueError(f"{name}: the file or that of its key cannot be read: {error.strerror}") from None
