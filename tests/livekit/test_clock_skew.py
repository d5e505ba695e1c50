"""Clocks that differ are named where a token is refused; where they agree the refusal stays what it is."""

from email.utils import formatdate
from time import time

import pytest
from aiohttp import web

from glassbridge.core.values import LossReason
from glassbridge.livekit.clock_skew import MATTERS, explain, server_time, skew_of
from glassbridge.livekit.participant import ParticipantError
from glassbridge.livekit.rooms import RoomService, RoomServiceError
from tests.support.livekit import KEYS, expired_token, future_token, token

REFUSED = ParticipantError(LossReason.TOKEN_REFUSED)
EXPIRED = ParticipantError(LossReason.TOKEN_EXPIRED)


def date(ahead: float = 0.0) -> str:
    """The server's, whose clock is so far ahead of ours."""
    return formatdate(time() + ahead, usegmt=True)


@pytest.mark.parametrize("text", [None, "", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT", "x" * 10_000])
def test_a_date_that_is_none_tells_nothing(text: str | None) -> None:
    assert server_time(text) is None
    assert skew_of(text) is None
    assert explain(REFUSED, token("ann"), text) is REFUSED


@pytest.mark.parametrize("refusal", [REFUSED, EXPIRED])
@pytest.mark.parametrize(("ahead", "words"), [(-600.0, "600 s ahead of"), (172_800.0, "172800 s behind")])
def test_a_skew_is_named_with_its_remedy(refusal: ParticipantError, ahead: float, words: str) -> None:
    found = explain(refusal, token("ann"), date(ahead))
    assert found.reason is LossReason.CLOCK_SKEW
    assert words in found.detail
    assert "NTP" in found.detail


def test_the_maker_of_a_token_may_have_the_wrong_clock() -> None:
    found = explain(REFUSED, future_token("ann"), date())
    assert found.reason is LossReason.CLOCK_SKEW
    assert "maker is 600 s ahead" in found.detail


@pytest.mark.parametrize("ahead", [0.0, MATTERS - 3, 3 - MATTERS])
def test_a_small_skew_is_no_reason(ahead: float) -> None:
    assert explain(REFUSED, token("ann"), date(ahead)) is REFUSED
    assert explain(EXPIRED, expired_token("ann"), date(ahead)) is EXPIRED
    assert explain(REFUSED, "garbage", date(ahead)) is REFUSED


def test_other_refusals_are_not_explained() -> None:
    unreachable = ParticipantError(LossReason.UNREACHABLE)
    assert explain(unreachable, token("ann"), date(600)) is unreachable


@pytest.mark.parametrize(("ahead", "words"), [(600.0, "behind LiveKit's"), (0.0, "check the API key")])
async def test_the_room_service_says_so_too(ahead: float, words: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"code": "unauthenticated"}, status=401, headers={"Date": date(ahead)})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with RoomService(f"ws://127.0.0.1:{runner.addresses[0][1]}", KEYS) as service:
        with pytest.raises(RoomServiceError, match=words):
            await service.rooms()
        assert service.skew == pytest.approx(-ahead, abs=2)
    await runner.cleanup()
