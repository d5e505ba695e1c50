"""What commands share: settings with errors that name the variable, logging, options."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
import typer.main

from glassbridge.runtime.choices import closest
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.cloud.config import CloudKeys, ExchangeConfig, IssuerConfig
    from glassbridge.core.values import UserId
    from glassbridge.livekit.tokens import LiveKitKeys
    from glassbridge.runtime.grpc_security import ChannelSecurity, ServerSecurity
    from glassbridge.settings import Settings
    from glassbridge.telemetry.config import LogConfig, SinkConfig
    from glassbridge.telemetry.redaction import Redactor

DEBUG_VARIABLE = "GLASSBRIDGE_DEBUG"

# Rich help and tracebacks would triple the time of --help; tracebacks of typer show local variables.
program = typer.Typer(
    help="Live-audio sessions for smart glasses and phones: audio that comes back.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
"""`glassbridge`; cli/main.py adds the commands."""

Security = TypeVar("Security", "ChannelSecurity", "ServerSecurity")

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
    """The settings. Raises UserError, a line for each variable that is wrong; never says what it held."""
    found, wrong = read_environment()
    if wrong:
        raise UserError("\n".join(wrong), 2)
    return found


def read_environment() -> "tuple[Settings, tuple[str, ...]]":
    """The settings, and a line for each variable that is wrong: a default stands for it."""
    from glassbridge.settings import process_settings

    found, wrong = process_settings()
    return found, wrong + unknown_names(os.environ)


def unknown_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each GLASSBRIDGE_* variable that nothing reads: a slip of the pen would else go unnoticed."""
    from glassbridge.settings import PREFIX

    known = known_names()
    return tuple(
        f"{name}: there is no such setting; {_suggestion(name, known)}"
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    )


def _suggestion(name: str, known: frozenset[str]) -> str:
    similar = closest(name, sorted(known))
    return f"did you mean {similar}?" if similar else "take it away (docs/settings.md lists what there is)"


def known_names() -> frozenset[str]:
    """Every environment variable that this program reads: the settings, and the options of all commands."""
    from glassbridge.settings import all_names

    return all_names() | {DEBUG_VARIABLE} | frozenset(_of_options(typer.main.get_command(program)))


def _of_options(command: Any) -> Iterator[str]:
    for option in command.params:
        names = option.envvar or ()
        yield from (names,) if isinstance(names, str) else names
    for part in getattr(command, "commands", {}).values():
        yield from _of_options(part)


def cloud_keys(settings: "Settings") -> "CloudKeys":
    """The secrets of a cloud."""
    from glassbridge.cloud.config import CloudKeys
    from glassbridge.livekit.tokens import LiveKitKeys

    livekit = LiveKitKeys(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
    bridge = settings.bridge_secrets[0].get_secret_value() if settings.bridge_secrets else ""
    return CloudKeys(settings.core_secrets, livekit, bridge, settings.login_secrets)


def channel_security(settings: "Settings") -> "ChannelSecurity":
    """How a cloud speaks to bridges on TCP. Raises UserError."""
    from glassbridge.runtime.grpc_security import ChannelSecurity

    security = ChannelSecurity(
        ca=str(settings.bridge_ca or ""),
        certificate=str(settings.bridge_client_cert or ""),
        key=str(settings.bridge_client_key or ""),
    )
    return _checked(security)


def server_security(settings: "Settings") -> "ServerSecurity":
    """How a bridge listens on TCP. Raises UserError."""
    from glassbridge.runtime.grpc_security import ServerSecurity

    security = ServerSecurity(
        certificate=str(settings.bridge_cert or ""),
        key=str(settings.bridge_key or ""),
        client_ca=str(settings.bridge_client_ca or ""),
        secrets=tuple(secret.get_secret_value() for secret in settings.bridge_secrets),
    )
    return _checked(security)


def _checked(security: "Security") -> "Security":
    try:
        security.check()
    except ValueError as error:
        raise UserError(str(error), 2) from None
    return security


def bridge_owners(settings: "Settings") -> frozenset[int]:
    """The users that may own the socket of a bridge. Raises UserError."""
    from glassbridge.runtime.socket_owner import own_users

    try:
        return own_users(settings.bridge_owner)
    except ValueError as error:
        raise UserError(Complaint.BRIDGE_OWNER_WRONG.text(why=error), 2) from None


def issuer_of(settings: "Settings") -> "IssuerConfig | None":
    """The issuer of core tokens; None: there is none. Raises UserError for half of one."""
    from glassbridge.cloud.config import IssuerConfig
    from glassbridge.runtime.addresses import is_on_this_machine

    wrong = []
    if not settings.has_issuer:
        return None
    if settings.jwks_url and settings.jwks_file:
        wrong.append("GLASSBRIDGE_JWKS_FILE: GLASSBRIDGE_JWKS_URL is set too: leave one of them out")
    if settings.jwks_url.startswith("http:") and not is_on_this_machine(urlsplit(settings.jwks_url).netloc):
        wrong.append("GLASSBRIDGE_JWKS_URL: keys of another machine come by https:// only")
    for name, value in (("ISSUER", settings.jwt_issuer), ("AUDIENCE", settings.jwt_audience)):
        if not value:
            wrong.append(f"GLASSBRIDGE_JWT_{name} is not set: say which tokens of that issuer are meant for this cloud")
    if settings.jwks_file and not settings.jwks_file.is_file():
        wrong.append(f"GLASSBRIDGE_JWKS_FILE: there is no file {settings.jwks_file}")
    if wrong:
        raise UserError("\n".join(wrong), 2)
    life = {} if settings.jwt_max_life is None else {"max_life": settings.jwt_max_life}
    return IssuerConfig(
        keys=settings.jwks_file or settings.jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        refresh=settings.jwks_refresh,
        **life,
    )


def exchange_of(settings: "Settings") -> "ExchangeConfig":
    """Core tokens for tokens of the login service. Raises UserError."""
    from glassbridge.cloud.config import ExchangeConfig

    if set(settings.login_secrets) & set(settings.core_secrets):
        raise UserError(
            Complaint.LOGIN_SECRET_IS_CORE.text(), 2,
        )  # fmt: skip
    return ExchangeConfig(
        issuer=settings.jwt_issuer, audience=settings.jwt_audience, life=float(settings.exchanged_token_ttl)
    )


def livekit_keys() -> "LiveKitKeys":
    """The settings' pair that signs LiveKit tokens. Raises UserError."""
    from glassbridge.livekit.tokens import LiveKitKeys

    settings = load_settings()
    return LiveKitKeys(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())


def parse_user(text: str) -> "UserId":
    """What --user names. Raises UserError."""
    from glassbridge.core.values import user_id

    try:
        return user_id(text)
    except ValueError as error:
        raise UserError(Complaint.USER_WRONG.text(why=error), 2) from None


def start_logging(service: str, level: str, fmt: str, *, ship: bool = False) -> "LogConfig":
    """Begins to log, `ship`: to the sinks of the settings too. Raises UserError for what configure() does not take."""
    from glassbridge.telemetry.logs import configure

    config = log_config(level, fmt, ship=ship)
    try:
        configure(service, config)
    except ValueError as error:
        raise UserError(str(error), 2) from None
    return config


def log_config(level: str, fmt: str, *, ship: bool) -> "LogConfig":
    """As the settings say. Raises UserError."""
    from glassbridge.telemetry.config import LogConfig, default_spool

    settings = load_settings()
    spool = settings.log_spool or default_spool()
    return LogConfig(
        level=level.lower(),
        fmt=fmt.lower(),
        secrets=settings.secrets,
        region=settings.region,
        user_key=settings.log_user_key.get_secret_value(),
        sinks=log_sinks() if ship else (),
        spool=str(spool) if spool is not None else None,
    )


def log_sinks() -> "tuple[SinkConfig, ...]":
    """The settings' sinks. Raises UserError for half of one, and for one that is none."""
    from glassbridge.telemetry.config import better_stack_sink, otlp_sink

    settings = load_settings()
    options = {"batch": settings.log_batch, "every": settings.log_every, "timeout": settings.log_timeout}
    host, token = settings.betterstack_ingesting_host, settings.betterstack_source_token.get_secret_value()
    if bool(host) != bool(token):
        raise UserError(Complaint.BETTER_STACK_HALF.text(), 2)
    collector = settings.otlp_endpoint and f"{settings.otlp_endpoint.rstrip('/')}/v1/logs"
    try:
        found = [better_stack_sink(host, token, **options)] if host else []
        if url := settings.otlp_logs_endpoint or collector:
            found.append(otlp_sink(url, settings.otlp_headers.get_secret_value(), **options))
    except ValueError as error:
        raise UserError(str(error), 2) from None
    return tuple(found)


def traces_url() -> str:
    """Where spans go; empty: nowhere, also where a collector is named for everything but the extra is missing."""
    settings = load_settings()
    if settings.otlp_traces_endpoint:
        return settings.otlp_traces_endpoint
    base = settings.otlp_endpoint.rstrip("/")
    return f"{base}/v1/traces" if base and find_spec("opentelemetry") else ""


def redactor() -> "Redactor":
    """Removes the settings' secrets, and what looks like one."""
    from glassbridge.settings import settings
    from glassbridge.telemetry.redaction import Redactor

    return Redactor(settings().secrets)
