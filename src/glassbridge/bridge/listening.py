"""A worker's gRPC server, which listens long before the worker can serve: calls wait until then.

A caller that tries again once, as a cloud of the original does, finds somebody as soon as this module is imported.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc

from glassbridge.bridge.config import Address, BridgeConfig
from glassbridge.bridge.malformed import RefuseMalformed
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.grpc_options import SERVER_OPTIONS
from glassbridge.runtime.listen import CannotListen, private_files

LETTING_GO: Final = 1.0
"""Seconds that gRPC may take to let go of an address; it takes 5 ms."""


class Calls(grpc.GenericRpcHandler):
    """The registry to which generated code adds its services. They may be added after the server has started."""

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As a server's."""
        self._handlers += handlers

    def add_registered_method_handlers(self, *_: Any) -> None:
        """The generic ones are enough."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """None: not served."""
        return next((found for one in self._handlers if (found := one.service(details)) is not None), None)


class _Wait(grpc.aio.ServerInterceptor):
    """Calls that were let in wait for the event."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        await self._event.wait()
        return await continuation(details)


class Listening:
    """The server of one worker; used once."""

    def __init__(self, config: BridgeConfig, number: int) -> None:
        self.address = config.address(number)
        self.calls = Calls()
        self._config = config
        self._served = asyncio.Event()
        self._inode: int | None = None
        self._started = False
        security = config.security.interceptors(self.address.target)
        interceptors = [*security, _Wait(self._served), RefuseMalformed()]
        self._server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((self.calls,))

    async def start(self) -> None:
        """Listens; idempotent. Raises CannotListen."""
        if not self._started:
            self._bind(self.address)
            await self._server.start()
            self._started = True

    def serve(self) -> None:
        """All services are registered and can work: calls wait no longer."""
        self._served.set()

    async def stop(self, grace: float | None) -> None:
        """Takes no new calls; ends those that last longer than `grace` seconds, None: at once. May be called again."""
        await self._server.stop(grace)

    async def let_go(self) -> None:
        """After stop(): returns when the address is free, at the latest after LETTING_GO seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LETTING_GO):
                while self._is_bound():  # noqa: ASYNC110 - gRPC does not say when
                    await asyncio.sleep(0.005)

    def _is_bound(self) -> bool:
        path = self.address.path
        try:
            if path is not None:
                return path.lstat().st_ino == self._inode
            self.address.claim()
        except FileNotFoundError:
            return False
        except CannotListen:
            return True
        return False

    def _bind(self, address: Address) -> None:
        address.claim()
        try:
            with private_files():
                self._config.security.add_port(self._server, address.target)
        except OSError as error:
            raise CannotListen(Complaint.CERTIFICATE_UNREADABLE.text(address=address, why=error.strerror)) from None
        except RuntimeError:
            raise CannotListen(Complaint.ADDRESS_TAKEN.text(address=address)) from None
        if address.path is not None:
            self._inode = address.path.stat().st_ino
