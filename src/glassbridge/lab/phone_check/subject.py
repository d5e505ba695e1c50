"""The phone that is examined: a command, or a page that a browser opens."""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from glassbridge.runtime.child import Child
from glassbridge.runtime.errors import UserError

GRACE: Final = 3.0
CHROMIUM_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
FIREFOX_PREFERENCES: Final = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.peerconnection.ice.loopback": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
URL, TOKEN = "{url}", "{token}"


class Browser(StrEnum):
    """The browsers that can open the page of a phone."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"


def _chromium(profile: Path) -> list[str]:
    return [*CHROMIUM_FLAGS, f"--user-data-dir={profile}"]


def _firefox(profile: Path) -> list[str]:
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in FIREFOX_PREFERENCES.items())
    (profile / "user.js").write_text("\n".join(lines))
    return ["--headless", "--no-remote", "--profile", str(profile)]


class _Program(NamedTuple):
    """How a browser is started with an empty profile and a microphone that beeps."""

    names: tuple[str, ...]
    package: str
    """Of Debian."""
    flags: Callable[[Path], list[str]]


_PROGRAMS: Final = {
    Browser.CHROMIUM: _Program(("chromium", "chromium-browser", "google-chrome"), "chromium", _chromium),
    Browser.FIREFOX: _Program(("firefox-esr", "firefox"), "firefox-esr", _firefox),
}


class ExaminedPhone(Protocol):
    """What is examined; started for each act."""

    async def start(self, url: str, token: str) -> None:
        """It is to connect to the cloud at `url`. Raises UserError where it cannot be started."""

    async def stop(self) -> int | None:
        """Ends it; idempotent. Returns the exit status with which it had ended by itself; None: it had not."""


class Command:
    """`argv` is run once an act. `{url}` and `{token}` in it are replaced; both are in its environment, too, as
    GLASSBRIDGE_CLOUD and GLASSBRIDGE_TOKEN. `output`: descriptor that gets what it writes."""

    def __init__(self, argv: list[str], output: int) -> None:
        self._argv = argv
        self._output = output
        self._child: Child | None = None

    async def start(self, url: str, token: str) -> None:
        """Raises UserError."""
        argv = [part.replace(URL, url).replace(TOKEN, token) for part in self._argv]
        env = os.environ | {"GLASSBRIDGE_CLOUD": url, "GLASSBRIDGE_TOKEN": token}
        try:
            self._child = await Child.start(argv, env=env, stdout=self._output, stderr=self._output)
        except OSError as error:
            raise UserError(
                f"cannot run {argv[0]}: {error.strerror}; give the command that starts the phone", 2
            ) from None

    async def stop(self) -> int | None:
        """Ends it."""
        child, self._child = self._child, None
        if child is None:
            return None
        status = child.returncode
        await child.stop(GRACE)
        return status


class Page:
    """A page in a browser of its own; its address has the placeholders of a Command."""

    def __init__(self, address: str, output: int, browser: Browser) -> None:
        program = _PROGRAMS[browser]
        found = next(filter(None, map(shutil.which, program.names)), None)
        if found is None:
            name = browser.value.capitalize()
            raise UserError(f"this page needs {name}: install it (Debian: apt-get install {program.package})", 2)
        self._browser, self._flags = found, program.flags
        self._address = address
        self._output = output
        self._command: Command | None = None
        self._profile: tempfile.TemporaryDirectory[str] | None = None

    async def start(self, url: str, token: str) -> None:
        """Raises UserError."""
        self._profile = tempfile.TemporaryDirectory(prefix="glassbridge-phone-check-", ignore_cleanup_errors=True)
        flags = self._flags(Path(self._profile.name))
        self._command = Command([self._browser, *flags, self._address], self._output)
        await self._command.start(url, token)

    async def stop(self) -> int | None:
        """Ends the browser."""
        status = await self._command.stop() if self._command is not None else None
        if self._profile is not None:
            with suppress(OSError):
                self._profile.cleanup()
        return status


def subject(words: list[str], output: int, browser: Browser = Browser.CHROMIUM) -> ExaminedPhone:
    """A URL is a page for the browser, all else a command; one word with spaces is split as a shell would. Raises
    UserError."""
    if len(words) == 1 and words[0].startswith(("http://", "https://")):
        return Page(words[0], output, browser)
    argv = shlex.split(words[0]) if len(words) == 1 else words
    if not argv:
        raise UserError("give the command that starts the phone, or the URL of its page", 2)
    return Command(argv, output)
