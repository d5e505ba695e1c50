"""Which recognisers there are, by the names under which operators ask for them; each is loaded when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import Recogniser

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """What providers are told; each takes what it needs."""

    streams: int | None = None
    """At a time; None: what is usual for the provider."""
    soniox_key: str = field(default="", repr=False)
    soniox_url: str | None = None
    soniox_model: str | None = None
    soniox_per_minute: int | None = None
    vocabulary: tuple[str, ...] = ()
    """Names and words that are likely to be said, for those that can be told."""
    model: Path | None = None
    """Folder of an offline model."""
    languages: tuple[str, ...] = ("en-US",)
    """Of the offline model."""


def offline_name() -> str:
    """The best offline recogniser that this machine has. Raises UserError."""
    for name, module in (("moonshine", "moonshine_voice"), ("pocketsphinx", "pocketsphinx")):
        if find_spec(module) is not None:
            return name
    raise UserError(Complaint.NO_RECOGNISER.text(), 2)


def _offline(config: ProviderConfig) -> Recogniser:
    name = offline_name()
    if name != "moonshine":
        log.warning(
            "pocketsphinx in use", cause="Moonshine has no wheel for this machine", result="more words misheard"
        )
    return PROVIDERS[name](config)


def _moonshine(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech.moonshine import STREAMS, MoonshineRecogniser

    if find_spec("moonshine_voice") is None:
        raise UserError(
            Complaint.MOONSHINE_MISSING.text(),
            2,
        )
    return MoonshineRecogniser(config.streams or STREAMS)


def _pocketsphinx(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech.pocketsphinx import PocketsphinxRecogniser

    if find_spec("pocketsphinx") is None:
        raise UserError(Complaint.POCKETSPHINX_MISSING.text(), 2)
    return PocketsphinxRecogniser(config.streams or 8)


def _soniox(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech import soniox_protocol as wire
    from glassbridge.speech.soniox import SonioxConfig, SonioxRecogniser

    if not config.soniox_key:
        raise UserError(Complaint.SONIOX_KEY_UNSET.text(), 2)
    return SonioxRecogniser(
        SonioxConfig(
            key=config.soniox_key,
            url=config.soniox_url or wire.URL,
            model=config.soniox_model or wire.MODEL,
            vocabulary=config.vocabulary,
            streams=config.streams or wire.CONCURRENT,
            per_minute=config.soniox_per_minute or wire.PER_MINUTE,
        )
    )


def _sherpa(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech.sherpa import SherpaRecogniser

    if find_spec("sherpa_onnx") is None:
        raise UserError(Complaint.SHERPA_MISSING.text(), 2)
    if config.model is None:
        raise UserError(Complaint.SHERPA_MODEL_UNSET.text(), 2)
    return SherpaRecogniser(config.model, config.languages, config.streams or 4)


PROVIDERS: Final[dict[str, Callable[[ProviderConfig], Recogniser]]] = {
    "offline": _offline,
    "moonshine": _moonshine,
    "pocketsphinx": _pocketsphinx,
    "sherpa": _sherpa,
    "soniox": _soniox,
}
HOSTED: Final = frozenset({"soniox"})
"""Those that are elsewhere: an offline one stands by."""


def make_recogniser(name: str, config: ProviderConfig) -> Recogniser:
    """The recogniser of this name. Raises UserError, which says what is missing."""
    if name not in PROVIDERS:
        raise UserError(Complaint.RECOGNISER_UNKNOWN.text(name=name, known=", ".join(PROVIDERS)), 2)
    return PROVIDERS[name](config)
