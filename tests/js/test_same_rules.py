"""The JavaScript phone decides as our own does: the same inputs, played to both, give the same effects, levels of
sending, routes and bytes on the wire; in Node, and in Chromium."""

import json
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from glassbridge.core.sending_levels import LEVELS, STATIC
from glassbridge.phone import coding
from tests.console.browser import Browser
from tests.js.node import PACKAGE, ROOT, run
from tests.js.vectors import SEED, Sum, vectors


class Vectors(NamedTuple):
    """As JSON has them."""

    given: str
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def played() -> Vectors:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coding, "Encoder", Sum)
        given, expected = vectors()
    return Vectors(json.dumps(given), json.loads(json.dumps(expected)))


def compare(found: dict[str, Any], played: Vectors) -> None:
    """Names the first input on which the two differ."""
    assert found.keys() == played.expected.keys()
    for kind, ours in played.expected.items():
        for number, (their, our) in enumerate(zip(found[kind], ours, strict=True)):
            if their == our:
                continue
            step = 0
            if kind in ("link", "sending"):
                step = next(i for i, (a, b) in enumerate(zip(their, our, strict=True)) if a != b)
                their, our = their[step], our[step]
            pytest.fail(f"seed {SEED}, {kind} {number}, step {step}: {their}, ours {our}")


def test_in_node(played: Vectors) -> None:
    compare(json.loads(run("node", "tests/js/play.mjs", cwd=ROOT, stdin=played.given)), played)


@pytest.mark.chromium
async def test_in_chromium(played: Vectors) -> None:
    async def given(_: web.Request) -> web.Response:
        return web.json_response(text=played.given)

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><link rel=icon href=data:,>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/given", given)
    app.router.add_static("/js/phone", PACKAGE)
    app.router.add_static("/tests/js", ROOT / "tests" / "js")
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Browser() as browser:
            tab = await browser.open(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            decided = await tab.run(
                "(async () => JSON.stringify(await (await import('/tests/js/decide.js')).decide("
                "await (await fetch('/given')).json())))()"
            )
    finally:
        await runner.cleanup()
    compare(json.loads(decided), played)


def test_they_meet_what_can_happen(played: Vectors) -> None:
    """Vectors that never leave the first state would prove nothing."""
    states = {tuple(states) for steps in played.expected["link"] for _, _, *states in steps}
    assert len(states) > 20, f"the schedules see only {states}"
    decided = [tuple(step) for run_ in played.expected["sending"] for step in run_]
    assert {name for name, *_ in decided} == {level.name for level in (STATIC, *LEVELS)}
    assert sum(doubles for _, doubles, _ in decided) > 100, "a second socket is wanted now and then"
    assert len(decided) > sum(spares for _, _, spares in decided) > 100, "or stands by"
    assert any(played.expected["tail"])
