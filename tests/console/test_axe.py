"""axe-core finds nothing to object to in the pages: each state, dark and light, on a desk and on a telephone.

A picture of each is left in out/console.
"""

import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glassbridge.lab import clips
from tests.cloud.conftest import Stage
from tests.console.browser import DESKTOP, SMALL, Browser
from tests.console.conftest import ADMIN
from tests.console.states import STATES, State, development, stands
from tests.console.test_end_to_end import OUT
from tests.js.node import install

FINDINGS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map(
  (rule) => `${rule.id} (${rule.impact}): ${rule.help}: ${rule.nodes.map((node) => node.target.join(" ")).join(", ")}`
))
"""
CLIPPED = """
[...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
  && !one.closest(".sr, .row, .track, canvas, svg, input") && !one.matches(".sr")
  && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible"
  && getComputedStyle(one).overflowX !== "auto").map((one) => one.outerHTML.slice(0, 120))
"""
"""Text that goes on where nobody can read it."""
QUICK = "console-dead"
"""The one that each run looks at; the others are slow."""
WIDER = "document.documentElement.scrollWidth > innerWidth"

pytestmark = pytest.mark.chromium


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, as the lock file beside this names it."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "axe" / name, folder)
    install(folder)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize(
    "state",
    [pytest.param(state, marks=() if state.name == QUICK else pytest.mark.slow, id=state.name) for state in STATES],
)
async def test_axe_has_nothing_to_object_to(state: State, stage: Callable[..., Any], axe: str) -> None:
    async with AsyncExitStack() as clean:
        options = await clean.enter_async_context(development()) if state.development else {}
        built: Stage = await stage(admin_token=ADMIN, **options)
        await clean.enter_async_context(stands(state, built))
        browser = await clean.enter_async_context(Browser(microphone=clips.wav()))
        page = await browser.open(f"{built.url}/console")
        for screen in (DESKTOP, SMALL):
            for dark in (True, False):
                where = f"{state.name}, {screen.width} pixels wide, dark: {dark}"
                await page.go("about:blank")
                await page.until("location.href === 'about:blank'")
                await page.look(screen, dark=dark)
                await state.enter(page, built)
                await page.screenshot(OUT / f"{state.name}-{screen.width}-{'dark' if dark else 'light'}.png")
                await page.run(axe)
                assert await page.run(FINDINGS) == [], where
                assert not await page.run(WIDER), where
                assert await page.run(CLIPPED) == [], where
