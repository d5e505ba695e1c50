"""A real Chromium, driven by its DevTools protocol: `async with Browser(...) as browser`, `await browser.open(url)`.

Everything that a page complains about (exceptions, refused by its Content-Security-Policy, files that are not there) is
kept in `Page.complaints`.
"""

import asyncio
import base64
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp

from glassbridge.runtime.child import Child
from tests.support.patience import deadline
from tests.support.poll import eventually

CHROMIUM = shutil.which("chromium")
START_TIMEOUT = 30.0
CALL_TIMEOUT = 20.0

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
)


class PageError(Exception):
    """A script of ours threw in the page."""


class Screen(NamedTuple):
    """In pixels of CSS."""

    width: int
    height: int
    scale: float = 1.0


DESKTOP, SMALL = Screen(1280, 860), Screen(390, 844, 2.0)


class Page:
    """One tab."""

    def __init__(self, browser: "Browser", session: str, target: str) -> None:
        self.complaints: list[str] = []
        self._browser = browser
        self._session = session
        self._target = target

    async def call(self, method: str, **params: Any) -> Any:
        """A DevTools command to this tab."""
        return await self._browser.call(method, self._session, **params)

    async def go(self, url: str) -> None:
        """Another address in the same tab."""
        await self.call("Page.navigate", url=url)

    async def reload(self) -> None:
        """The same address anew; returns when the former document is gone and the new one is read."""
        await self.run("globalThis.former = true")
        await self.call("Page.reload")
        await self.until("!globalThis.former && document.readyState === 'complete'")

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited when it is a promise. Raises PageError."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if (thrown := answer.get("exceptionDetails")) is not None:
            raise PageError(thrown.get("exception", {}).get("description") or thrown["text"])
        return answer["result"].get("value")

    async def until(self, script: str, within: float = 10.0, every: float = 0.05) -> Any:
        """Waits until an expression is true, and returns it; names what it was instead when it never is."""
        found: list[Any] = []

        async def holds() -> bool | str:
            found[:] = [await self.run(script)]
            return bool(found[0]) or f"{script} is {found[0]!r}; complaints: {self.complaints}"

        await eventually(holds, within, every)
        return found[0]

    async def text(self, selector: str) -> str:
        """The text that is shown there."""
        found: str = await self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    async def click(self, selector: str) -> None:
        """Clicks; the element must be there."""
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, selector: str, text: str) -> None:
        """Puts text into a field as typing does."""
        await self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus();"
            f" field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )

    async def press(self, key: str, code: str = "") -> None:
        """A key, down and up, wherever the focus is."""
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        virtual = {
            "Tab": 9,
            "Enter": 13,
            "Escape": 27,
            "ArrowDown": 40,
            "ArrowUp": 38,
            "ArrowLeft": 37,
            "ArrowRight": 39,
        }.get(key, 0)
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": virtual}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def look(self, screen: "Screen", *, dark: bool) -> None:
        """What the page is shown on, and the colours that the person prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=screen.scale,
            mobile=screen is SMALL,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        """What is on the screen, as PNG, once nothing changes its colour any more."""
        await self.until("document.getAnimations().every((one) => one instanceof CSSAnimation)")
        shot = await self.call("Page.captureScreenshot", format="png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def close(self) -> None:
        await self._browser.call("Target.closeTarget", targetId=self._target)

    def on_event(self, method: str, params: Any) -> None:
        """Keeps complaints."""
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}".strip())
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.complaints.append(
                    " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"])
                )


class Browser:
    """One run of Chromium with an empty profile. `microphone`: a WAV that it speaks, again and again."""

    def __init__(self, microphone: Path | None = None) -> None:
        self._microphone = microphone
        self._folder = tempfile.TemporaryDirectory(prefix="glassbridge-chromium-", ignore_cleanup_errors=True)
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self.events: defaultdict[str, int] = defaultdict(int)

    async def __aenter__(self) -> Self:
        assert CHROMIUM is not None
        flags = [*FLAGS, f"--user-data-dir={self._folder.name}"]
        if self._microphone is not None:
            flags += [
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={self._microphone}",
            ]
        null = asyncio.subprocess.DEVNULL
        self._child = await Child.start([CHROMIUM, *flags, "about:blank"], stdout=null, stderr=null)
        try:
            port_file = Path(self._folder.name, "DevToolsActivePort")

            def listens() -> bool | str:
                if self._child.returncode is not None:
                    return f"chromium has ended with {self._child.returncode}"
                return (port_file.exists() and port_file.read_text().count("\n") >= 1) or "chromium does not listen"

            await eventually(listens, START_TIMEOUT)
            port, path = port_file.read_text().split()
            self._http = aiohttp.ClientSession()
            self._ws = await self._http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0)
            self._reader = asyncio.create_task(self._read())
        except BaseException:
            await self._child.stop(1.0)
            self._folder.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.wait((self._reader,))
        await self._ws.close()
        await self._http.close()
        await self._child.stop(3.0)
        self._folder.cleanup()

    async def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """A DevTools command. Raises PageError when it is refused."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self._ws.send_json(command | ({"sessionId": session} if session else {}))
        try:
            async with deadline(CALL_TIMEOUT):
                return await answer
        finally:
            del self._answers[number]

    async def open(self, url: str, prepare: Callable[[Page], Any] | None = None) -> Page:
        """A new tab; `prepare` is awaited before it goes to `url`."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        if prepare is not None:
            await prepare(page)
        await page.go(url)
        await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    async def _read(self) -> None:
        async for message in self._ws:
            said = json.loads(message.data)
            if (waiting := self._answers.get(said.get("id"))) is not None:
                if not waiting.done():
                    error = said.get("error")
                    waiting.set_exception(PageError(error["message"])) if error else waiting.set_result(said["result"])
            elif (page := self._pages.get(said.get("sessionId", ""))) is not None:
                page.on_event(said["method"], said.get("params"))
