"""What commands share: settings with errors that name the variable, logging, options."""

from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.core.values import UserId
    from glassbridge.livekit.tokens import LiveKitKeys
    from glassbridge.settings import Settings
    from glassbridge.telemetry.redaction import Redactor

LogLevel = Annotated[
    str, typer.Option("--log-level", envvar="GLASSBRIDGE_LOG_LEVEL", help="debug, info, warning or error.")
]
LogFormat = Annotated[
    str,
    typer.Option(
        "--log-format", envvar="GLASSBRIDGE_LOG_FORMAT", help="console, json, or auto: console on a terminal."
    ),
]


def load_settings() -> "Settings":
    """The settings. Raises UserError naming each variable that cannot be read; never says what it held."""
    from pydantic import ValidationError

    from glassbridge.settings import settings

    try:
        return settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(str(part['loc'][0]))}: {part['msg']}" for part in error.errors())
        raise UserError(f"the environment holds a setting that cannot be used: {wrong}", 2) from None


def _variable(location: str) -> str:
    return location if location.isupper() else f"GLASSBRIDGE_{location.upper()}"


def livekit_keys() -> "LiveKitKeys":
    """The settings' pair that signs LiveKit tokens. Raises UserError where half of it is missing."""
    from glassbridge.livekit.tokens import LiveKitKeys

    settings = load_settings()
    try:
        return LiveKitKeys(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
    except ValueError as error:
        raise UserError(str(error), 2) from None


def parse_user(text: str) -> "UserId":
    """What --user names. Raises UserError."""
    from glassbridge.core.values import user_id

    try:
        return user_id(text)
    except ValueError as error:
        raise UserError(f"--user: {error}", 2) from None


def start_logging(service: str, level: str, fmt: str) -> None:
    """Raises UserError for words that configure() does not know."""
    from glassbridge.telemetry.logs import configure

    try:
        configure(service, level.lower(), fmt.lower(), secrets=load_settings().secrets)
    except ValueError as error:
        raise UserError(str(error), 2) from None


def redactor() -> "Redactor":
    """Removes the settings' secrets; without settings that can be read, only what looks like one."""
    from glassbridge.telemetry.redaction import Redactor

    try:
        return Redactor(load_settings().secrets)
    except UserError:
        return Redactor()
