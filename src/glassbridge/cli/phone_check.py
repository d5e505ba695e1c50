"""`glassbridge phone-check`: which of the documented promises a phone keeps."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import start_logging
from glassbridge.cli.lab import Progress
from glassbridge.cli.programs import ParticipantName
from glassbridge.cli.together import stack_config, until_signal
from glassbridge.runtime.choices import require_known

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from glassbridge.lab.phone_check.examine import Examination
    from glassbridge.lab.phone_check.promises import Promise
    from glassbridge.lab.phone_check.stage import Server

INTERRUPTED = 130
NO_LIVEKIT = "none"


def phone_check(
    subject: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND|URL",
            help="What starts the phone; after -- where it has options. {url} and {token} become the cloud's URL and "
            "the core token; they are in GLASSBRIDGE_CLOUD and GLASSBRIDGE_TOKEN, too. A URL is opened in a browser.",
        ),
    ],
    livekit: Annotated[
        str,
        typer.Option(
            help="real, embedded (a stand-in in Python), none (audio by the socket only), or auto: real where a "
            "livekit-server is at hand, else embedded."
        ),
    ] = "auto",
    browser: Annotated[str, typer.Option(help="What opens a URL: chromium or firefox.")] = "chromium",
    only: Annotated[list[str] | None, typer.Option(help="Only this promise; may be repeated.")] = None,
    output: Annotated[bool, typer.Option("--output", help="Show what the phone writes, on standard error.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each promise.")] = False,
) -> None:
    """Examine a phone: play its cloud and its LiveKit, break things, say which promises it keeps.

    Exit status 0 if none is broken, 1 if one is, 2 if nothing could be examined.
    """  # fmt: skip
    start_logging("phone-check", "error", "auto")
    raise typer.Exit(until_signal(_examine(subject, browser, livekit, only or [], output, json), stopped=INTERRUPTED))


async def _examine(words: list[str], browser: str, livekit: str, only: list[str], output: bool, json: bool) -> int:
    from contextlib import AsyncExitStack
    from subprocess import DEVNULL

    from glassbridge.lab.phone_check.examine import examine
    from glassbridge.lab.phone_check.subject import Browser, subject

    require_known("--browser", [browser], [one.value for one in Browser])
    promises = _chosen(only)
    progress = Progress()
    async with AsyncExitStack() as clean:
        phone = subject(words, sys.stderr.fileno() if output else DEVNULL, Browser(browser))
        server = await _server(livekit, clean, progress)
        found = await examine(phone, server, promises, progress.say)
    progress.clear()
    return _report(found, json)


def _chosen(only: list[str]) -> "list[Promise]":
    """Raises UserError."""
    from glassbridge.lab.phone_check.promises import PROMISES

    known = {promise.id: promise for promise in PROMISES}
    require_known("--only", only, known)
    return [known[name] for name in only] or list(PROMISES)


async def _server(livekit: str, clean: "AsyncExitStack", progress: Progress) -> "Server | None":
    """Raises UserError."""
    from secrets import token_urlsafe

    from glassbridge.lab.phone_check.stage import Server
    from glassbridge.livekit.binary import find_binary, provide_binary
    from glassbridge.livekit.tokens import LiveKitKeys

    if livekit == NO_LIVEKIT:
        return None
    require_known("--livekit", [livekit], ("auto", "real", "embedded", NO_LIVEKIT))
    config = stack_config(livekit, ParticipantName.OWN)
    keys = LiveKitKeys("phone-check", token_urlsafe(32))
    binary = None
    if livekit != "embedded":
        wanted = config.livekit_bin
        binary = await provide_binary(wanted, progress.say) if livekit == "real" else find_binary(wanted)
    if binary is None:
        from glassbridge.livekit.embedded import EmbeddedLiveKit

        return Server((await clean.enter_async_context(EmbeddedLiveKit(keys))).url, keys)
    from glassbridge.livekit.server import LiveKitServer

    return Server((await clean.enter_async_context(LiveKitServer(binary, keys))).url, keys)


def _report(found: "Examination", json: bool) -> int:
    """One line a promise; the exit status."""
    from collections import Counter

    from glassbridge.lab.phone_check.promises import PromiseVerdict

    counts: Counter[PromiseVerdict] = Counter()
    for promise, finding in found.findings:
        counts[finding.verdict] += 1
        if json:
            line = {"promise": promise.id, "verdict": finding.verdict.value.casefold(), "expected": promise.text,
                    "seen": finding.seen, "source": promise.source}  # fmt: skip
            print(json_module.dumps(line))
            continue
        head = f"{finding.verdict.value:10}  {promise.id:20}  {promise.text}"
        match finding.verdict:
            case PromiseVerdict.KEPT:
                print(head + (f" [{finding.seen}]" if finding.seen else ""))
            case PromiseVerdict.BROKEN:
                print(f"{head} Seen: {finding.seen}. See {promise.source}")
            case PromiseVerdict.UNTESTED:
                print(f"{head} Why: {finding.seen}")
    told = ", ".join(f"{counts[verdict]} {verdict.value.casefold()}" for verdict in PromiseVerdict)
    print(told, file=sys.stderr)
    if not counts[PromiseVerdict.KEPT] and not counts[PromiseVerdict.BROKEN]:
        return 2
    return 1 if counts[PromiseVerdict.BROKEN] else 0
