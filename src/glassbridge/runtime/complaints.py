"""What ends a command, in one table: what happened and why, and what to do.

tools/describe_commands.py writes docs/messages.md from it; tests/cli/test_complaints.py meets each one. Not here: what
`glassbridge doctor` finds (cli/checks/catalogue.py), and values of settings that cannot be (settings.py says which).
"""

from enum import Enum, unique
from typing import Any


@unique
class Complaint(Enum):
    """Templates."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy

    def text(self, **values: Any) -> str:
        """For people."""
        return f"{self.cause.format(**values)}: {self.remedy.format(**values)}"

    CERTIFICATE_UNREADABLE = (
        "cannot read the certificate or key of {address} ({why})",
        "correct GLASSBRIDGE_BRIDGE_CERT and _KEY",
    )
    ADDRESS_TAKEN = ("cannot listen on {address}, which was taken in this moment or is not ours", "choose another")
    NO_CLOUD_THERE = ("what answers at {where} is no cloud", "correct --cloud (or --bridge)")
    ADMIN_TOKEN_UNSET = (
        "{where} wants an admin token, and none is set",
        "set GLASSBRIDGE_ADMIN_TOKEN to that of the cloud, or start `glassbridge dev`, whose token is found by itself",
    )
    CLOUD_NAME_UNKNOWN = ("{where} does not answer ({why})", "correct it, or the DNS of this machine")
    CLOUD_NOT_STARTED = (
        "{where} does not answer ({why})",
        "start it (`glassbridge dev`, or `glassbridge cloud`), or correct the address",
    )
    CLOUD_TOO_SLOW = ("{where} does not answer ({why})", "see that it runs, and that firewalls let TCP through")
    CLOUD_SILENT = ("{where} does not answer ({why})", "see that it runs, and that the address is right")
    CLOUD_CERTIFICATE_WRONG = ("{where} does not answer ({why})", "see `glassbridge doctor`")
    URL_WRONG = ("{option}: {why}", "it looks like {example}")
    APP_FILE_MISSING = ("there is no file {file}", "give the Python file of your app")
    APP_NOT_LOADED = ("{file} cannot be loaded ({why})", "correct it, and save")
    APP_LOADS_SLOWLY = ("{file} was not loaded within {seconds:.0f} s", "see what it waits for when it is imported")
    APP_ENDED = ("the app has ended (status {status}): {last_words}", "see why, and start it again")
    ALL_DEAF = ("nobody reads", "choose --deaf less than --sockets")
    PAIRS_ODD = ("--pairs is odd, and whoever comes first pays for waking up", "choose an even number")
    BRIDGE_ADDRESS_UNSET = (
        "GLASSBRIDGE_BRIDGE_ADDRESS is not set: the clouds of the cluster are told where this bridge is, and {host} is "
        "every address",
        "name the one at which they reach this machine",
    )
    LOGIN_SECRET_IS_CORE = (
        "SUPABASE_JWT_SECRET or AUTHING_APP_SECRET is the core secret, so a core token could be exchanged for a new "
        "one for ever",
        "set another AUGMENTOS_AUTH_JWT_SECRET",
    )
    BETTER_STACK_HALF = ("Better Stack needs both", "set BETTERSTACK_SOURCE_TOKEN and BETTERSTACK_INGESTING_HOST")
    BRIDGE_OWNER_WRONG = ("GLASSBRIDGE_BRIDGE_OWNER: {why}", "name a user of this machine")
    USER_WRONG = ("--user: {why}", "choose another id")
    SESSION_UNKNOWN = (
        "this cloud knows {which}: it keeps those of the last half hour",
        "see `glassbridge top --ended`",
    )
    RECORDER_UNREADABLE = ("cannot read {path} ({why})", "give a file of `inspect --export`")
    RECORDER_WRONG = ("{path} is no recorder's file ({why})", "give one of `inspect --export`")
    LIVEKIT_ENDED = ("livekit-server has ended by itself ({status})", "see what it wrote above")
    SINK_UNSET = (
        "no log sink is set",
        "set BETTERSTACK_SOURCE_TOKEN and BETTERSTACK_INGESTING_HOST, or OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    )
    CHOICE_UNKNOWN = ("{option}: there is no {unknown}", "choose of {known}")
    REGISTRY_MISSING = ("GLASSBRIDGE_APPS (--apps): there is no file {path}", "`glassbridge apps add` makes one")
    CLUSTER_UNSET = ("the registry `cluster` is that of the clouds' directory", "set GLASSBRIDGE_CLUSTER")
    CLUSTER_CLIENT_MISSING = (
        "GLASSBRIDGE_CLUSTER needs the client of its directory",
        "pip install 'glassbridge[cluster]'",
    )
    CLUSTER_WRONG = ("GLASSBRIDGE_CLUSTER: {why}", "correct it")
    CAPTIONS_WRONG = ("GLASSBRIDGE_CAPTIONS={language}: {why}", "choose another language or recogniser")
    FAULT_UNKNOWN = ("--fault {fault!r} is none", "use 408, 429@3, drop@2x1, normal, mute, half-open")
    NETWORK_NOT_HERE = ("--network needs all programs on this machine", "leave out --break, and the URL of --livekit")
    BREAK_NEEDS_LIVEKIT = ("--break needs a livekit-server of its own", "leave --livekit out, or say real")
    PROGRAM_ENDED = ("the {program} has ended (status {status}): {last_words}", "see why, and start it again")
    REGISTRY_SUFFIX = ("a registry of apps ends in .toml, .db or .sqlite, and {path} does not", "choose another name")
    APP_KNOWN = ("there is an app {package} already", "remove it first, or choose another package name")
    REGISTRY_BY_HAND = ("the table of {package} in {path} holds what you wrote", "take it out by hand")
    KEY_HASH_LOST = ("cannot find the line of key_hash of {package} in {path}", "change it by hand")
    REGISTRY_SHAPE = (
        "{path}: there is something else than tables",
        'write apps as tables such as [apps."com.example.captions"]',
    )
    REGISTRY_TOML = ("{path} is no TOML ({why})", "correct it")
    REGISTRY_AWAY = (
        "the registry of the cluster does not answer",
        "see that GLASSBRIDGE_CLUSTER is right, and that it runs",
    )
    REGISTRY_BY_COMMAND = ("a cloud does not change the registry of the cluster", "use `glassbridge apps`")
    REGISTRY_JSON = (
        "the registry of the cluster, {package}: this is no JSON",
        "remove the app and add it again (`glassbridge apps`)",
    )
    JWKS_WRONG = ("GLASSBRIDGE_JWKS_FILE: {path}: {why}", "give a JWKS file that holds keys")
    LIVEKIT_BIN_WRONG = ("LIVEKIT_SERVER_BIN is {path}, but that is no program that can be run", "correct it")
    PROGRAM_SILENT = ("`{command}` does not answer", "see that it works by hand")
    LIVEKIT_MISSING = (
        "no livekit-server found, and {go}",
        "put one on the PATH, set LIVEKIT_SERVER_BIN to one, or install Go {oldest} or newer, which builds {version} "
        "into the cache, once; or take the stand-in (--livekit embedded)",
    )
    LIVEKIT_NOT_BUILT = (
        "Go could not build livekit-server ({last_words})",
        "try again, set LIVEKIT_SERVER_BIN to one that is there, or take the stand-in (--livekit embedded)",
    )
    LIVEKIT_BUILD_SLOW = (
        "building livekit-server took more than {minutes:.0f} min",
        "try again, or set LIVEKIT_SERVER_BIN to one that is there",
    )
    LIVEKIT_NOT_RUN = ("cannot run {path} ({why})", "set LIVEKIT_SERVER_BIN to another one")
    LIVEKIT_SILENT = ("livekit-server does not answer within {seconds:.0f} s", "see what it wrote above, and try again")
    LIVEKIT_ENDED_AT_ONCE = ("livekit-server ended at once ({last_words})", "see why, and try again")
    FRAME_LENGTH = ("--frame-ms: frames are not that long", "choose 20 to 100")
    NOTHING_TO_SPEAK = ("there is nothing to speak", "give --wav FILE, or --control to take commands")
    NO_WAY_FOR_AUDIO = ("no way for the audio after {seconds:.0f} s ({why})", "see `glassbridge doctor`")
    PHONE_UNCONNECTED = ("the phone is not connected: {why}", "see that the cloud runs")
    NO_WORDS = ("the clip was heard, but no words were found in it", "give a clip of clear speech")
    NOT_CAPTIONED = ("the clip was heard, but the cloud could not caption it", "see the log of the cloud")
    NO_CAPTION = ("no caption came within {seconds:.0f} s after the clip", "see `glassbridge inspect`")
    SPEECH_LOST = ("{seconds:.1f} s of the speech never arrived: the network lost it", "see `glassbridge inspect`")
    CLOUD_URL_WRONG = ("not a cloud's URL: {why}", "it looks like http://127.0.0.1:8002")
    CLIP_EMPTY = ("{path} holds no sound", "give a clip that somebody speaks")
    CLIP_LONG = ("{path} is longer than {minutes} minutes", "cut it")
    CLIP_IS_FOLDER = ("cannot read {path}, which is a folder", "give a sound file")
    CLIP_UNREADABLE = ("cannot read {path} ({why})", "give a sound file")
    CLIP_WRONG = ("cannot read {path}: not a sound file that can be decoded", "give a WAV file")
    SOCKET_PATH_LONG = ("the socket path is longer than {most} bytes ({path})", "choose a shorter one")
    SOCKET_FOLDER_CLOSED = ("cannot write to the folder of {path}", "choose another path")
    SOCKET_IS_FILE = ("{path} exists and is no socket", "choose another path, or remove it")
    SOCKET_TAKEN = ("{path} is in use by another process", "stop it, or choose another path")
    PORT_WRONG = ("cannot listen on port {port}", "choose one up to {most}")
    SOCKET_FOLDER_UNUSABLE = ("cannot use the folder of {path} ({why})", "choose another path")
    ADDRESS_UNKNOWN = ("cannot listen on {host}:{port}: there is no such address", "choose one of this machine")
    NO_RECOGNISER = ("no offline recogniser is installed", "pip install 'glassbridge[pocketsphinx]'")
    MOONSHINE_MISSING = (
        "Moonshine is not installed: its wheel needs Linux with glibc 2.34, macOS 15 on ARM or Windows",
        "set GLASSBRIDGE_RECOGNISER=pocketsphinx",
    )
    POCKETSPHINX_MISSING = ("pocketsphinx is not installed", "pip install 'glassbridge[pocketsphinx]'")
    SONIOX_KEY_UNSET = ("Soniox needs a key", "set SONIOX_API_KEY (or see `glassbridge soniox-double`)")
    SHERPA_MISSING = ("sherpa-onnx is not installed", "pip install 'glassbridge[sherpa]'")
    SHERPA_MODEL_UNSET = ("sherpa-onnx needs a model", "set GLASSBRIDGE_SHERPA_MODEL to its folder (docs/speech.md)")
    RECOGNISER_UNKNOWN = ("there is no recogniser {name!r}", "GLASSBRIDGE_RECOGNISER is one of {known}")
    SHERPA_MODEL_WRONG = (
        "{folder} holds no streaming model of sherpa-onnx",
        "choose one with tokens.txt, and encoder, decoder, joiner (or model) .onnx",
    )
    METRICS_PORT_WRONG = ("cannot serve metrics on port {port}", "choose one up to {most}")
    TRACES_MISSING = ("traces need OpenTelemetry", "pip install 'glassbridge[otel]'")
    APP_UNKNOWN = ("there is no app {package}", "see `glassbridge apps list`")
    FILE_UNWRITABLE = ("cannot write {path} ({why})", "choose another file")
    REGISTRY_UNREADABLE = ("cannot read {path} ({why})", "correct the path or its rights")
    REGISTRY_UNUSABLE = ("cannot use {path} ({why})", "correct the path or its rights")
    REGISTRY_UNWRITABLE = ("cannot write {path} ({why})", "correct its rights, or choose another file")
    PORT_TAKEN = ("port {port} is in use by {holder}", "stop it, or choose another with {option}")
    ADDRESS_UNUSABLE = (
        "cannot listen on {address} ({why})",
        "choose an address of this machine and a port that is free",
    )
