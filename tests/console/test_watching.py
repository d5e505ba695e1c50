"""The console with 200 sessions: how soon it is there, and that watching for long costs nothing. Prints its figures."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from glassbridge.cloud.flight import Flight
from glassbridge.core.flight import COLUMNS
from glassbridge.telemetry.recorder import KEPT, Seconds
from tests.cloud.conftest import Stage
from tests.console.browser import DESKTOP, Browser, Page
from tests.console.conftest import ADMIN
from tests.console.crowd import crowd, user

SESSIONS = 200
LOADS = 5
WATCHED = 60.0
WARM_UP = 35.0
"""Seconds until the levels that the page keeps are 30 s of them."""
FIRST_PAINT = 1000.0
"""Milliseconds."""
SLACK = 64 << 10
"""Bytes of JavaScript: the engine's cache of numbers as text grows by 48 kB at once, to a bound of its own."""


def fill(flight: Flight | None) -> None:
    """Its quarter of an hour is over: from now on each second that comes pushes one out."""
    assert flight is not None
    now = flight.clock() // 1000
    flight.seconds = Seconds(len(COLUMNS), now - KEPT)
    for second in range(now - KEPT, now):
        for column in range(len(COLUMNS)):
            flight.seconds.add(second, column, 10 + second % 7)


async def memory(page: Page) -> tuple[int, int, int]:
    """(bytes of JavaScript, nodes, listeners) that are left after a collection."""
    for _ in range(2):
        await page.call("HeapProfiler.collectGarbage")
    metrics = {found["name"]: found["value"] for found in (await page.call("Performance.getMetrics"))["metrics"]}
    return int(metrics["JSHeapUsedSize"]), int(metrics["Nodes"]), int(metrics["JSEventListeners"])


async def first_paint(page: Page, url: str) -> tuple[float, float]:
    """Milliseconds from asking for the page to (anything, the list of sessions) on the screen, nothing cached."""
    await page.call("Network.clearBrowserCache")
    await page.go("about:blank")
    await page.until("location.href === 'about:blank'")
    await page.go(f"{url}/console")
    await page.until("document.querySelectorAll('.row').length > 5 && performance.getEntriesByName('sessions').length")
    something: float = await page.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    sessions: float = await page.run("performance.getEntriesByName('sessions')[0].startTime")
    return something, sessions


@pytest.mark.chromium
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_two_hundred_sessions(
    stage: Callable[..., Any], signed_in: Callable[[Browser, Stage], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with crowd(built, SESSIONS), Browser() as browser:
        page: Page = await signed_in(browser, built)
        await page.look(DESKTOP, dark=True)
        await page.call("Network.enable")
        paints = [await first_paint(page, built.url) for _ in range(LOADS)]
        await page.until(f"document.querySelector('.chip .number').textContent === '{SESSIONS}'")
        rows = await page.run("document.querySelectorAll('.row').length")

        for row in built.cloud.sessions.flights.rows():
            fill(built.cloud.sessions.flights.find(row["id"]))
        await page.type("#search", user(7))
        await page.until("document.querySelectorAll('.row').length === 1")
        await page.click(".row")
        await page.type("#search", "")
        await page.until("document.querySelector('.session h2').textContent.startsWith('hana7')")
        await page.call("Performance.enable")
        await asyncio.sleep(WARM_UP)
        before = await memory(page)
        begun = await page.run("performance.now()")
        await asyncio.sleep(WATCHED)
        after = await memory(page)
        seconds = (await page.run("performance.now()") - begun) / 1000
        shown = await page.text(".lane[aria-label='Cloud'] .rate")
        assert page.complaints == []
    with capsys.disabled():
        print()
        print(f"first paint, {SESSIONS} sessions, {LOADS} loads without a cache (ms): anything, the sessions")
        for something, sessions in paints:
            print(f"  {something:6.0f} {sessions:6.0f}")
        print(f"rows in the page: {rows}")
        for name, was, now in zip(("JavaScript bytes", "nodes", "listeners"), before, after, strict=True):
            print(f"{name} after {WARM_UP:.0f} s and {seconds:.0f} s more: {was} -> {now} ({now - was:+d})")
    assert min(sessions for _, sessions in paints) < FIRST_PAINT
    assert rows < 60
    assert after[0] - before[0] < SLACK
    assert after[1] <= before[1] * 1.05 + 50
    assert after[2] <= before[2] + 5
    assert "frames/s" in shown
