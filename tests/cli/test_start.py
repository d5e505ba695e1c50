"""A program refuses to start where it would be unsafe or could not work, and says everything that is wrong at once."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import glassbridge.cli.main  # noqa: F401 - the commands, whose options are settings too
from glassbridge.cli.common import known_names, unknown_names
from glassbridge.settings import (
    DEV_JWT_SECRET,
    DEV_LIVEKIT_SECRET,
    Settings,
    all_names,
    names_of,
    read_settings,
)
from tests.support import forked
from tests.support.patience import patient
from tests.support.process import Program

STRONG = {
    "AUGMENTOS_AUTH_JWT_SECRET": "core-token-secret-of-the-tests-0123456789",
    "LIVEKIT_API_SECRET": "livekit-secret-of-the-tests-0123456789abc",
}
ANYWHERE = ("cloud", "--host", "0.0.0.0", "--port", "0")
HERE = ("cloud", "--host", "127.0.0.1", "--port", "0")
ROOT = Path(__file__).parents[2]


def refused(*args: str, **env: str) -> list[str]:
    """The lines that it refuses with. It has a moment only: what starts instead fails the test."""
    done = forked.glassbridge(*args, env=os.environ | env, within=patient(20))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("glassbridge: ")]
    assert lines
    assert "Traceback" not in done.stderr
    for value in env.values():
        assert len(value) < 8 or value not in done.stderr or value.startswith("/"), "a value is never quoted"
    return [line.removeprefix("glassbridge: ") for line in lines]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", ""])
def test_a_cloud_for_other_machines_needs_secrets_of_its_own(host: str) -> None:
    lines = refused("cloud", "--host", host, "--port", "0")
    assert [line.split()[0] for line in lines] == ["AUGMENTOS_AUTH_JWT_SECRET", "LIVEKIT_API_SECRET"]
    for line in lines:
        assert "is the public development value" in line  # what
        assert "lets other machines in" in line  # why
        assert "set 32 random bytes" in line  # what to do
        assert "--development" in line


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AUGMENTOS_AUTH_JWT_SECRET", "s" * 31, "is shorter than 32 bytes"),
        ("AUGMENTOS_AUTH_JWT_SECRET", "", "it is empty"),
        ("AUGMENTOS_AUTH_JWT_SECRET", " , ", "it is empty"),
        ("AUGMENTOS_AUTH_JWT_SECRET", DEV_LIVEKIT_SECRET, "is the public development value"),
        ("AUGMENTOS_AUTH_JWT_SECRET", "n" * 40 + ",old", "(number 2 of 2) is shorter than 32 bytes"),
        ("AUGMENTOS_AUTH_JWT_SECRET", ",".join(["n" * 40] * 9), "8"),
        ("LIVEKIT_API_SECRET", "s" * 31, "is shorter than 32 bytes"),
        ("LIVEKIT_API_SECRET", "", "it is empty"),
        ("LIVEKIT_API_SECRET", DEV_JWT_SECRET, "is the public development value"),
        ("LIVEKIT_API_KEY", "", "it is empty"),
        ("GLASSBRIDGE_ADMIN_TOKEN", "a" * 31, "is shorter than 32 bytes"),
        ("SUPABASE_JWT_SECRET", "a" * 31, "is shorter than 32 bytes"),
    ],
)
def test_each_secret_is_judged(name: str, value: str, why: str) -> None:
    (line,) = refused(*ANYWHERE, **STRONG | {name: value})
    assert line.startswith(name)
    assert why in line


@pytest.mark.parametrize("name", ["SUPABASE_JWT_SECRET", "AUTHING_APP_SECRET"])
def test_a_core_token_cannot_be_exchanged(name: str) -> None:
    (line,) = refused(*HERE, **STRONG | {name: STRONG["AUGMENTOS_AUTH_JWT_SECRET"]})
    assert name in line
    assert "is the core secret" in line


@pytest.mark.parametrize("name", ["AUGMENTOS_AUTH_JWT_SECRET", "LIVEKIT_API_SECRET"])
def test_an_empty_secret_is_refused_on_loopback_too(name: str) -> None:
    (line,) = refused(*HERE, **STRONG | {name: ""})
    assert line.startswith(f"{name}: it is empty")


@pytest.mark.parametrize("name", ["AUGMENTOS_AUTH_JWT_SECRET", "GLASSBRIDGE_ADMIN_TOKEN"])
def test_a_bridge_judges_the_secrets_that_it_was_given(name: str) -> None:
    lines = refused("bridge", "--socket", "/tmp/unused.sock", "--metrics-port", "0", "--metrics-host", "0.0.0.0",
                    **{name: "s" * 20})  # fmt: skip
    assert [line.split()[0] for line in lines] == [name]


async def test_on_loopback_it_starts_and_warns_once() -> None:
    env = {"AUGMENTOS_AUTH_JWT_SECRET": "short", "LIVEKIT_API_SECRET": DEV_LIVEKIT_SECRET}
    async with Program.glassbridge(*HERE, "--log-format", "json", env=env) as cloud:
        await cloud.says("cloud listens")
        warnings = [line for line in cloud.err if "unsafe settings excused" in line]
    assert len(warnings) == 1
    assert "AUGMENTOS_AUTH_JWT_SECRET is shorter than 32 bytes" in warnings[0]
    assert "LIVEKIT_API_SECRET is the public development value" in warnings[0]


async def test_strong_secrets_are_no_reason_to_warn() -> None:
    async with Program.glassbridge(*HERE, "--log-format", "json", env=STRONG) as cloud:
        await cloud.says("cloud listens")
        assert not any('"level": "warning"' in line or "unsafe settings" in line for line in cloud.err)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_URL", "foo"),
        ("LIVEKIT_URL", ""),
        ("LIVEKIT_URL", "ftp://livekit.example.com"),
        ("LIVEKIT_URL", "ws:livekit.example.com"),
        ("LIVEKIT_URL", "ws://"),
        ("LIVEKIT_URL", "ws://:7880"),
        ("LIVEKIT_URL", "ws://host:port"),
        ("LIVEKIT_URL", "ws://host:99999"),
        ("LIVEKIT_URL", "ws://host:"),
        ("LIVEKIT_URL", "ws://host name"),
        ("LIVEKIT_URL", "ws://[::1"),
        ("LIVEKIT_URL", "ws://-host-"),
        ("LIVEKIT_URL", "ws://user:password@host"),
        ("LIVEKIT_URL", "ws://host?access_token=1"),
        ("GLASSBRIDGE_LIVEKIT_PUBLIC_URL", "livekit.example.com"),
        ("GLASSBRIDGE_PUBLIC_URL", "ws://cloud.example.com"),
        ("CLOUD_PUBLIC_HOST_NAME", "https://cloud.example.com"),
        ("GLASSBRIDGE_ELEVENLABS_URL", "api.elevenlabs.io"),
        ("SONIOX_ENDPOINT", "https://soniox.example.com"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector:4317"),
        ("LIVEKIT_GRPC_BRIDGE_URL", "http://bridge:9090"),
        ("LIVEKIT_GRPC_BRIDGE_URL", "bridge"),
        ("LIVEKIT_GRPC_BRIDGE_URL", "bridge:0"),
        ("LIVEKIT_GRPC_BRIDGE_URL", "127.0.0.1:9090,:9091"),
        ("LIVEKIT_GRPC_BRIDGE_URL", " , "),
        ("LIVEKIT_GRPC_SOCKET", "/" + "s" * 200),
        ("GLASSBRIDGE_GRACE", "-1"),
        ("GLASSBRIDGE_GRACE", "nan"),
        ("GLASSBRIDGE_GRACE", "inf"),
        ("GLASSBRIDGE_LIVEKIT_CLIENT_TOKEN_TTL", "0"),
        ("GLASSBRIDGE_LIVEKIT_AGENT_TOKEN_TTL", "1e9"),
        ("GLASSBRIDGE_MAX_SESSIONS", "0"),
        ("GLASSBRIDGE_MAX_TEXT_BYTES", "-5"),
        ("GLASSBRIDGE_LOG_EVERY", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_that_names_it(name: str, value: str) -> None:
    _, wrong = read_settings({name: value})
    (line,) = wrong
    assert line.startswith(f"{name}: ")
    assert len(value) < 8 or value not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_URL", "wss://livekit.example.com/path"),
        ("LIVEKIT_URL", "http://[::1]:7880"),
        ("LIVEKIT_URL", "ws://my_host"),
        ("LIVEKIT_URL", "wss://büro.example"),
        ("LIVEKIT_GRPC_BRIDGE_URL", "[::1]:9090, bridge.internal:9091, unix:/run/bridge.sock"),
        ("LIVEKIT_GRPC_SOCKET", "/run/a.sock,/run/b.sock"),
        ("GLASSBRIDGE_PUBLIC_URL", ""),
        ("CLOUD_PUBLIC_HOST_NAME", "cloud.example.com"),
        ("glassbridge_grace", "0"),
    ],
)
def test_a_value_that_can_be_used_is_taken(name: str, value: str) -> None:
    assert read_settings({name: value})[1] == ()


def test_no_number_is_without_bounds() -> None:
    """A setting that somebody adds has to say what is too small and what is too large."""
    for name, field in Settings.model_fields.items():
        if any(kind in str(field.annotation) for kind in ("int", "float")):
            variable = names_of(name)[0]
            for value in ("-1", "1e30", "9" * 30, "nan", "inf"):
                assert read_settings({variable: value})[1], f"{variable}={value} is taken"


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = refused(
        *ANYWHERE,
        LIVEKIT_URL="foo",
        GLASSBRIDGE_RECOGNIZER="sherpa",
        GLASSBRIDGE_APPS=str(tmp_path / "missing.toml"),
        GLASSBRIDGE_GRACE="-1",
        GLASSBRIDGE_CAPTIONS="fr-FR",
        AUGMENTOS_AUTH_JWT_SECRET="short",
        LIVEKIT_API_SECRET=STRONG["LIVEKIT_API_SECRET"],
    )
    told = {line.replace(":", " ").replace("=", " ").split()[0] for line in lines}
    assert told == {"LIVEKIT_URL", "GLASSBRIDGE_RECOGNIZER", "GLASSBRIDGE_APPS", "GLASSBRIDGE_GRACE",
                    "GLASSBRIDGE_CAPTIONS", "AUGMENTOS_AUTH_JWT_SECRET"}  # fmt: skip
    assert len(lines) == 6


@pytest.mark.parametrize("command", [HERE, ("bridge", "--port", "1"), ("token", "--user", "me"), ("doctor",)])
def test_a_name_that_does_not_exist_is_refused_with_the_one_that_was_meant(command: tuple[str, ...]) -> None:
    (line,) = refused(*command, GLASSBRIDGE_RECOGNIZER="sherpa")
    assert line == "GLASSBRIDGE_RECOGNIZER: there is no such setting; did you mean GLASSBRIDGE_RECOGNISER?"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GLASSBRIDGE_ADMIN_TOKENS", "GLASSBRIDGE_ADMIN_TOKEN"),
        ("GLASSBRIDGE_ADMIN_TOKEN_FLE", "GLASSBRIDGE_ADMIN_TOKEN_FILE"),
        ("GLASSBRIDGE_LOGLEVEL", "GLASSBRIDGE_LOG_LEVEL"),
        ("GLASSBRIDGE_METRICS_HOSTS", "GLASSBRIDGE_METRICS_HOST"),
        ("GLASSBRIDGE_JWT_SECRETS", None),
        ("GLASSBRIDGE_QQQQQQ", None),
    ],
)
def test_suggestions(name: str, meant: str | None) -> None:
    (line,) = unknown_names({name: "x", "PATH": "/bin", "LIVEKIT_ANYTHING": "x"})
    assert line.startswith(f"{name}: there is no such setting")
    if meant is not None:
        assert line.endswith(f"did you mean {meant}?")


def test_every_name_that_is_read_anywhere_is_known() -> None:
    """All in one place: what the settings read, what options read, and what the source mentions."""
    assert all_names() <= known_names()
    assert {"GLASSBRIDGE_LOG_LEVEL", "GLASSBRIDGE_APPS", "GLASSBRIDGE_TOKEN", "GLASSBRIDGE_TAP", "GLASSBRIDGE_DEBUG",
            "AUGMENTOS_AUTH_JWT_SECRET_FILE", "GLASSBRIDGE_ADMIN_TOKEN_FILE"} <= known_names()  # fmt: skip
    for path in (ROOT / "src" / "glassbridge").rglob("*.py"):
        for word in path.read_text().replace('"', " ").replace("'", " ").replace("`", " ").split():
            name = word.strip("().,;:=[]")
            if name.startswith("GLASSBRIDGE_") and name.replace("_", "").isalnum() and name != "GLASSBRIDGE_":
                assert name.partition("=")[0] in known_names(), f"{path.name} mentions {name}"


def test_every_name_is_documented() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert [name for name in sorted(known_names()) if name not in text and not name.endswith("_FILE")] == []


@pytest.mark.parametrize("ending", [".toml", ".db"])
def test_a_registry_that_is_missing_is_an_error(tmp_path: Path, ending: str) -> None:
    (line,) = refused(*HERE, **STRONG, GLASSBRIDGE_APPS=str(tmp_path / f"apps{ending}"))
    assert "there is no file" in line
    assert "glassbridge apps add" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"GLASSBRIDGE_JWKS_URL": "https://login.example.com/keys"},
         ["GLASSBRIDGE_JWT_ISSUER", "GLASSBRIDGE_JWT_AUDIENCE"]),
        ({"GLASSBRIDGE_JWKS_URL": "http://login.example.com/keys", "GLASSBRIDGE_JWT_ISSUER": "i",
          "GLASSBRIDGE_JWT_AUDIENCE": "a"}, ["GLASSBRIDGE_JWKS_URL"]),
        ({"GLASSBRIDGE_JWKS_FILE": "/none", "GLASSBRIDGE_JWT_ISSUER": "i", "GLASSBRIDGE_JWT_AUDIENCE": "a"},
         ["GLASSBRIDGE_JWKS_FILE"]),
    ],
)  # fmt: skip
def test_half_an_issuer_is_refused(env: dict[str, str], told: list[str]) -> None:
    assert [line.replace(":", " ").split()[0] for line in refused(*HERE, **env)] == told


def test_with_an_issuer_a_secret_that_nobody_has_set_counts_for_nothing() -> None:
    env = {"GLASSBRIDGE_JWKS_URL": "https://login.example.com/keys"}
    assert read_settings(env)[0].core_secrets == ()
    assert read_settings({})[0].core_secrets == (DEV_JWT_SECRET,)
    assert read_settings(env | {"AUGMENTOS_AUTH_JWT_SECRET": "s" * 32})[0].core_secrets == ("s" * 32,)
    assert [weak.name for weak in read_settings(env)[0].weak_secrets()] == ["LIVEKIT_API_SECRET"]


# ---- secrets from files, and lists


def values(secrets: Any) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    one, many = tmp_path / "livekit", tmp_path / "core"
    one.write_text("livekit,with,commas\n")
    many.write_text("new, with a comma\n\nold\n")
    found, wrong = read_settings({"LIVEKIT_API_SECRET_FILE": str(one), "AUGMENTOS_AUTH_JWT_SECRET_FILE": str(many)})
    assert wrong == ()
    assert found.livekit_api_secret.get_secret_value() == "livekit,with,commas"
    assert values(found.jwt_secrets) == ["new, with a comma", "old"]
    assert {"new, with a comma", "old", "livekit,with,commas"} <= set(found.secrets)


def test_every_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a-secret-from-a-file-of-32-characters-or-more\n")
    secrets = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert len(secrets) >= 7
    for name in secrets:
        found, wrong = read_settings({f"{names_of(name)[0]}_FILE": str(file)})
        assert wrong == ()
        held = getattr(found, name)
        assert file.read_text().strip() in values(held if isinstance(held, tuple) else (held,))
        assert file.read_text().strip() not in repr(found)
        assert isinstance(held, SecretStr | tuple)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    empty, large, binary = tmp_path / "empty", tmp_path / "large", tmp_path / "binary"
    empty.write_text("\n")
    large.write_bytes(b"x" * 100_000)
    binary.write_bytes(b"\xff\xfe")
    name = "AUGMENTOS_AUTH_JWT_SECRET"
    for path, says in ((tmp_path / "none", "cannot be read: No such file"), (tmp_path, "cannot be read"),
                       (large, "larger than 64 KiB"), (binary, "holds no text"), (empty, "is empty")):  # fmt: skip
        (line,) = read_settings({f"{name}_FILE": str(path)})[1]
        assert line.startswith(name)
        assert says in line
    (line,) = read_settings({f"{name}_FILE": str(large), name: "x"})[1]
    assert f"{name} is set too" in line
    assert read_settings({f"{name}_FILE": "", name: "x"})[1] == ()


def test_a_list_of_secrets_is_split_at_commas() -> None:
    found, _ = read_settings({"AUGMENTOS_AUTH_JWT_SECRET": "new , old", "GLASSBRIDGE_ADMIN_TOKEN": "t" * 16})
    assert values(found.jwt_secrets) == ["new", "old"]
    assert found.jwt_secret.get_secret_value() == "new"
    assert found.admin_token.get_secret_value() == "t" * 16
    assert set(found.secrets) >= {"new", "old", "t" * 16}
