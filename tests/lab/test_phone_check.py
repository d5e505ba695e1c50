"""The examiner of phones: ours keeps all promises, the original's those that it makes; planted defects are caught."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from time import monotonic

import pytest
from aiohttp import web

from glassbridge.lab.phone_check import promises
from glassbridge.lab.phone_check.acts import Act
from glassbridge.lab.phone_check.examine import Examination, examine, play
from glassbridge.lab.phone_check.ledger import Ledger, Stretches
from glassbridge.lab.phone_check.promises import PROMISES, Promise, PromiseVerdict
from glassbridge.lab.phone_check.seen import Acknowledged, Announced, Attempt, Did, Seen, Sound
from glassbridge.lab.phone_check.stage import Server
from glassbridge.lab.phone_check.subject import ExaminedPhone, subject
from glassbridge.runtime.errors import UserError
from glassbridge.wire.audio_frames import FLAG_LAST, FrameNumber
from tests.support import faulty_phone
from tests.support.faulty_phone import Defect, DoubleOfOriginal, FaultyPhone
from tests.support.livekit import KEYS, LiveKit
from tests.support.poll import eventually

DEFECTS: Sequence[tuple[Defect, Act, str, str]] = (
    (faulty_phone.forgets_replay, Act.CUT, "replays", r"\d+ ms of \d+ ms never came again"),
    (faulty_phone.renumbers_after_reconnect, Act.CUT, "keeps-counting", r"positions went back from \d+ to \d+"),
    (faulty_phone.ignores_close_codes, Act.SUPERSEDED, "stays-superseded", r"it came 1 times within 6 s"),
    (faulty_phone.ignores_refusal, Act.REFUSED, "stays-refused", r"\d+ attempts"),
    (faulty_phone.never_waits, Act.CUT, "backs-off", r"\d{2,} attempts|more than could be counted"),
    (faulty_phone.speaks_before_ack, Act.PLAIN, "waits-for-ack", r"a binary frame of \d+ bytes on socket 1 before it"),
    (faulty_phone.never_answers_pings, Act.PLAIN, "answers-pings", r"answered never"),
    (faulty_phone.promises_no_pings, Act.PLAIN, "pings", r"its first ping does not say `every`"),
    (
        faulty_phone.says_the_end_early,
        Act.PLAIN,
        "end-is-the-end",
        r"`last` came at position \d+, and \d+ ms of the same",
    ),
    (faulty_phone.loses_last_frames, Act.PLAIN, "fills-the-end", r"the last \d+ ms never came"),
    (faulty_phone.writes_another_version, Act.PLAIN, "frames", r"frame version 1, expected 2 \(by the socket\)"),
    (faulty_phone.hides_replay, Act.CUT, "marks-replay", r"samples from position \d+ came again with flags 0"),
    (faulty_phone.is_absent, Act.PLAIN, "presence", r"nothing came for \d\.\d s"),
    (faulty_phone.counts_no_attempts, Act.CUT, "names-attempts", r"`attempt` was 1, then 1"),
)


def broken(found: Examination) -> dict[str, str]:
    return {promise.id: finding.seen for promise, finding in found.findings if finding.verdict is PromiseVerdict.BROKEN}


async def all_acts(phones: dict[Act, ExaminedPhone], server: Server | None) -> Examination:
    """One phone an act, beside each other."""
    seen = await asyncio.gather(*(play(act, phone, server) for act, phone in phones.items()))
    return Examination(PROMISES, dict(zip(phones, seen, strict=True)), "" if server else "no LiveKit")


async def test_each_planted_defect_is_caught_with_the_right_sentence() -> None:
    acts = {Act.PLAIN, Act.CUT, Act.SUPERSEDED, Act.REFUSED}
    sound, *faulty = await asyncio.gather(
        all_acts({act: FaultyPhone() for act in acts}, None),
        *(all_acts({act: FaultyPhone(defect)}, None) for defect, act, _, _ in DEFECTS),
    )
    assert broken(sound) == {}, "the same phone without a defect"
    for (defect, _, promise, sentence), found in zip(DEFECTS, faulty, strict=True):
        said = broken(found)
        assert promise in said, f"{defect.__name__}: {said}"
        assert re.search(sentence, said[promise]), f"{defect.__name__}: {said[promise]}"


@pytest.mark.slow
async def test_a_phone_that_keeps_its_dead_room_is_caught(livekit: LiveKit) -> None:
    server = Server(livekit.url, KEYS)
    ours, faulty = await asyncio.gather(
        play(Act.UNHEARD, FaultyPhone(room=True), server),
        play(Act.UNHEARD, FaultyPhone(faulty_phone.keeps_its_dead_room, room=True), server),
    )
    assert broken(Examination(PROMISES, {Act.UNHEARD: ours})) == {}
    assert broken(Examination(PROMISES, {Act.UNHEARD: faulty})) == {"renews": "took a new place never"}


@pytest.mark.slow
async def test_our_phone_keeps_all_promises(livekit: LiveKit) -> None:
    found = await all_acts({act: FaultyPhone(room=True) for act in Act}, Server(livekit.url, KEYS))
    untested = {
        promise.id: finding.seen for promise, finding in found.findings if finding.verdict is PromiseVerdict.UNTESTED
    }
    assert (broken(found), untested) == ({}, {})


@pytest.mark.slow
async def test_the_originals_phone_keeps_what_it_promises(livekit: LiveKit) -> None:
    """It numbers nothing and has no name: the promises about that are not made."""
    found = await all_acts({act: DoubleOfOriginal() for act in Act}, Server(livekit.url, KEYS))
    kept = {promise.id for promise, finding in found.findings if finding.verdict is PromiseVerdict.KEPT}
    assert broken(found) == {}
    assert {"connects", "speaks-protocol", "comes-back", "backs-off", "joins", "speaks-elder"} <= kept
    assert {"replays", "stays-superseded", "pings"} & kept == set()


PAGE = """<script type="module">
const [cloud, token] = ["cloud", "token"].map((name) => new URLSearchParams(location.search).get(name));
const socket = new WebSocket(`${cloud.replace("http", "ws")}/glasses-ws?token=${token}`);
socket.onmessage = ({data}) => {
  const said = JSON.parse(data);
  if (said.type === "connection_ack") socket.send(JSON.stringify({type: "VAD", status: true}));
  if (said.type === "microphone_state_change") socket.send(new ArrayBuffer(640));
};
</script>"""


@pytest.mark.chromium
async def test_a_page_is_a_phone_too() -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/?cloud={{url}}&token={{token}}"
        seen = await play(Act.ROOMLESS, subject([address], DEVNULL), None)
    finally:
        await runner.cleanup()
    found = Examination(PROMISES, {Act.ROOMLESS: seen}, "no LiveKit")
    kept = {promise.id for promise, finding in found.findings if finding.verdict is PromiseVerdict.KEPT}
    assert (kept, broken(found)) == ({"connects", "speaks-protocol", "speaks-by-socket"}, {})


async def test_a_command_learns_where_its_cloud_is(tmp_path: Path) -> None:
    """By placeholders and by its environment; one word is split as a shell would."""
    out = tmp_path / "said"
    script = 'printf "%s %s %s %s" "$1" "$2" "$GLASSBRIDGE_CLOUD" "$GLASSBRIDGE_TOKEN" > "$0"'
    for words in (["sh", "-c", script, str(out), "{url}", "{token}"], [f"sh -c '{script}' {out} {{url}} {{token}}"]):
        phone = subject(words, DEVNULL)
        await phone.start("http://127.0.0.1:1", "secret")
        await eventually(
            lambda: out.is_file() and out.read_text() == "http://127.0.0.1:1 secret http://127.0.0.1:1 secret"
        )
        await phone.stop()
        out.unlink()


async def test_a_command_that_ends_at_once_is_told_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassbridge.lab.phone_check.examine.COMES_WITHIN", 1.0)
    found = await examine(subject(["sh", "-c", "exit 7"], DEVNULL), None)
    assert broken(found) == {
        "connects": "it never asked for a socket; it ended by itself with status 7 (--output shows what it wrote)"
    }
    assert list(found.acts) == [Act.PLAIN], "the others were not played"


async def test_what_cannot_be_started_says_so() -> None:
    with pytest.raises(UserError, match="cannot run no-such-phone: No such file or directory; give the command"):
        await subject(["no-such-phone"], DEVNULL).start("", "")


def test_a_phone_that_never_comes_is_broken() -> None:
    only = [promise for promise in PROMISES if promise.id in ("connects", "stays-refused")]
    found = Examination(only, {Act.REFUSED: Seen("refused")})
    assert [finding.verdict for _, finding in found.findings] == [PromiseVerdict.BROKEN, PromiseVerdict.UNTESTED]
    assert not found.holds


# ---- the judges


def sample_frame(
    at: float, position: int, samples: int = 1600, *, value: int = 0, flags: int = 0, **more: object
) -> Sound:
    number = FrameNumber(7, position, position * 1_000_000 // 16_000, flags)
    return Sound(at, "socket", 1, True, number, bytes((value, 0)) * samples, **more)  # type: ignore[arg-type]


def finding(name: str, *records: object) -> promises.Finding:
    seen = Seen("plain", list(records))  # type: ignore[arg-type]
    return next(promise for promise in PROMISES if promise.id == name).judge(seen)


def test_two_samples_at_one_place_are_seen() -> None:
    assert finding("one-sample-a-place", sample_frame(0, 0), sample_frame(1, 800)).verdict is PromiseVerdict.KEPT
    said = finding("one-sample-a-place", sample_frame(0, 0), sample_frame(1, 800, value=1))
    assert (said.verdict, said.seen) == (PromiseVerdict.BROKEN, "position 800 of an epoch held two different samples")


def test_last_before_a_pause_is_the_end() -> None:
    pause = sample_frame(3, 1600)
    later = FrameNumber(7, 1600, 3_000_000)
    after = Sound(3, "socket", 1, True, later, pause.payload)
    assert finding("end-is-the-end", sample_frame(0, 0, flags=FLAG_LAST), after).verdict is PromiseVerdict.KEPT
    assert finding("end-is-the-end", sample_frame(0, 0, flags=FLAG_LAST), pause).verdict is PromiseVerdict.BROKEN


def test_a_request_that_an_http_library_repeats_is_no_new_attempt() -> None:
    def attempts(*numbers: tuple[str, int | None]) -> promises.Finding:
        made = (Attempt(0, {"phone": "a", "attempt": number}, True, socket) for number, socket in numbers)
        return finding("names-attempts", *made)

    assert attempts(("1", 1), ("2", None), ("2", None), ("3", 2)).verdict is PromiseVerdict.KEPT
    assert attempts(("1", 1), ("1", 2)).verdict is PromiseVerdict.BROKEN
    assert attempts(("2", None), ("1", 1)).verdict is PromiseVerdict.BROKEN


def test_audio_before_the_acknowledgement_is_seen() -> None:
    assert finding("waits-for-ack", Acknowledged(1, 1, True, ()), sample_frame(2, 0)).verdict is PromiseVerdict.KEPT
    assert finding("waits-for-ack", sample_frame(0.5, 0), Acknowledged(1, 1, True, ())).verdict is PromiseVerdict.BROKEN


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.id)
def test_a_judge_who_saw_nothing_says_so(promise: Promise) -> None:
    """Nothing is kept, or broken, by a phone that was not seen."""
    assert promise.judge(Seen("empty")).verdict is PromiseVerdict.UNTESTED or promise.id in ("pings", "stays-refused")


def test_promises_follow_from_what_a_phone_announces() -> None:
    promise = next(promise for promise in PROMISES if promise.id == "replays")
    found = promises.judge(promise, {Act.CUT: Seen("cut")}, Announced(sockets=True))
    assert (found.verdict, found.seen) == (PromiseVerdict.UNTESTED, "it does not number its audio (`audio=2`)")


def test_a_flood_is_bounded_and_told() -> None:
    seen = Seen("cut", overflow=3)
    seen.note(Did(monotonic(), "cut"))
    found = promises.judge(
        next(one for one in PROMISES if one.id == "backs-off"), {Act.CUT: seen}, Announced(sockets=True)
    )
    assert found.verdict is PromiseVerdict.BROKEN
    assert found.seen.startswith("more than could be counted")


def test_a_ledger_names_what_is_missing() -> None:
    ledger = Ledger(100)
    for start, stop in ((100, 200), (300, 400), (350, 500), (600, 700)):
        ledger.take(start, stop)
    ledger.reach(800)
    assert (ledger.position, ledger.missing) == (200, ((200, 300), (500, 600), (700, 800)))
    ledger.take(200, 300)
    assert ledger.position == 500


def test_stretches_that_touch_are_one() -> None:
    stretches = Stretches()
    for start, stop in ((10, 20), (30, 40), (0, 5), (20, 30), (50, 50)):
        stretches.add(start, stop)
    assert stretches.known == [(0, 5), (10, 40)]
    assert stretches.without(0, 45) == [(5, 10), (40, 45)]
