"""What provokes each of the messages that end a command: mostly in this process."""

import asyncio
import os
import socket
import sys
import wave
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from glassbridge.bridge import config as bridge_config
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.listening import Listening
from glassbridge.cli import admin_client, app_run, inspect, shared, together
from glassbridge.cli.cluster import check_told
from glassbridge.cli.common import bridge_owners, exchange_of
from glassbridge.cli.main import program
from glassbridge.cli.programs import _registry
from glassbridge.cli.speech import chosen_recogniser
from glassbridge.cloud.apps.registry import open_registry
from glassbridge.cloud.apps.registry import read_settings as read_app_settings
from glassbridge.cloud.apps.shared_registry import RegistryCopy, RegistryOfCluster
from glassbridge.cloud.config import IssuerConfig
from glassbridge.cloud.issuer_keys import IssuerKeys
from glassbridge.cluster.directory import DirectoryAway
from glassbridge.lab.program import Program
from glassbridge.livekit import binary, server
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.phone import simulator, wav
from glassbridge.phone.config import PhoneConfig
from glassbridge.runtime import listen
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.grpc_security import ServerSecurity
from glassbridge.settings import Settings, process_settings, read_settings
from glassbridge.speech import providers, sherpa
from glassbridge.speech.providers import ProviderConfig
from glassbridge.telemetry import logs
from glassbridge.telemetry.exposition import MetricsServer
from glassbridge.telemetry.tracing import tracing
from tests.cli.answering import answering
from tests.livekit.fake_go import fake_go, script

C = Complaint
SECRET = "a-secret-of-the-tests-0123456789-0123456789"
Action = Callable[[Path], object]
"""Gets an empty folder. Raises UserError, or gives what does when it is awaited."""


# ---- how


def command(*words: str, **env: str) -> Action:
    """What a command of the program ends with, in this process. `{}` in a word is the folder."""

    def run(folder: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logs, "configure", lambda *_: None)  # it is that of the whole process
            process_settings.cache_clear()
            done = CliRunner().invoke(program, [word.replace("{}", str(folder)) for word in words], env=env)
            process_settings.cache_clear()
        raise UserError(f"{done.output} {done.exception}")

    return run


def file(name: str, text: str, use: Action) -> Action:
    """Used with a file of this text."""

    def run(folder: Path) -> object:
        path = folder / name
        path.write_text(text)
        return use(path)

    return run


def patched(what: Any, name: str, value: object, then: Action) -> Action:
    """While something is another value: a time limit, or what is installed."""

    def run(folder: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(what, name, value)
            return finished(then(folder))

    return run


def finished(found: object) -> object:
    return asyncio.run(found) if isinstance(found, Coroutine) else found


def settings(**values: str) -> Settings:
    return read_settings(values)[0]


# ---- the scenes that take more than a line


def bound_meanwhile(folder: Path) -> object:
    """Another program takes the port in the moment after it was free."""

    async def listening() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            await bound(BridgeConfig(port=taken.getsockname()[1]))

    return patched(bridge_config, "claim_port", lambda *_: None, lambda _: listening())(folder)


async def bound(config: BridgeConfig) -> None:
    listening = Listening(config, 0)
    try:
        await listening.start()
    finally:
        await listening.stop(None)


async def certificate(folder: Path) -> None:
    security = ServerSecurity(certificate=str(folder / "none.pem"), key=str(folder / "none.key"))
    await bound(BridgeConfig(port=server.free_port(), security=security))


async def ended_app(folder: Path) -> None:
    app = Program("app", (), {}, module="glassbridge.of_no_name")
    await app.start()
    await app.wait()
    await app_run._keep_running(app, folder, reload=False)


async def ended_program(_: Path) -> None:
    bridge = Program("bridge", ("bridge", "--port", "x"), {})
    cloud = Program("cloud", ("cloud", "--port", "x"), {})
    await bridge.start()
    await cloud.start()
    try:
        await together.first_to_end(SimpleNamespace(bridge=bridge, cloud=cloud))  # type: ignore[arg-type]
    finally:
        await bridge.stop(5.0)
        await cloud.stop(5.0)


def at(url: Callable[[str], str] = str, *, body: bytes = b"{}", status: int = 200) -> Action:
    """An operator's command asks a server that answers so."""

    def run(_: Path) -> object:
        with answering(status, body) as base:
            return inspect._timeline(admin_client.AdminClient(url(base), "token"), "ada", "", 60, captions=False)

    return run


def asked(base: str) -> Action:
    return lambda _: admin_client.AdminClient(base, "token").get("sessions")


def unanswered(folder: Path) -> object:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        return asked(f"http://127.0.0.1:{silent.getsockname()[1]}")(folder)


def missing(name: str) -> Action:
    """A recogniser whose package is not installed."""
    return patched(providers, "find_spec", lambda _: None, lambda _: providers.make_recogniser(name, ProviderConfig()))


def added(name: str, *then: str) -> Action:
    """A command after an app was added to the registry of this name."""

    def run(folder: Path) -> object:
        with suppress(UserError):
            command(*ADD, f"{{}}/{name}")(folder)
        return command(*then, "--registry", f"{{}}/{name}")(folder)

    return run


def socket_folder(folder: Path) -> None:
    (folder / "file").write_text("")
    listen.claim_socket(folder / "file" / "below" / "socket")


def socket_taken(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(folder / "socket"))
        held.listen()
        listen.claim_socket(folder / "socket")


def port_taken(_: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        listen.claim_port("127.0.0.1", held.getsockname()[1])


def clip(seconds: int) -> Action:
    def run(folder: Path) -> object:
        with wave.open(str(folder / "a.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(16_000)
            sound.writeframes(bytes(32_000 * seconds))
        return wav.load(folder / "a.wav")

    return run


class Registry:
    """The connection to that of a cluster, which answers so."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    async def records(self) -> dict[str, str]:
        if not self._answer:
            raise DirectoryAway("away")
        return {"com.example.app": self._answer}

    async def close(self) -> None: ...


def of_cluster(answer: str) -> Action:
    return lambda _: RegistryOfCluster(lambda: Registry(answer)).all()  # type: ignore[arg-type, return-value]


def running_cloud(_: Path) -> None:
    RegistryCopy(Registry("")).remove("com.example.app")  # type: ignore[arg-type]


def livekit(text: str) -> Action:
    """A server of ours whose program is this script."""

    def run(folder: Path) -> object:
        return server.LiveKitServer(script(folder / "livekit-server", text), LiveKitKeys("k", "s" * 40)).start()

    return run


def building(go: str, *, version: str = "1.26.1") -> Action:
    """A machine without a livekit-server, on which Go does this when it is to build one. Empty: it is not there."""

    def run(folder: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{folder}/bin")
            patch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
            (folder / "bin").mkdir()
            for tool in ("sh", "sleep"):
                (folder / "bin" / tool).symlink_to(f"/bin/{tool}")
            if go:
                fake_go(folder / "bin", version=version, outcome=go)
            return finished(binary.provide_binary())

    return run


def traced(_: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "glassbridge.telemetry.collector", None)
        with tracing("cloud", "http://127.0.0.1:1"):
            return None


def phone(**options: Any) -> Action:
    return lambda _: simulator.run(PhoneConfig(**{"cloud": "http://127.0.0.1:1", "token": "x"} | options))


ADD = "apps", "add", "com.example.app", "--url", "http://127.0.0.1:1", "--registry"
REKEY = "apps", "rekey", "com.example.app", "--registry"
REMOVE = "apps", "remove", "com.example.app"
INLINE = f'apps."com.example.app" = {{ url = "http://127.0.0.1:1", key_hash = "{"0" * 64}" }}'
SLOW = "import time; time.sleep(9)"
CLUSTER = {"GLASSBRIDGE_CLUSTER": "valkey://127.0.0.1:1"}

PROVOKED: tuple[tuple[Complaint, Action], ...] = (
    # ---- the system, its parts and what they listen on
    (C.CERTIFICATE_UNREADABLE, certificate),
    (C.ADDRESS_TAKEN, bound_meanwhile),
    (C.ADDRESS_UNUSABLE, lambda _: listen.claim_port("198.51.100.1", 0)),
    (C.ADDRESS_UNKNOWN, lambda _: listen.claim_port("no such host", 1)),
    (C.PORT_TAKEN, port_taken),
    (C.PORT_WRONG, lambda _: listen.claim_port("127.0.0.1", 70_000)),
    (C.METRICS_PORT_WRONG, lambda _: MetricsServer(list, "127.0.0.1", 70_000).__aenter__()),
    (C.SOCKET_PATH_LONG, lambda folder: listen.claim_socket(folder / ("x" * 120))),
    (C.SOCKET_IS_FILE, file("socket", "", listen.claim_socket)),
    (C.SOCKET_FOLDER_UNUSABLE, socket_folder),
    # root may write everywhere
    (C.SOCKET_FOLDER_CLOSED, patched(os, "access", lambda *_: False, lambda f: listen.claim_socket(f / "s"))),
    (C.SOCKET_TAKEN, socket_taken),
    (C.PROGRAM_ENDED, ended_program),
    (C.BRIDGE_ADDRESS_UNSET, lambda _: check_told(settings(**CLUSTER), "0.0.0.0")),
    (C.BRIDGE_OWNER_WRONG, lambda _: bridge_owners(settings(GLASSBRIDGE_BRIDGE_OWNER="nobody-of-this-name"))),
    (
        C.LOGIN_SECRET_IS_CORE,
        lambda _: exchange_of(settings(AUGMENTOS_AUTH_JWT_SECRET=SECRET, SUPABASE_JWT_SECRET=SECRET)),
    ),
    (C.JWKS_WRONG, file("keys.json", "{}", lambda path: IssuerKeys(IssuerConfig(keys=path, issuer="", audience="")))),
    (C.TRACES_MISSING, traced),
    (C.SINK_UNSET, command("logs", "test")),
    (C.BETTER_STACK_HALF, command("logs", "test", BETTERSTACK_SOURCE_TOKEN=SECRET)),
    (C.NETWORK_NOT_HERE, command("demo", "--network", "10% loss", "--break")),
    (C.BREAK_NEEDS_LIVEKIT, command("dev", "--break", "--livekit", "embedded")),
    # ---- LiveKit
    (C.LIVEKIT_MISSING, building("")),
    (C.LIVEKIT_MISSING, building("exit 1", version="1.19.8")),
    (C.LIVEKIT_NOT_BUILT, building("echo broken >&2; exit 1")),
    (C.LIVEKIT_BUILD_SLOW, patched(binary, "BUILD_TIMEOUT", 0.1, building("sleep 9"))),
    (C.PROGRAM_SILENT, patched(binary, "ANSWER_WITHIN", 0.1, building("true", version="$(sleep 9)"))),
    (C.LIVEKIT_BIN_WRONG, lambda folder: binary.find_binary(folder)),
    (C.LIVEKIT_NOT_RUN, lambda folder: server.LiveKitServer(folder / "none", LiveKitKeys("k", "s" * 40)).start()),
    (C.LIVEKIT_SILENT, patched(server, "START_TIMEOUT", 0.1, livekit("exec sleep 9"))),
    (C.LIVEKIT_ENDED_AT_ONCE, livekit("echo broken; exit 1")),
    # ---- an operator's commands
    (C.NO_CLOUD_THERE, at(body=b"<html>")),
    (C.CLOUD_NOT_STARTED, asked("http://127.0.0.1:1")),
    (C.CLOUD_NAME_UNKNOWN, asked("http://cloud.invalid")),
    (C.CLOUD_TOO_SLOW, patched(admin_client, "TIMEOUT", 0.1, unanswered)),
    (C.CLOUD_CERTIFICATE_WRONG, at(lambda url: url.replace("http:", "https:"))),
    (C.CLOUD_SILENT, asked("http://255.255.255.255:1")),
    (C.SESSION_UNKNOWN, at(body=b'{"data": {"sessions": []}}')),
    (C.ADMIN_TOKEN_UNSET, lambda _: admin_client.AdminClient("http://127.0.0.1:1", "").get("sessions")),
    (C.URL_WRONG, lambda _: admin_client.base_url("foo", "--cloud")),
    (C.USER_WRONG, command("inspect", "\u200b")),
    (C.RECORDER_UNREADABLE, command("inspect", "{}/none.json")),
    (C.RECORDER_WRONG, file("a.json", "{}", lambda path: inspect._open(path))),
    (C.FILE_UNWRITABLE, lambda folder: inspect._export(folder / "none" / "a.json", {}, [])),
    # ---- apps
    (C.APP_FILE_MISSING, command("app", "run", "{}/none.py")),
    (C.APP_NOT_LOADED, file("app.py", "1 +", lambda path: app_run._describe(path))),
    (
        C.APP_LOADS_SLOWLY,
        patched(app_run, "LOAD_WITHIN", 0.1, file("app.py", SLOW, lambda path: app_run._describe(path))),
    ),
    (C.APP_ENDED, patched(app_run, "LOOK_EVERY", 0.0, ended_app)),
    (C.REGISTRY_MISSING, lambda folder: _registry(folder / "none.toml")),
    (C.REGISTRY_SUFFIX, lambda folder: open_registry(folder / "apps.txt")),
    (C.APP_KNOWN, added("apps.toml", *ADD[:-1])),
    (C.APP_UNKNOWN, command("apps", "remove", "com.example.none", "--registry", "{}/apps.toml")),
    (C.REGISTRY_BY_HAND, added("apps.toml", *REMOVE)),
    (C.KEY_HASH_LOST, file("apps.toml", INLINE, lambda path: command(*REKEY, str(path))(path))),
    (C.REGISTRY_SHAPE, file("apps.toml", "apps = 1", lambda path: open_registry(path).all())),
    (C.REGISTRY_TOML, file("apps.toml", "[", lambda path: open_registry(path).all())),
    (C.REGISTRY_UNREADABLE, lambda folder: read_app_settings(folder / "none.json")),
    (C.REGISTRY_UNWRITABLE, command(*ADD, "{}/none/apps.toml")),
    (C.REGISTRY_UNUSABLE, command(*ADD, "{}/none/apps.db")),
    (C.REGISTRY_UNUSABLE, file("apps.db", "no database, " * 99, lambda path: open_registry(path).all())),
    (C.CLUSTER_UNSET, command("apps", "list", "--registry", "cluster")),
    (C.CLUSTER_WRONG, lambda _: shared.kept_of(settings(GLASSBRIDGE_CLUSTER="http://127.0.0.1"))),
    (C.CLUSTER_CLIENT_MISSING, patched(shared, "find_spec", {}.get, lambda _: shared.kept_of(settings(**CLUSTER)))),
    (C.REGISTRY_JSON, of_cluster("no JSON")),
    (C.REGISTRY_AWAY, of_cluster("")),
    (C.REGISTRY_BY_COMMAND, running_cloud),
    # ---- a phone
    (C.FRAME_LENGTH, phone(frame_ms=10)),
    (C.NOTHING_TO_SPEAK, phone()),
    (C.CLOUD_URL_WRONG, phone(cloud="nowhere", control=True)),
    (C.CLIP_EMPTY, clip(0)),
    (C.CLIP_LONG, patched(wav, "MAX_SECONDS", 0, clip(1))),
    (C.CLIP_WRONG, file("a.wav", "no sound", wav.load)),
    (C.CLIP_IS_FOLDER, lambda folder: wav.load(folder)),
    (C.CLIP_UNREADABLE, lambda folder: wav.load(folder / "none.wav")),
    # ---- recognisers
    (C.CAPTIONS_WRONG, lambda _: chosen_recogniser(settings(GLASSBRIDGE_CAPTIONS="fr-FR"))),
    (C.MOONSHINE_MISSING, missing("moonshine")),
    (C.POCKETSPHINX_MISSING, missing("pocketsphinx")),
    (C.SHERPA_MISSING, missing("sherpa")),
    (C.NO_RECOGNISER, missing("offline")),
    (
        C.SHERPA_MODEL_UNSET,
        patched(providers, "find_spec", str, lambda _: providers.make_recogniser("sherpa", ProviderConfig())),
    ),
    (C.SHERPA_MODEL_WRONG, lambda folder: sherpa.find_model(folder)),
    (C.SONIOX_KEY_UNSET, lambda _: providers.make_recogniser("soniox", ProviderConfig())),
    (C.RECOGNISER_UNKNOWN, lambda _: providers.make_recogniser("none", ProviderConfig())),
    (C.FAULT_UNKNOWN, command("soniox-double", "--fault", "none")),
    # ---- the lab
    (C.CHOICE_UNKNOWN, command("bench", "apps", "--recogniser", "none")),
    (C.CHOICE_UNKNOWN, command("bench", "speech", "--engine", "none")),
    (C.CHOICE_UNKNOWN, command("bench", "peers", "--fault", "none")),
    (C.CHOICE_UNKNOWN, command("phone-check", "--only", "none", "--", "true")),
    (C.CHOICE_UNKNOWN, command("phone-check", "--livekit", "none-such", "--", "true")),
    (C.CHOICE_UNKNOWN, command(*ADD, "{}/apps.toml", "--permission", "none")),
    (C.ALL_DEAF, command("bench", "apps", "--sockets", "5", "--deaf", "5")),
    (C.PAIRS_ODD, command("bench", "telemetry", "--pairs", "3")),
)  # fmt: skip

ELSEWHERE: dict[Complaint, tuple[str, str]] = {
    C.LIVEKIT_ENDED: ("tests/livekit/test_server.py", "test_the_command_says_when_its_server_has_ended_by_itself"),
    C.NO_WAY_FOR_AUDIO: ("tests/phone/test_simulator.py", "test_no_way_for_the_audio_says_why"),
    C.NO_CAPTION: ("tests/phone/test_simulator.py", "test_no_caption_in_time_is_a_failure_of_one_line"),
    C.NO_WORDS: ("tests/phone/test_simulator.py", "test_a_clip_without_words_and_a_cloud_without_captions_differ"),
    C.NOT_CAPTIONED: ("tests/phone/test_simulator.py", "test_a_clip_without_words_and_a_cloud_without_captions_differ"),
    C.SPEECH_LOST: ("tests/phone/test_simulator.py", "test_speech_that_the_network_lost_is_told"),
    C.PHONE_UNCONNECTED: ("tests/phone/test_simulator.py", "test_no_cloud_says_so"),
}
"""Needs a running cloud, or a real livekit-server: met by this test, in whose text its words stand."""
