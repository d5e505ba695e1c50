"""What ends a command stands in one table: with a cause and a remedy, and in no other words. Most are provoked here."""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glassbridge.cli import admin_client, inspect
from glassbridge.cli.main import program
from glassbridge.cloud.apps.registry import open_registry, read_settings
from glassbridge.phone import wav
from glassbridge.runtime import listen
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.speech import providers, sherpa
from glassbridge.speech.providers import ProviderConfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "glassbridge"
C = Complaint
ERRORS = {"UserError", "RegistryError", "BadParameter", "CannotListen", "LiveKitServerError"}
REMEDY = re.compile(
    r"\b(add|ask|change|choose|correct|cut|give|install|is one of|leave|looks like|makes one|name|pip|raise|remove|"
    r"rekey|say|see|set|start|stop|take|try|use|write)\b"
)


def says(complaint: Complaint, text: str) -> bool:
    """Whether the text holds it, with whatever fills it."""
    pieces = re.split(r"\{[^}]*\}", f"{complaint.cause}: {complaint.remedy}")
    return re.search("(?s:.*?)".join(map(re.escape, pieces)), " ".join(text.split())) is not None


def command(*words: str, **env: str) -> Callable[[Path], object]:
    """What a command of the program ends with, in this process. `{}` in a word is a folder of the test's."""

    def run(folder: Path) -> object:
        done = CliRunner().invoke(program, [word.replace("{}", str(folder)) for word in words], env=env)
        raise UserError(f"{done.output} {done.exception}")

    return run


def file(name: str, text: str, use: Callable[[Path], object]) -> Callable[[Path], object]:
    """Used with a file of this text."""

    def run(folder: Path) -> object:
        path = folder / name
        path.write_text(text)
        return use(path)

    return run


def missing(name: str, *, of: Any = providers) -> Callable[[Path], object]:
    """A recogniser whose package is not installed."""

    def run(_: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(of, "find_spec", lambda _: None)
            return providers.make_recogniser(name, ProviderConfig())

    return run


def known_app(folder: Path) -> object:
    words = "apps", "add", "com.example.app", "--url", "http://127.0.0.1:1", "--registry", str(folder / "apps.toml")
    CliRunner().invoke(program, words)
    return command(*words)(folder)


def socket_folder(folder: Path) -> None:
    (folder / "file").write_text("")
    listen.claim_socket(folder / "file" / "below" / "socket")


ADD = "apps", "add", "com.example.app", "--url", "http://127.0.0.1:1", "--registry"
PROVOKED: Mapping[Complaint, Callable[[Path], object]] = {
    C.NO_CLOUD_THERE: lambda _: (_ for _ in ()).throw(admin_client._strange("http://127.0.0.1:1")),
    C.ADMIN_TOKEN_UNSET: lambda _: admin_client.AdminClient("http://127.0.0.1:1", "").get("sessions"),
    C.URL_WRONG: lambda _: admin_client.base_url("foo", "--cloud"),
    C.APP_FILE_MISSING: command("app", "run", "{}/none.py"),
    C.RECOGNISER_OF_BENCH: command("bench", "apps", "--recogniser", "none"),
    C.USER_WRONG: command("inspect", "\u200b"),
    C.CLUSTER_UNSET: command("apps", "list", "--registry", "cluster"),
    C.RECORDER_UNREADABLE: command("inspect", "{}/none.json"),
    C.RECORDER_WRONG: file("a.json", "{}", lambda path: inspect._open(path)),
    C.FILE_UNWRITABLE: lambda folder: inspect._export(folder / "none" / "a.json", {}, []),
    C.REGISTRY_SUFFIX: lambda folder: open_registry(folder / "apps.txt"),
    C.APP_KNOWN: known_app,
    C.APP_UNKNOWN: command("apps", "remove", "com.example.none", "--registry", "{}/apps.toml"),
    C.PERMISSION_UNKNOWN: command(*ADD, "{}/apps.toml", "--permission", "none"),
    C.REGISTRY_SHAPE: file("apps.toml", "apps = 1", lambda path: open_registry(path).all()),
    C.REGISTRY_TOML: file("apps.toml", "[", lambda path: open_registry(path).all()),
    C.REGISTRY_UNREADABLE: lambda folder: read_settings(folder / "none.json"),
    C.REGISTRY_UNWRITABLE: command(*ADD, "{}/none/apps.toml"),
    C.CLIP_WRONG: file("a.wav", "no sound", wav.load),
    C.CLIP_IS_FOLDER: lambda folder: wav.load(folder),
    C.CLIP_UNREADABLE: lambda folder: wav.load(folder / "none.wav"),
    C.SOCKET_PATH_LONG: lambda folder: listen.claim_socket(folder / ("x" * 120)),
    C.SOCKET_IS_FILE: file("socket", "", listen.claim_socket),
    C.SOCKET_FOLDER_UNUSABLE: socket_folder,
    C.PORT_WRONG: lambda _: listen.claim_port("127.0.0.1", 70_000),
    C.ADDRESS_UNKNOWN: lambda _: listen.claim_port("no such host", 1),
    C.MOONSHINE_MISSING: missing("moonshine"),
    C.POCKETSPHINX_MISSING: missing("pocketsphinx"),
    C.SHERPA_MISSING: missing("sherpa"),
    C.NO_RECOGNISER: missing("offline"),
    C.SONIOX_KEY_UNSET: lambda _: providers.make_recogniser("soniox", ProviderConfig()),
    C.RECOGNISER_UNKNOWN: lambda _: providers.make_recogniser("none", ProviderConfig()),
    C.SHERPA_MODEL_WRONG: lambda folder: sherpa.find_model(folder),
}

ELSEWHERE: Mapping[Complaint, tuple[str, str]] = {
    C.ADDRESS_TAKEN: ("tests/bridge/test_processes.py", "cannot listen on"),
    C.PORT_TAKEN: ("tests/cloud/test_program.py", "is in use by"),
    C.LIVEKIT_ENDED: ("tests/livekit/test_server.py", "livekit-server has ended by itself"),
    C.NO_WAY_FOR_AUDIO: ("tests/phone/test_simulator.py", "no way for the audio after"),
    C.NO_CAPTION: ("tests/phone/test_simulator.py", "no caption came within"),
    C.BETTER_STACK_HALF: ("tests/cli/test_doctor.py", "Better Stack needs both"),
    C.REGISTRY_MISSING: ("tests/cli/test_start.py", "there is no file"),
    C.CAPTIONS_WRONG: ("tests/cli/test_speech.py", "GLASSBRIDGE_CAPTIONS="),
    C.BRIDGE_OWNER_WRONG: ("tests/bridge/test_transport_security.py", "GLASSBRIDGE_BRIDGE_OWNER:"),
    C.CLIP_EMPTY: ("tests/phone/test_wav.py", "holds no sound"),
    C.CLUSTER_WRONG: ("tests/cluster/test_settings.py", "GLASSBRIDGE_CLUSTER:"),
}
"""Met by a test of its own, which looks for these words."""


BY_A_FAILURE = frozenset({
    C.CERTIFICATE_UNREADABLE, C.APP_NOT_LOADED, C.APP_LOADS_SLOWLY, C.APP_ENDED, C.ALL_DEAF, C.PAIRS_ODD,
    C.BRIDGE_ADDRESS_UNSET, C.LOGIN_SECRET_IS_CORE, C.SESSION_UNKNOWN, C.CLUSTER_CLIENT_MISSING, C.PROGRAM_ENDED,
    C.REGISTRY_BY_HAND, C.KEY_HASH_LOST, C.REGISTRY_JSON, C.JWKS_WRONG, C.PROGRAM_SILENT, C.LIVEKIT_BUILD_SLOW,
    C.LIVEKIT_NOT_RUN, C.LIVEKIT_SILENT, C.LIVEKIT_ENDED_AT_ONCE, C.LIVEKIT_BIN_WRONG, C.LIVEKIT_OF_CHECK,
    C.FRAME_LENGTH, C.SPEECH_LOST, C.CLIP_LONG, C.SOCKET_FOLDER_CLOSED, C.SOCKET_TAKEN, C.SHERPA_MODEL_UNSET,
    C.METRICS_PORT_WRONG, C.TRACES_MISSING, C.ADDRESS_UNUSABLE, C.SINK_UNSET, C.FAULT_UNKNOWN, C.PROMISE_UNKNOWN,
    C.NETWORK_NOT_HERE, C.BREAK_NEEDS_LIVEKIT, C.REGISTRY_UNUSABLE,
    C.ENGINE_UNKNOWN, C.NOTHING_TO_SPEAK, C.CLOUD_URL_WRONG,
})  # fmt: skip
"""Not met here: they need programs or servers of their own; their tests look for the error and not for its words."""


def test_each_is_met_or_named() -> None:
    named = {*PROVOKED, *ELSEWHERE, *BY_A_FAILURE}
    assert [one.name for one in Complaint if one not in named] == []


@pytest.mark.parametrize("complaint", PROVOKED, ids=lambda one: one.name)
def test_it_is_said(complaint: Complaint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as told:
        PROVOKED[complaint](tmp_path)
    assert says(complaint, str(told.value)), f"{complaint.name}: {told.value}"


def test_each_has_a_cause_and_a_remedy() -> None:
    for complaint in Complaint:
        assert complaint.cause, complaint.name
        assert REMEDY.search(complaint.remedy), complaint.name


def test_what_stands_elsewhere_is_there() -> None:
    for complaint, (path, words) in ELSEWHERE.items():
        assert words in complaint.cause, complaint.name
        assert words in (ROOT / path).read_text(), complaint.name


def test_each_is_said_by_a_program() -> None:
    programs = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert [one.name for one in Complaint if f"Complaint.{one.name}.text(" not in programs] == []


def test_no_error_of_the_programs_has_a_text_of_its_own() -> None:
    """The lab aside, an error's text is from the table, or is that of another error in its place."""
    own = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] in ("lab", "testing"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ERRORS:
                own += [
                    f"{path.name}:{node.lineno}" for argument in node.args[:1] if isinstance(argument, ast.Constant)
                ]
    assert own == []
