"""Which recognisers there are, by the names under which operators ask for them; each is loaded when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import Recogniser


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """What providers are told; each takes what it needs."""

    streams: int | None = None
    """At a time; None: what is usual for the provider."""
    soniox_key: str = field(default="", repr=False)
    soniox_url: str | None = None
    soniox_model: str | None = None
    model: Path | None = None
    """Folder of an offline model."""
    languages: tuple[str, ...] = ("en-US",)
    """Of the offline model."""


def _pocketsphinx(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech.pocketsphinx import PocketsphinxRecogniser

    return PocketsphinxRecogniser(config.streams or 8)


def _soniox(config: ProviderConfig) -> Recogniser:
    from glassbridge.speech import soniox_protocol as wire
    from glassbridge.speech.soniox import SonioxConfig, SonioxRecogniser

    if not config.soniox_key:
        raise UserError("Soniox needs a key: set SONIOX_API_KEY (or see `glassbridge soniox-double`)", 2)
    return SonioxRecogniser(
        SonioxConfig(
            key=config.soniox_key,
            url=config.soniox_url or wire.URL,
            model=config.soniox_model or wire.MODEL,
            streams=config.streams or wire.CONCURRENT,
        )
    )


def _sherpa(config: ProviderConfig) -> Recogniser:
    from importlib.util import find_spec

    from glassbridge.speech.sherpa import SherpaRecogniser

    if find_spec("sherpa_onnx") is None:
        raise UserError("sherpa-onnx is not installed: pip install 'glassbridge[sherpa]'", 2)
    if config.model is None:
        raise UserError("sherpa-onnx needs a model: set GLASSBRIDGE_SHERPA_MODEL to its folder (docs/speech.md)", 2)
    return SherpaRecogniser(config.model, config.languages, config.streams or 4)


PROVIDERS: Final[dict[str, Callable[[ProviderConfig], Recogniser]]] = {
    "pocketsphinx": _pocketsphinx,
    "sherpa": _sherpa,
    "soniox": _soniox,
}


def make_recogniser(name: str, config: ProviderConfig) -> Recogniser:
    """The recogniser of this name. Raises UserError, which says what is missing."""
    if name not in PROVIDERS:
        raise UserError(f"there is no recogniser {name!r}: GLASSBRIDGE_RECOGNISER is one of {', '.join(PROVIDERS)}", 2)
    return PROVIDERS[name](config)
