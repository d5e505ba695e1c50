"""Naming the dead hop: every cell of the table, and what the answers amount to."""

from dataclasses import replace
from itertools import product

import pytest

from glassbridge.core.diagnosis import (
    HEARS,
    TABLE,
    Action,
    BridgeObservation,
    BridgeStatus,
    Evidence,
    Hop,
    LiveKitStatus,
    diagnose,
    hindered,
    observe_bridge,
)
from glassbridge.core.voices import Hindrance

HEARING = BridgeStatus(in_room=True, audio_age=0.2, phone_here=True)
DEAF = BridgeStatus(in_room=True, audio_age=9.0, phone_here=True)
OUT = BridgeStatus(in_room=False)
ALONE = BridgeStatus(in_room=True, audio_age=0.2, phone_here=False)
BRIDGE = {"silent": None, "out": OUT, "alone": ALONE, "deaf": DEAF, "hearing": HEARING}

COMPLETE = LiveKitStatus(agent_here=True, phone_here=True, phone_publishes=False)
NO_PHONE = LiveKitStatus(agent_here=True, phone_here=False, phone_publishes=False)
NO_AGENT = LiveKitStatus(agent_here=False, phone_here=True, phone_publishes=False)
ROOM = {"silent": None, "without agent": NO_AGENT, "without phone": NO_PHONE, "complete": COMPLETE}

GRID = """
             | silent         | without agent      | without phone     | complete
    silent   | bridge_silent  | bridge_silent      | bridge_silent     | bridge_silent
    out      | livekit_silent | bridge_not_in_room | bridge_not_in_room| bridge_not_in_room
    alone    | phone_not_in_room | phone_not_in_room | phone_not_in_room | phone_not_in_room
    deaf     | livekit_silent | bridge_not_in_room | phone_not_in_room | room_silent
    hearing  | stream_silent  | stream_silent      | phone_not_in_room | stream_silent
"""
"""What a phone that answers has: the bridge downwards, the room across."""
AFTER_A_FRESH_JOIN = {("deaf", "silent"): "phone_unheard", ("deaf", "complete"): "phone_unheard"}


def cells() -> list[tuple[str, str, str]]:
    head, *rows = (line.split("|") for line in GRID.strip("\n").splitlines())
    return [
        (row[0].strip(), room.strip(), code.strip())
        for row in rows
        for room, code in zip(head[1:], row[1:], strict=True)
    ]


def test_the_grid_holds_every_cell() -> None:
    assert {cell[:2] for cell in cells()} == set(product(BRIDGE, ROOM))


@pytest.mark.parametrize(("bridge", "room", "code"), cells())
def test_every_cell(bridge: str, room: str, code: str) -> None:
    evidence = Evidence(BRIDGE[bridge], ROOM[room])
    assert diagnose(evidence, renewed=False).code == code
    assert diagnose(evidence, renewed=True).code == AFTER_A_FRESH_JOIN.get((bridge, room), code)


@pytest.mark.parametrize(("bridge", "room", "renewed"), list(product(BRIDGE, ROOM, (False, True))))
def test_a_phone_that_answers_nowhere_is_the_dead_hop_unless_a_bridge_hears_it(
    bridge: str, room: str, renewed: bool
) -> None:
    finding = diagnose(Evidence(BRIDGE[bridge], ROOM[room], phone_answers=False), renewed=renewed)
    if bridge == "hearing":
        assert (finding.hop, finding.code, finding.action) == (Hop.STREAM, "stream_silent", Action.REJOIN)
    else:
        assert (finding.hop, finding.code, finding.action) == (Hop.PHONE, "phone_unreachable", Action.WAIT)


def test_every_row_of_the_table_is_reached_and_every_code_is_one_finding() -> None:
    reached = {
        diagnose(Evidence(bridge, room, answers), renewed=renewed)
        for bridge, room, answers, renewed in product(BRIDGE.values(), ROOM.values(), (True, False), (True, False))
    }
    assert reached == {row[-1] for row in TABLE}
    assert len({finding.code for finding in reached}) == len(reached)


@pytest.mark.parametrize(
    ("says", "looks"),
    [
        (None, BridgeObservation.SILENT),
        (OUT, BridgeObservation.OUT),
        (BridgeStatus(in_room=False, audio_age=0.1), BridgeObservation.OUT),
        (BridgeStatus(in_room=True), BridgeObservation.DEAF),
        (BridgeStatus(in_room=True, audio_age=HEARS), BridgeObservation.DEAF),
        (BridgeStatus(in_room=True, audio_age=HEARS - 0.01), BridgeObservation.HEARING),
        (ALONE, BridgeObservation.ALONE),
    ],
)
def test_what_a_bridge_looks_like(says: BridgeStatus | None, looks: BridgeObservation) -> None:
    assert observe_bridge(Evidence(says)) is looks


@pytest.mark.parametrize("hindrance", Hindrance)
def test_what_hinders_a_voice_is_the_reason_of_its_silence(hindrance: Hindrance) -> None:
    finding = hindered(hindrance, "speex")
    for says, code in ((DEAF, finding.code), (HEARING, "stream_silent"), (ALONE, "phone_not_in_room")):
        evidence = Evidence(replace(says, hindered=finding), COMPLETE)
        assert diagnose(evidence, renewed=False).code == code
    assert finding.action is Action.WAIT
    assert ("speex" in finding.text) is (hindrance is Hindrance.CODEC)


def test_nothing_at_all_known_is_a_bridge_that_does_not_answer() -> None:
    assert diagnose(Evidence(), renewed=False).code == "bridge_silent"


def test_the_codes_that_ask_the_phone_are_those_of_the_wire() -> None:
    from glassbridge.wire.phone import PHONE_REJOINS

    assert {row[-1].code for row in TABLE if row[-1].action is Action.ASK_PHONE} == PHONE_REJOINS


def test_the_codes_of_what_a_phone_can_do_are_those_of_the_wire() -> None:
    from glassbridge.core.sound_faults import FINDINGS
    from glassbridge.wire.phone import PHONE_MAY_BE_HEARD_BY_SOCKET, PHONE_REJOINS, PHONE_RESTARTS_CAPTURE

    faults = {hindered(hindrance).code for hindrance in Hindrance if hindrance is not Hindrance.MUTED}
    assert faults == PHONE_MAY_BE_HEARD_BY_SOCKET
    assert {finding.code for finding in FINDINGS.values()} == PHONE_RESTARTS_CAPTURE
    assert not PHONE_REJOINS & (PHONE_RESTARTS_CAPTURE | PHONE_MAY_BE_HEARD_BY_SOCKET), "their places are sound"
