"""Every number that glassbridge exposes, as one table; docs/observability.md prints it, tests hold both together.

Seconds and bytes, counters end in `_total`, no user, session or app is ever a label. Counted where things happen:
`metrics.NOTICES.add("live", "")`, or for each frame `received = metrics.FRAMES_RECEIVED.cell("stream")` once and then
`received.count += 1`.
"""

import asyncio
import os
import time
from typing import Final

from glassbridge import __version__
from glassbridge.telemetry.numbers import (
    ALL,
    CLOUD,
    SUPERVISOR,
    WORKER,
    Counter,
    Gauge,
    Histogram,
    Labels,
    Metric,
    Program,
    Snapshot,
)

_BRIEF: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGES: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_WAITS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


def _each(*values: str) -> tuple[Labels, ...]:
    return tuple((value,) for value in values)


# ---- the cloud

SESSIONS: Final = Gauge("glassbridge_sessions", "Sessions, with a phone or waiting for it.", CLOUD, ("state",))
SESSIONS_STARTED: Final = Counter("glassbridge_sessions_started_total", "Sessions that began.", CLOUD)
PHONE_SOCKETS: Final = Counter(
    "glassbridge_phone_sockets_total",
    "Sockets of phones that were accepted: of a new session, resumed (the phone was away), superseding another, or of "
    "a session that another cloud has handed over.",
    CLOUD,
    ("kind",),
    _each("new", "resumed", "superseding", "handed_over"),
)
CLAIMS: Final = Counter(
    "glassbridge_claims_total",
    "Claims of users for new sockets: `held` by the directory, `local` (the directory is away), `refused` (a newer "
    "attempt of the same phone is elsewhere).",
    CLOUD,
    ("verdict",),
    _each("held", "local", "refused"),
)
HAND_OVERS: Final = Counter(
    "glassbridge_hand_overs_total",
    "Users that this cloud took from another one: `handed` over, `overdue` (the other one lives, but has not answered "
    "in time: the session goes on by its id) and then `handed_late`, `no_answer` (the session begins anew), `late` "
    "(the other one has a newer attempt of the same phone).",
    CLOUD,
    ("result",),
    _each("handed", "overdue", "handed_late", "no_answer", "late"),
)
RELAYED: Final = Counter(
    "glassbridge_requests_relayed_total",
    "Requests that belonged to another cloud: whole ones (`request`), streamed ones (`stream`), sockets of apps "
    "(`socket`).",
    CLOUD,
    ("kind",),
    _each("request", "stream", "socket"),
)
SESSIONS_MOVED: Final = Counter("glassbridge_sessions_moved_total", "Sessions that another cloud has taken.", CLOUD)
DIRECTORY_AWAY: Final = Gauge(
    "glassbridge_directory_away_seconds",
    "Seconds for which the directory of the cluster has been away; 0: it answers.",
    CLOUD,
)
REBALANCED: Final = Counter(
    "glassbridge_users_rebalanced_total", "Users that were sent to other clouds, because this one had too many.", CLOUD
)
CAPACITY_LEFT: Final = Gauge(
    "glassbridge_capacity_left_ratio",
    "The part of a cloud's capacity that is left, by what bounds it: its sessions, its speakers, its event loop.",
    CLOUD,
    ("of",),
)
NODES: Final = Gauge("glassbridge_nodes", "Clouds that the directory knew when it last answered.", CLOUD, ("state",))
TOO_FAST: Final = Counter(
    "glassbridge_too_fast_total",
    "Senders on sockets of phones and apps that were told to slow down (`tell`), or closed as they went on (`close`).",
    CLOUD,
    ("socket", "verdict"),
    [(socket, verdict) for socket in ("phone", "app") for verdict in ("tell", "close")],
)
REFUSALS: Final = Counter(
    "glassbridge_refusals_total",
    "What was refused because one user or one app asked too often: a `start` of an app, a `webhook`, a text to be "
    "spoken (`speech`), a request about what an app stores (`storage`), a core token (`exchange`).",
    CLOUD,
    ("what",),
    _each("start", "webhook", "speech", "storage", "exchange"),
)
UNKNOWN_MESSAGES: Final = Counter(
    "glassbridge_unknown_messages_total",
    "Messages of types that this cloud does not know or serve. Requests of apps among them are answered.",
    CLOUD,
    ("socket",),
    _each("phone", "app"),
)
AUDIO_LINKS: Final = Gauge("glassbridge_audio_links", "Sessions by the state of their audio link.", CLOUD, ("state",))
AUDIO_STATES: Final = Gauge(
    "glassbridge_audio_states", "Sessions with a phone, by what the phone was told of its audio.", CLOUD, ("state",)
)
AUDIO_DEAD: Final = Gauge(
    "glassbridge_audio_dead_seconds",
    "The longest time for which audio should have been flowing and did not, of all sessions with a phone; 0: none.",
    CLOUD,
    together=max,
)
JOINS: Final = Counter(
    "glassbridge_joins_total",
    "Attempts to put a bridge into a room that ended: `joined` or `failed`, and why.",
    CLOUD,
    ("result", "reason"),
    [("joined", "")],
)
REJOINS: Final = Counter(
    "glassbridge_rejoins_total", "Joins that began in order to repair a place, by what was wrong.", CLOUD, ("reason",)
)
PLACES_LOST: Final = Counter(
    "glassbridge_places_lost_total", "Places in rooms that a bridge held for this cloud and lost.", CLOUD, ("reason",)
)
STATUS_ERRORS: Final = Counter(
    "glassbridge_status_errors_total", "Questions to a bridge about a place that it did not answer.", CLOUD
)
TIME_TO_AUDIO: Final = Histogram(
    "glassbridge_time_to_audio_seconds",
    "From the moment that audio was wanted and not there until it was: after a `start`, or after a `fault`, the "
    "duration of its cause included.",
    CLOUD,
    _WAITS,
    ("after",),
    _each("start", "fault"),
)
AUDIO_AGE: Final = Histogram(
    "glassbridge_audio_age_seconds",
    "Age of audio: in the `bridge`, what a chunk waited there; in the `cloud`, by how much the way from the phone took "
    "longer than the quickest one (numbered audio, without what the phone sends again).",
    CLOUD | WORKER,
    _AGES,
    ("hop",),
)
FRAMES_RECEIVED: Final = Counter(
    "glassbridge_frames_received_total",
    "Frames of microphones, presence included, that came: out of the `room` at the bridge, by the `stream` of a bridge "
    "or the `socket` of a phone at the cloud.",
    CLOUD | WORKER,
    ("hop",),
)
FRAMES_DELIVERED: Final = Counter(
    "glassbridge_frames_delivered_total",
    "Frames handed on: by the `bridge` to the cloud, by the `cloud` to those who listen, to a `recogniser`.",
    CLOUD | WORKER,
    ("hop",),
)
FRAMES_DROPPED: Final = Counter(
    "glassbridge_frames_dropped_total",
    "Frames that came and were not handed on: dropped at the `bridge`, at the phone's `socket`; "
    "too many (`full`), too `old`, a `stale` burst after a standstill, `malformed`, or `closed` with the place.",
    CLOUD | WORKER,
    ("hop", "reason"),
)
AUDIO_DELIVERED: Final = Counter(
    "glassbridge_audio_delivered_seconds_total",
    "Audio of microphones that was handed on: `live` as it came, or `late`.",
    CLOUD,
    ("kind",),
    _each("live", "late"),
)
AUDIO_LOST: Final = Counter(
    "glassbridge_audio_lost_seconds_total",
    "Numbered audio that did not come in time, by the hop that lost it; what the phone sends again is counted as "
    "delivered late, too.",
    CLOUD,
    ("hop",),
)
NOTICES: Final = Counter(
    "glassbridge_notices_total",
    "What phones were told of their audio (`audio_state`), by state and dead hop.",
    CLOUD,
    ("state", "hop"),
)
PLACES: Final = Gauge(
    "glassbridge_places", "Places in rooms that bridges hold for this cloud, attempts included.", CLOUD
)
BRIDGES: Final = Gauge(
    "glassbridge_bridges", "Bridges that this cloud may use: `live` ones, and others.", CLOUD, ("state",)
)
CONNECTIONS: Final = Gauge(
    "glassbridge_connections",
    "HTTP connections of the public port: all `open` ones, those that are `waiting` (for a header, a sign-in, another "
    "request, or until an answer is taken), and the `limit`.",
    CLOUD,
    ("kind",),
)
CONNECTIONS_REFUSED: Final = Counter(
    "glassbridge_connections_refused_total",
    "HTTP connections that were refused: `full` (too many in all), `address_full` (too many of one address), "
    "`descriptors` (this process has no more), `unsigned_apps` (too many app sockets of one address that have not said "
    "who they are).",
    CLOUD,
    ("reason",),
    _each("full", "address_full", "descriptors", "unsigned_apps"),
)
CONNECTIONS_TIMED_OUT: Final = Counter(
    "glassbridge_connections_timed_out_total",
    "HTTP connections that were closed because the peer was too slow, by what was waited for: a `header`, a `body`, a "
    "`sign_in`, a further request (`idle`), that an `answer` is taken.",
    CLOUD,
    ("wait",),
    _each("header", "body", "sign_in", "idle", "answer"),
)
UPLOADS_REFUSED: Final = Counter(
    "glassbridge_uploads_refused_total",
    "Sounds of apps that were refused: a wrong `signature`, `size` or `digest`, or too many on their way (`quota`).",
    CLOUD,
    ("reason",),
    _each("signature", "size", "digest", "quota"),
)
ADMIN_REFUSED: Final = Counter(
    "glassbridge_admin_refused_total",
    "Admin tokens that were refused: `wrong_token`, or not looked at: their peer had shown `too_many` wrong ones.",
    CLOUD | SUPERVISOR,
    ("reason",),
    _each("wrong_token", "too_many"),
)
RECOGNISER_STREAMS: Final = Gauge("glassbridge_recogniser_streams", "Open streams of recognisers.", CLOUD)
RECOGNISER_LAG: Final = Histogram(
    "glassbridge_recogniser_lag_seconds",
    "From the last sample of something that was understood until it was: what it waited, and what recognition took.",
    CLOUD,
    _WAITS,
)
RECOGNISER_PARTIAL_LAG: Final = Histogram(
    "glassbridge_recogniser_partial_lag_seconds",
    "The same of what was understood while somebody still spoke.",
    CLOUD,
    _WAITS,
)
RECOGNISER_FITS: Final = Gauge(
    "glassbridge_recogniser_speakers_fit", "Speakers who still fit: beyond them new streams are refused.", CLOUD
)
RECOGNISER_SLOW: Final = Gauge(
    "glassbridge_recogniser_slow_streams", "Recognitions whose captions come late or seldom now.", CLOUD
)
RECOGNISER_CROWDED_OUT: Final = Gauge(
    "glassbridge_recogniser_crowded_out_streams",
    "Recognitions that have no room now, refused or sent away: too many people speak at once.",
    CLOUD,
)
RECOGNISER_RECONNECTS: Final = Counter(
    "glassbridge_recogniser_reconnects_total",
    "Streams of recognisers that ended by themselves, or could not be had; another is opened where that can help.",
    CLOUD,
    ("reason",),
)

# ---- the bridge

ROOMS: Final = Gauge("glassbridge_rooms", "Rooms of a bridge, by state.", WORKER, ("state",))
STREAMS: Final = Gauge("glassbridge_streams", "Open audio streams of a bridge to clouds.", WORKER)
UNCLAIMED: Final = Gauge(
    "glassbridge_room_unclaimed_seconds",
    "The longest time for which a room is held that no stream claims: a zombie when it lasts.",
    WORKER,
    together=max,
)
ROOM_JOINS: Final = Counter(
    "glassbridge_room_joins_total",
    "JoinRoom calls that a bridge answered: `joined` or `failed`, and why.",
    WORKER,
    ("result", "reason"),
    [("joined", "")],
)
ROOM_JOIN_TIME: Final = Histogram(
    "glassbridge_room_join_seconds", "How long JoinRoom calls took that succeeded.", WORKER, _BRIEF
)
REPLACEMENTS: Final = Counter(
    "glassbridge_replacements_total", "Joins for a user who had a room on this worker already.", WORKER
)
ROOMS_LOST: Final = Counter(
    "glassbridge_rooms_lost_total",
    "Places in rooms that ended, by reason; `closed` was asked for.",
    WORKER,
    ("reason",),
)
LIVEKIT_REFUSED: Final = Counter(
    "glassbridge_livekit_refused_total",
    "What LiveKit servers sent beyond a bound, or unreadable: a `message` over 8 MiB, which ends the connection, or "
    "more `work` than can be done, which ends the place; passed over are an `unreadable` message (a description over "
    "128 KiB or 128 sections too), `candidates` beyond 32 and `people` beyond 1,000.",
    WORKER,
    ("what",),
    _each("message", "unreadable", "work", "candidates", "people"),
)
PLAYBACKS: Final = Gauge("glassbridge_playbacks", "Playbacks that run.", WORKER)
PLAYBACKS_ENDED: Final = Counter(
    "glassbridge_playbacks_total",
    "Playbacks that ended: `completed`, `failed`, or `cancelled` by their caller.",
    WORKER,
    ("result",),
    _each("completed", "failed", "cancelled"),
)
PLAYBACK_START: Final = Histogram(
    "glassbridge_playback_start_seconds", "From PlayAudio to the first sound in the room.", WORKER, _BRIEF
)
PLAYBACK_FAILURES: Final = Counter(
    "glassbridge_playback_failures_total", "Playbacks that failed, by reason (docs/bridge.md).", WORKER, ("reason",)
)
SOUND_DEATHS: Final = Counter(
    "glassbridge_sound_process_deaths_total",
    "Processes that died while they decoded a sound: of its processor time (`too_costly`), of a signal or an error"
    " (`decoder_died`), killed by somebody (`killed`), or because they did not answer (`stalled`).",
    WORKER,
    ("cause",),
    _each("too_costly", "decoder_died", "killed", "stalled"),
)
DECODER_DEATHS: Final = Counter(
    "glassbridge_decoder_deaths_total", "Decoders of a worker that died or did not start; another one follows.", WORKER
)

# ---- the supervisor of a bridge: where it tells them, all numbers have the label `worker`, empty for its own

WORKER_UP: Final = Gauge("glassbridge_worker_up", "1 while this worker listens and answers.", SUPERVISOR)
WORKER_ANSWER_AGE: Final = Gauge(
    "glassbridge_worker_answer_age_seconds",
    "How old the numbers of this worker are: seconds since it last answered.",
    SUPERVISOR,
)
WORKER_ENDS: Final = Counter(
    "glassbridge_worker_ends_total",
    "Ends of workers: `died`, `frozen`, or `replaced` on purpose.",
    SUPERVISOR,
    ("cause",),
)
WORKER_START_FAILURES: Final = Counter(
    "glassbridge_worker_start_failures_total",
    "Worker processes that the system did not start: no process, memory or descriptor for them.",
    SUPERVISOR,
)
WORKER_LINES_SKIPPED: Final = Counter(
    "glassbridge_worker_lines_skipped_total",
    "Lines of workers to their supervisor that could not be read.",
    SUPERVISOR,
)

# ---- all programs

QUEUES: Final = Gauge(
    "glassbridge_queue_items",
    "What waits, of all sessions together: frames for the cloud's `stream`, messages in the `outbox` of phones, `log` "
    "lines for a sink.",
    ALL,
    ("queue",),
)
LOOP_LAG: Final = Histogram(
    "glassbridge_loop_lag_seconds",
    "By how much a timer of the event loop came late; looked at twice a second.",
    ALL,
    _BRIEF,
)
TASKS: Final = Gauge("glassbridge_tasks", "Tasks on the event loop.", ALL)
LOG_LINES: Final = Counter(
    "glassbridge_log_lines_total", "Lines that were logged.", ALL, ("level",), _each("info", "warning", "error")
)
LOG_LINES_SUPPRESSED: Final = Counter(
    "glassbridge_log_lines_suppressed_total", "Log lines beyond what one peer may cause.", ALL
)
LOG_LINES_DROPPED: Final = Counter(
    "glassbridge_log_lines_dropped_total",
    "Log lines that were lost on their way to `stderr` or to a sink.",
    ALL,
    ("sink",),
)
LOG_LINES_SENT: Final = Counter("glassbridge_log_lines_sent_total", "Log lines that arrived at a sink.", ALL, ("sink",))
UPTIME: Final = Gauge("glassbridge_uptime_seconds", "Seconds since the program began.", ALL)
INFO: Final = Gauge("glassbridge_info", "1; which program, of which version.", ALL, ("program", "version"))
MEMORY: Final = Gauge("process_resident_memory_bytes", "Memory of the process.", ALL)
CPU: Final = Counter("process_cpu_seconds_total", "Processor time of the process.", ALL)
DESCRIPTORS: Final = Gauge("process_open_fds", "Open file descriptors of the process.", ALL)
STARTED: Final = Gauge("process_start_time_seconds", "When the process began, unix time.", ALL)

TABLE: Final[tuple[Metric, ...]] = tuple(found for found in list(globals().values()) if isinstance(found, Metric))
BY_NAME: Final = {metric.name: metric for metric in TABLE}


def snapshot(program: Program) -> Snapshot:
    """All numbers of this process now. Call it on the event loop."""
    found = {metric.name: metric.values() for metric in TABLE if program in metric.programs}
    return found | {INFO.name: [((program.value, __version__), 1.0)]}


# ---- what every process tells of itself

_BEGUN = time.monotonic()
_BEGUN_AT = time.time()
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs: a test
        return 0


MEMORY.read_by(resident_bytes)
CPU.read_by(time.process_time)
DESCRIPTORS.read_by(lambda: len(os.listdir("/proc/self/fd")))
STARTED.read_by(lambda: _BEGUN_AT)
UPTIME.read_by(lambda: time.monotonic() - _BEGUN)
TASKS.read_by(_tasks)
