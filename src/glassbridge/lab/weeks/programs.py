"""What runs in the processes: the whole cloud and the SDK's app server, as they are."""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from glassbridge.app.server import AppServer
from glassbridge.app.session import Session
from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import StreamTimes
from glassbridge.core.subscriptions import Permission
from glassbridge.lab.weeks import excess
from glassbridge.lab.weeks.ledger import Ledger
from glassbridge.lab.weeks.phone import PORT
from glassbridge.lab.weeks.process import Process
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.runtime.tasks import cancelled
from glassbridge.speech.base import RecogniserError, RecogniserStream, Transcript, Want
from glassbridge.wire.app_keys import hash_key, signer, signing_secret

SECRET: Final = "a secret of the simulation, long enough for HS256"  # noqa: S105 - of nobody
APP_PORT: Final = 7010
FAREWELL: Final = 0.5
"""Seconds that an app takes to end: its user may ask for it anew before."""


class NoRecogniser:
    """Phones understand by themselves here; whatever apps ask for is promised."""

    name = "none"
    times = StreamTimes()
    limits = Limits()
    stuck = 10.0
    fits: int | None = None

    def serves(self, want: Want) -> Want:
        return want

    async def open(
        self,
        _want: Want,
        _on_transcript: Callable[[Transcript], None],
        _on_lost: Callable[[RecogniserError], None],
    ) -> RecogniserStream:
        raise RecogniserError("there is no audio here")

    def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def key_of(package: str) -> str:
    """The app's API key."""
    return f"key of {package}"


def registry_of(packages: tuple[str, ...]) -> StaticRegistry:
    """All apps, each on a host of its own name."""
    return StaticRegistry(
        *(
            AppRecord(
                package=package,
                url=f"http://{package}:{APP_PORT}",
                key_hash=hash_key(key_of(package)),
                secret=signing_secret(key_of(package)),
                permissions=frozenset({Permission.ALL}),
            )
            for package in packages
        )
    )


class CloudProgram:
    """`main` of a cloud. `public` is the name that apps are told."""

    def __init__(self, packages: tuple[str, ...], public: str) -> None:
        self._packages = packages
        self._public = public
        self.cloud: Cloud | None = None
        """Of this life."""

    async def main(self, process: Process) -> None:
        """Serves until it is asked to stop."""
        config = CloudConfig(
            keys=CloudKeys((SECRET,), LiveKitKeys("key", "a secret of LiveKit that is long enough, too")),
            livekit_url="ws://livekit:7880",
            bridges=(),
            host=process.name,
            port=PORT,
            captions="",
            recorder=False,
            apps=AppsConfig(public_url=f"http://{self._public}:{PORT}"),
        )
        async with Cloud(config, NoRecogniser(), registry_of(self._packages), world=process.world) as self.cloud:
            await process.stopping.wait()


class _Server(AppServer):
    """Answers its next webhook late, or not as it should."""

    late = 0.0
    fails = False
    hindered: Callable[[], None]
    """Is told before and after such an answer."""

    async def _webhook(self, request: web.Request) -> web.Response:
        late, self.late = self.late, 0.0
        fails, self.fails = self.fails, False
        if not late and not fails:
            return await super()._webhook(request)
        self.hindered()
        await asyncio.sleep(late)
        self.hindered()
        return web.Response(status=500) if fails else await super()._webhook(request)


class AppProgram:
    """`main` of an app's server."""

    def __init__(self, package: str, ledger: Ledger, excess: tuple[str, ...] = ()) -> None:
        """`excess`: addresses of the clouds to which it sends more than its share."""
        self._package = package
        self._ledger = ledger
        self._excess = excess
        self.server: _Server | None = None
        """Of this life."""

    def answer_next(self, late: float, fails: bool) -> None:
        """The next webhook waits for its answer so many seconds, or gets 500."""
        if self.server is not None:
            self.server.late, self.server.fails = late, fails

    async def main(self, process: Process) -> None:
        """Serves until it is asked to stop."""
        server = self.server = _Server(
            self._package, key_of(self._package), host=self._package, port=APP_PORT, world=process.world
        )
        package, ledger = self._package, self._ledger
        server.hindered = lambda: ledger.hindered(package)

        @server.on_session
        def begin(session: Session) -> None:
            user = session.user_id
            ledger.began(user, package, session)
            session.on_transcription("en-US")(lambda said: ledger.heard(user, package, int(said.text)))
            session.on_moved(lambda _moved: ledger.moved(user, package))
            if self._excess:
                excess.subscribe_to_too_much(session)

        @server.on_stop
        async def end(session: Session, why: str) -> None:
            if process.running:
                ledger.ended(session.user_id, package, session, why)
                await asyncio.sleep(FAREWELL)

        async with server:
            uploading = self._excess and asyncio.create_task(self._upload(process), name="uploads")
            await process.stopping.wait()
            if uploading:
                await cancelled(uploading)

    async def _upload(self, process: Process) -> None:
        await excess.upload_for_ever(process, self._package, signer(key_of(self._package)), self._excess)
