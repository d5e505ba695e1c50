"""`glassbridge cloud`, `glassbridge bridge`, `glassbridge phone`: the three programs."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.cluster import check_told, cluster_of, directory_of, is_alone_in_cluster
from glassbridge.cli.common import (
    LogFormat,
    LogLevel,
    bridge_owners,
    channel_security,
    cloud_keys,
    exchange_of,
    issuer_of,
    load_settings,
    server_security,
    start_logging,
    traces_url,
)
from glassbridge.cli.shared import CLUSTER, shared_of
from glassbridge.cli.speech import chosen_recogniser
from glassbridge.cli.starting import DevelopmentOption, Start
from glassbridge.runtime.addresses import UNIX, is_on_this_machine
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.socket_owner import is_shared

if TYPE_CHECKING:
    from glassbridge.cloud.apps.registry import Registry
    from glassbridge.speech.voice import Voice


class ParticipantName(StrEnum):
    """Our own LiveKit participant, or the official SDK's."""

    OWN = "own"
    SDK = "sdk"


class TransportName(StrEnum):
    """How microphone audio travels."""

    DATA = "data"
    TRACK = "track"
    WEBSOCKET = "websocket"


class AudioForm(StrEnum):
    """With sample numbers, coded where the network demands it; the same, but always PCM; or as the original's phones
    send it."""

    NUMBERED = "numbered"
    PCM = "pcm"
    PLAIN = "plain"


ParticipantOption = Annotated[
    ParticipantName, typer.Option("--participant", help="LiveKit participant: our own, or the official SDK's.")
]


MetricsHost = Annotated[
    str,
    typer.Option(envvar="GLASSBRIDGE_METRICS_HOST", help="Address of --metrics-port; keep it private."),
]


def cloud(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for phones on other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8002,
    record: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for one WAV a session: what the recogniser was fed.")
    ] = None,
    apps: Annotated[
        Path | None,
        typer.Option(
            envvar="GLASSBRIDGE_APPS",
            dir_okay=False,
            help="Registry of apps (see `glassbridge apps`); `cluster`: that of all clouds.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="GLASSBRIDGE_CLOUD_METRICS_PORT",
            min=0,
            max=65535,
            help="Serve /metrics here without a token; 0 takes a free port. On --port it needs the admin token.",
        ),
    ] = None,
    metrics_host: MetricsHost = "127.0.0.1",
    development: DevelopmentOption = False,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
) -> None:
    """Run the cloud: phone socket, sessions, captions, apps; drives the bridges."""
    start = Start(development)
    settings = start.settings
    start.listen("--host", host)
    if metrics_port is not None:
        start.listen("--metrics-host", metrics_host)
    start.judge(settings.weak_secrets())
    registry = start.attempt(lambda: _registry(apps))
    recogniser = start.attempt(lambda: chosen_recogniser(settings))
    issuer = start.attempt(lambda: issuer_of(settings))
    exchange = start.attempt(lambda: exchange_of(settings))
    cluster = start.attempt(lambda: cluster_of(settings))
    if cluster is not None and start.listen("GLASSBRIDGE_CLUSTER_ADDRESS", cluster[0].host):
        start.note(
            "hand-overs between clouds carry what was said, signed but not encrypted: keep their network private"
        )
    if cluster is not None and is_alone_in_cluster(settings):
        start.note(
            f"GLASSBRIDGE_CLUSTER_ADDRESS={settings.cluster_address}: clouds on other machines cannot reach this one "
            "there, so that their users cannot bring their sessions along; set it to an address that they can reach"
        )
    shared = start.attempt(lambda: shared_of(settings, cluster and cluster[1], apps))
    security, owners = start.attempt(lambda: channel_security(settings)), start.attempt(lambda: bridge_owners(settings))
    _require_safe_bridges(start)
    start.attempt(lambda: start_logging("cloud", log_level, log_format, ship=True))
    start.warn()
    assert recogniser is not None
    assert exchange is not None
    assert security is not None
    assert owners is not None
    from glassbridge.cloud.app import run
    from glassbridge.cloud.apps_config import (
        SPEECH_OF_APP,
        SPEECH_OF_USER,
        STARTS,
        STARTS_OF_ONE,
        AppsConfig,
        SocketRates,
    )
    from glassbridge.cloud.config import CloudConfig
    from glassbridge.telemetry.tracing import tracing

    config = CloudConfig(
        keys=cloud_keys(settings),
        issuer=issuer,
        exchange=exchange,
        token_max_life=settings.jwt_max_life,
        livekit_url=settings.livekit_url,
        livekit_public_url=settings.livekit_public_url,
        bridges=settings.bridge_targets(),
        bridge_security=security,
        far_bridges=development or settings.knows_far_bridges,
        bridge_owners=owners,
        admin_token=settings.admin_token.get_secret_value(),
        former_admin_tokens=tuple(token.get_secret_value() for token in settings.admin_tokens[1:]),
        host=host,
        port=port,
        address=settings.cloud_address,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        connections=settings.connection_limits,
        trusted_proxies=settings.trusted_proxies,
        allowed_origins=settings.allowed_origins,
        record=record,
        dev_control=settings.dev_control,
        captions=settings.captions,
        recorder=settings.recorder,
        tap=settings.tap,
        client_token_ttl=settings.livekit_client_token_ttl,
        agent_token_ttl=settings.livekit_agent_token_ttl,
        grace=settings.grace,
        drain=settings.drain,
        drain_delay=settings.drain_delay,
        rebalance=settings.rebalance,
        max_sessions=settings.max_sessions,
        max_text=settings.max_text_bytes,
        max_binary=settings.max_binary_bytes,
        phone_rates=SocketRates(settings.phone_messages, settings.phone_bytes),
        apps=AppsConfig(
            public_url=settings.apps_find_us_at,
            store=settings.store or (apps and apps.with_suffix(".store.db")),
            store_bytes=settings.store_mb << 20,
            rates=SocketRates(settings.app_messages, settings.app_bytes),
            unsigned_per_address=settings.unsigned_apps_per_address,
            starts=replace(STARTS, per_second=settings.app_starts / 60),
            starts_of_one=replace(STARTS_OF_ONE, per_second=settings.app_restarts / 60),
            speech_of_user=replace(SPEECH_OF_USER, per_second=settings.speech_texts / 60),
            speech_of_app=replace(SPEECH_OF_APP, per_second=settings.app_speech_texts / 60),
            sounds_of_app=settings.sounds_per_app_bytes,
            sounds_of_all=settings.sounds_bytes,
        ),
        cluster=cluster and cluster[0],
    )
    with tracing("cloud", traces_url()):
        ready = lambda _port: recogniser.warm_up()  # noqa: E731
        reread = lambda: cloud_keys(start.again())  # noqa: E731
        status = run(config, recogniser, ready, registry, _voice(), reread, shared)
    raise typer.Exit(status)


def _require_safe_bridges(start: Start) -> None:
    """Calls to bridges carry tokens of rooms, and speech."""
    settings = start.settings
    away = not all(is_on_this_machine(target) for target in settings.bridge_targets())
    start.require(
        not away or settings.bridge_ca is not None,
        "LIVEKIT_GRPC_BRIDGE_URL names another machine, and calls there carry tokens and speech: set "
        "GLASSBRIDGE_BRIDGE_CA for TLS (docs/production.md), or say --development",
    )
    start.require(
        not (away and settings.bridge_ca) or bool(settings.bridge_client_cert or settings.bridge_secrets),
        "LIVEKIT_GRPC_BRIDGE_URL names another machine, and bridges there must know who calls: set "
        "GLASSBRIDGE_BRIDGE_CLIENT_CERT and _KEY, or GLASSBRIDGE_BRIDGE_SECRET, or say --development",
    )
    for target in settings.bridge_targets():
        folder = Path(target.removeprefix(UNIX)).parent
        if target.startswith(UNIX) and is_shared(folder):
            start.note(
                f"{folder} is open to other users, who could put a socket in a bridge's place: use one of mode 0700"
            )


def _registry(path: Path | None) -> "Registry | None":
    """None: there are no apps, or it is that of the cluster. Raises UserError."""
    if path is None or path == CLUSTER:
        return None
    from glassbridge.cloud.apps.registry import open_registry

    if not path.is_file():
        raise UserError(Complaint.REGISTRY_MISSING.text(path=path), 2)
    registry = open_registry(path)
    registry.all()  # what is wrong with it shows now
    return registry


def _voice() -> "Voice | None":
    settings = load_settings()
    key = settings.elevenlabs_key.get_secret_value()
    if key:
        from glassbridge.speech.elevenlabs import ElevenLabsVoice

        return ElevenLabsVoice(key, settings.elevenlabs_voice, settings.elevenlabs_url)
    from glassbridge.speech.voice import find_voice

    return find_voice()


def bridge(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes, each with a socket of its own.")] = 1,
    socket: Annotated[
        str | None,
        typer.Option(envvar="LIVEKIT_GRPC_SOCKET", help="Unix socket; with several workers PATH.0, PATH.1, ..."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on, without --socket.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port; with several workers the next ones too.")] = 9090,
    participant: ParticipantOption = ParticipantName.OWN,
    spare: Annotated[
        bool, typer.Option(help="Keep one more process warm, which replaces a dead worker in milliseconds (90 MB).")
    ] = True,
    max_memory: Annotated[
        float, typer.Option(min=0.0, help="Replace a worker that has grown over so many MB; 0: let it grow.")
    ] = 0.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="GLASSBRIDGE_BRIDGE_METRICS_PORT",
            min=0,
            max=65535,
            help="Serve /metrics of all workers here, each worker's own on the next ports; 0 takes free ones.",
        ),
    ] = None,
    metrics_host: MetricsHost = "127.0.0.1",
    reflection: Annotated[bool, typer.Option("--reflection", help="Serve gRPC reflection.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GLASSBRIDGE_ALLOW_HOST",
            help="Fetch playback URLs of this host although its address is not public.",
        ),
    ] = None,
    development: DevelopmentOption = False,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
) -> None:
    """Run the bridge: sits in LiveKit rooms, speaks gRPC to the cloud."""
    from glassbridge.runtime.grpc_security import PLAINTEXT

    start = Start(development)
    settings = start.settings
    security = start.attempt(lambda: server_security(settings)) if socket is None else PLAINTEXT
    if socket is None and start.listen("--host", host) and security is not None:
        start.require(
            security.complete,
            "--host lets other machines in, and calls carry tokens and speech: set GLASSBRIDGE_BRIDGE_CERT and _KEY "
            "for TLS, and GLASSBRIDGE_BRIDGE_CLIENT_CA or GLASSBRIDGE_BRIDGE_SECRET for who may call "
            "(docs/production.md), or say --development",
        )
    if metrics_port is not None:
        start.listen("--metrics-host", metrics_host)
    # It uses neither the core secret nor LiveKit's; a machine that has only bridges needs none of them.
    start.judge(tuple(weak for weak in settings.weak_secrets() if weak.given))
    directory = start.attempt(lambda: directory_of(settings))
    if socket is None:
        start.attempt(lambda: check_told(settings, host))
    logging = start.attempt(lambda: start_logging("bridge", log_level, log_format, ship=True))
    start.warn()
    assert logging is not None
    assert security is not None
    from glassbridge.bridge.config import BridgeConfig, PlaybackLimits
    from glassbridge.bridge.supervisor import run

    config = BridgeConfig(
        workers=workers,
        socket=socket,
        host=host,
        port=port,
        participant=participant.value,
        reflection=reflection,
        spare=spare,
        max_resident_mb=max_memory,
        rejoin=settings.rejoin,
        drain=settings.bridge_drain,
        address_told=settings.bridge_address,
        in_cluster=directory is not None,
        recorder=settings.recorder,
        security=security,
        traces=traces_url(),
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        playback=PlaybackLimits(
            hosts=tuple(allow_host or ()),
            max_kept=settings.sounds_kept_mb << 19,
            max_kept_in_all=settings.sounds_kept_mb << 20,
            memory_mb=settings.sound_memory_mb,
            per_user=settings.sounds_per_user,
            per_worker=settings.sounds_per_worker,
        ),
        log=logging,
    )
    reread = None if socket is not None else lambda: server_security(start.again())
    tokens = [token.get_secret_value() for token in settings.admin_tokens]
    raise typer.Exit(run(config, tokens, reread, directory))


def phone(
    token: Annotated[str, typer.Option(envvar="GLASSBRIDGE_TOKEN", help="Core token (`glassbridge token --user me`).")],
    cloud: Annotated[
        str, typer.Option(envvar="GLASSBRIDGE_CLOUD", help="Base URL of the cloud.")
    ] = "http://127.0.0.1:8002",
    wav: Annotated[Path | None, typer.Option(dir_okay=False, help="What to speak.")] = None,
    transport: Annotated[TransportName, typer.Option(help="How audio travels.")] = TransportName.DATA,
    audio: Annotated[
        AudioForm,
        typer.Option(help="Numbered, coded where the network demands it; numbered PCM; or as old phones send it."),
    ] = AudioForm.NUMBERED,
    participant: ParticipantOption = ParticipantName.OWN,
    frame_ms: Annotated[int, typer.Option(min=20, max=100, help="Milliseconds of audio in a frame.")] = 100,
    loop: Annotated[bool, typer.Option("--loop", help="Speak the clip again and again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    app: Annotated[list[str] | None, typer.Option(help="Start this app (package name); may be given again.")] = None,
    control: Annotated[
        bool,
        typer.Option(
            "--control", help="Keep running; take commands (switch, drop, network, mic, wav, quit) from stdin."
        ),
    ] = False,
    hear: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write what is heard to this WAV file at the end.")
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for audio to flow, and for captions.")
    ] = 30.0,
    log_level: LogLevel = "warning",
    log_format: LogFormat = "auto",
) -> None:
    """Be a phone: speak a WAV file in real time, print captions and notices."""
    start_logging("phone", log_level, log_format)
    from glassbridge.core.values import Transport
    from glassbridge.phone.config import PhoneConfig
    from glassbridge.phone.simulator import run
    from glassbridge.telemetry.tracing import tracing

    config = PhoneConfig(
        cloud=cloud,
        token=token,
        wav=wav,
        transport=Transport(transport.value),
        numbered=audio is not AudioForm.PLAIN,
        opus=audio is AudioForm.NUMBERED,
        participant=participant.value,
        frame_ms=frame_ms,
        loop=loop,
        json=json,
        control=control,
        apps=tuple(app or ()),
        hear=hear,
        deadline=deadline,
    )
    with tracing("phone", traces_url()):
        status = run(config)
    raise typer.Exit(status)
