"""Recognisers: the one that the settings ask for, and `glassbridge soniox-double`, for development without a key."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import LogFormat, LogLevel, start_logging
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.listen import CannotListen, cannot_listen

if TYPE_CHECKING:
    from glassbridge.settings import Settings
    from glassbridge.speech.base import Recogniser


def chosen_recogniser(settings: "Settings", *, alone: bool = False) -> "Recogniser":
    """What the settings ask for; `alone`: without the one that stands by.

    Raises UserError, which says what is missing.
    """
    from glassbridge.speech.base import RecogniserError, Want
    from glassbridge.speech.providers import HOSTED, ProviderConfig, make_recogniser

    config = ProviderConfig(
        streams=settings.recognisers,
        soniox_key=settings.soniox_api_key.get_secret_value(),
        soniox_url=settings.soniox_endpoint,
        soniox_model=settings.soniox_model,
        soniox_per_minute=settings.soniox_per_minute,
        vocabulary=tuple(part.strip() for part in settings.vocabulary.split(",") if part.strip()),
        model=settings.sherpa_model,
        languages=tuple(part.strip() for part in settings.sherpa_languages.split(",") if part.strip()),
    )
    recogniser = make_recogniser(settings.recogniser, config)
    if settings.recogniser in HOSTED and not alone and settings.standby != "none":
        from glassbridge.speech.standby import StandbyRecogniser

        recogniser = StandbyRecogniser(recogniser, make_recogniser(settings.standby, ProviderConfig()))
    try:
        if settings.captions:
            recogniser.serves(Want(settings.captions))
    except RecogniserError as error:
        raise UserError(Complaint.CAPTIONS_WRONG.text(language=settings.captions, why=error), 2) from None
    return recogniser


def soniox_double(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8765,
    script: Annotated[
        str,
        typer.Option(
            help="What it understands, a word each 300 ms; empty: what the offline recogniser makes of the audio."
        ),
    ] = "",
    fault: Annotated[
        str,
        typer.Option(
            help="How streams go wrong: 401, 408, 429@3 (after 3 s), drop@2x1 (once), normal, mute, half-open."
        ),
    ] = "",
    lag: Annotated[float, typer.Option(min=0.0, help="Seconds by which every answer is late.")] = 0.0,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
) -> None:
    """Be Soniox on this machine: the documented WebSocket, any key, and every way to fail; Ctrl-C stops it."""
    start_logging("soniox-double", log_level, log_format)
    from glassbridge.speech.soniox_double import Fault

    try:
        planned = Fault.parse(fault) if fault else None
    except ValueError:
        raise UserError(Complaint.FAULT_UNKNOWN.text(fault=fault), 2) from None
    asyncio.run(_serve(port, script, planned, lag))


async def _serve(port: int, script: str, fault: object, lag: float) -> None:
    from glassbridge.runtime.signals import stop_on_signals
    from glassbridge.speech.providers import ProviderConfig, make_recogniser
    from glassbridge.speech.soniox_double import Fault, SonioxDouble
    from glassbridge.speech.soniox_words import SCRIPT

    async with AsyncExitStack() as stack:
        recogniser = None
        if not script:
            recogniser = make_recogniser("offline", ProviderConfig())
            stack.push_async_callback(recogniser.close)
            recogniser.warm_up()
        double = SonioxDouble(script=script or SCRIPT, recogniser=recogniser, port=port)
        double.lag = lag
        double.misbehave(fault if isinstance(fault, Fault) else None)
        try:
            await stack.enter_async_context(double)
        except OSError as error:
            raise CannotListen(cannot_listen(f"127.0.0.1:{port}", error)) from None
        print(
            f"""a double of Soniox listens; Ctrl-C stops it. In another terminal:
  GLASSBRIDGE_RECOGNISER=soniox SONIOX_API_KEY=any SONIOX_ENDPOINT={double.url} glassbridge dev
Let it fail from the next stream on (nothing: behave again):
  curl -d 'drop@2' http://127.0.0.1:{double.port}/faults""",
            flush=True,
        )
        with stop_on_signals() as stop:
            await stop.wait()
