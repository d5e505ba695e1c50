"""axe-core finds nothing to object to in the pages: each state, dark and light, on a desk and on a telephone.

With SCREENSHOTS set to a folder, a picture of each state is left there.
"""

import base64
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.conftest import Stage
from tests.console.browser import DESKTOP, SMALL, Browser, Page
from tests.console.conftest import ADMIN
from tests.console.crowd import crowd, user
from tests.js.node import install

PICTURES = os.environ.get("SCREENSHOTS", "")
"""A folder for a picture of each state; empty: none."""
FINDINGS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map(
  (rule) => `${rule.id} (${rule.impact}): ${rule.help}: ${rule.nodes.map((node) => node.target.join(" ")).join(", ")}`
))
"""

pytestmark = pytest.mark.chromium


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, as the lock file beside this names it."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "axe" / name, folder)
    install(folder)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def console_closed(page: Page, stage: Stage) -> None:
    await page.go(f"{stage.url}/console")
    await page.until("document.activeElement?.id === 'token'")


async def console_refused(page: Page, stage: Stage) -> None:
    await console_closed(page, stage)
    await page.type("#token", "not-the-admin-token")
    await page.press("Enter")
    await page.until("!document.querySelector('#refused').hidden")


async def console_open(page: Page, stage: Stage) -> None:
    await page.go(f"{stage.url}/console#token={ADMIN}")
    await page.until("document.body?.dataset.ready === 'yes'")


async def console_session(page: Page, stage: Stage) -> None:
    await console_open(page, stage)
    await page.until("document.querySelectorAll('.row').length > 0")
    await page.type("#search", user(1))
    await page.press("ArrowDown")
    await page.press("ArrowDown")
    await page.until(f"document.querySelector('.session h2')?.textContent === '{user(1)}'")


async def phone_closed(page: Page, stage: Stage) -> None:
    await page.go(f"{stage.url}/console/phone")
    await page.until("document.readyState === 'complete'")


State = tuple[str, int, Callable[[Page, Stage], Awaitable[None]]]
STATES: tuple[State, ...] = (
    ("console-closed", 0, console_closed),
    ("console-refused", 0, console_refused),
    ("console-empty", 0, console_open),
    ("console-sessions", 8, console_open),
    ("console-session", 8, console_session),
    ("phone-closed", 0, phone_closed),
)


@asynccontextmanager
async def crowded(built: Stage, size: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as clean:
        if size:
            phones = await clean.enter_async_context(crowd(built, size))
            await phones[0].close()
        yield


@pytest.mark.parametrize(("name", "size", "enter"), STATES, ids=[name for name, _, _ in STATES])
async def test_axe_has_nothing_to_object_to(
    name: str, size: int, enter: Callable[[Page, Stage], Awaitable[None]], stage: Callable[..., Any], axe: str
) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with crowded(built, size), Browser() as browser:
        page = await browser.open(f"{built.url}/console")
        for screen in (DESKTOP, SMALL):
            for dark in (True, False):
                await page.go("about:blank")
                await page.until("location.href === 'about:blank'")
                await page.look(screen, dark=dark)
                await enter(page, built)
                await page.run(axe)
                found = await page.run(FINDINGS)
                if PICTURES:
                    await picture(page, f"{name}-{screen.width}-{'dark' if dark else 'light'}")
                assert found == [], f"{name}, {screen.width} pixels wide, dark: {dark}"


async def picture(page: Page, name: str) -> None:
    shot = await page.call("Page.captureScreenshot", format="png")
    (Path(PICTURES) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
