"""Who may hear a stream, and who does: streams, the permissions that they need, one set of subscriptions for each app.

Rules
- An app hears a stream if it has subscribed to it, and has the permission that the stream needs (`Stream.permission`).
- A subscription names a stream: `VAD`, `audio_chunk`, `button_press`; with languages `transcription:en-US` and
  `translation:es-ES-to-en-US`, with a gesture `touch_event:double_tap`, with options after a `?`. Bare
  `transcription` is en-US. `all` and `*` are every stream that the app may hear.
- An update replaces the app's whole set: the last request is in force, except for the subscriptions that were refused,
  each with its reason. Nothing is accumulated from events, so nothing drifts when an app comes back (hazards L-4, L-5).
- Languages are spelled one way (`en-us` is `en-US`), and `auto` leaves the language to the recogniser. An option
  changes how a stream is made, not which apps hear it.

It does not know which recognisers there are: an argument (`Offer`) says whether this cloud can serve a subscription.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

MAX_SUBSCRIPTIONS: Final = 64
"""For one app."""
MAX_LENGTH: Final = 200
"""Characters of one subscription."""
DEFAULT_LANGUAGE: Final = "en-US"
AUTO: Final = "auto"
WILDCARDS: Final = frozenset({"all", "*"})

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_OPTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GESTURE = re.compile(r"[a-z_]{1,32}")


class Permission(Enum):
    """A permission that a user grants an app; ALL includes every other one."""

    MICROPHONE = "MICROPHONE"
    CAMERA = "CAMERA"
    LOCATION = "LOCATION"
    CALENDAR = "CALENDAR"
    READ_NOTIFICATIONS = "READ_NOTIFICATIONS"
    ALL = "ALL"


class Stream(Enum):
    """Everything that an app can hear. `permission`: the one that it needs, or None; `languages`: how many a
    subscription names."""

    TRANSCRIPTION = ("transcription", Permission.MICROPHONE, 1)
    TRANSLATION = ("translation", Permission.MICROPHONE, 2)
    AUDIO_CHUNK = ("audio_chunk", Permission.MICROPHONE, 0)
    VAD = ("VAD", Permission.MICROPHONE, 0)
    AUDIO_STATE = ("audio_state", None, 0)
    GLASSES_CONNECTION_STATE = ("glasses_connection_state", None, 0)
    BUTTON_PRESS = ("button_press", None, 0)
    HEAD_POSITION = ("head_position", None, 0)
    TOUCH_EVENT = ("touch_event", None, 0)
    GLASSES_BATTERY = ("glasses_battery_update", None, 0)
    PHONE_BATTERY = ("phone_battery_update", None, 0)
    LOCATION = ("location_update", Permission.LOCATION, 0)
    CALENDAR_EVENT = ("calendar_event", Permission.CALENDAR, 0)
    PHONE_NOTIFICATION = ("phone_notification", Permission.READ_NOTIFICATIONS, 0)
    PHONE_NOTIFICATION_DISMISSED = ("phone_notification_dismissed", Permission.READ_NOTIFICATIONS, 0)

    def __init__(self, label: str, permission: Permission | None, languages: int) -> None:
        self.label = label
        self.permission = permission
        self.languages = languages

    def allowed(self, permissions: frozenset[Permission]) -> bool:
        """Whether an app with these permissions may hear it."""
        return self.permission is None or bool(permissions & {self.permission, Permission.ALL})


STREAMS: Final = {stream.label: stream for stream in Stream}
"""By name."""
_NAMED: Final = STREAMS | {"location_stream": Stream.LOCATION}
"""The original has two names for the same."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One stream; `stream` is None for a wildcard."""

    stream: Stream | None
    languages: tuple[str, ...] = ()
    """(spoken,) or (spoken, wanted); of touch events the gesture, where one is named."""
    options: tuple[tuple[str, str], ...] = ()
    """In order of their names."""
    spelling: str = field(default="", compare=False)
    """As the app wrote it, by which the original's SDK knows its streams again; empty: as `text`."""

    @property
    def text(self) -> str:
        """The one spelling."""
        if self.stream is None:
            return "*"
        languages = f":{'-to-'.join(self.languages)}" if self.languages else ""
        options = "&".join(f"{name}={value}" for name, value in self.options)
        return f"{self.stream.label}{languages}{'?' if options else ''}{options}"

    def hears(self, stream: Stream, languages: tuple[str, ...] = ()) -> bool:
        """Whether it covers this stream in these languages."""
        if self.stream is None:
            return True
        return self.stream is stream and all(map(_means, self.languages, languages))


def _means(asked: str, language: str) -> bool:
    return asked in (AUTO, language)


def language(text: str) -> str:
    """The one spelling of a language: en-us is en-US, zh-hans-cn zh-Hans-CN; all is auto. Raises ValueError."""
    if text.lower() in (AUTO, "all"):
        return AUTO
    if not _LANGUAGE.fullmatch(text):
        raise ValueError("a language looks like en-US")
    first, *rest = text.lower().split("-")
    return "-".join([first, *(part.upper() if len(part) < 4 else part.title() for part in rest)])


def parse(text: str) -> Subscription:
    """Reads a subscription. Raises ValueError (the app's fault), whose text is for its developer."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a subscription has at most {MAX_LENGTH} characters")
    name, _, options = text.partition("?")
    label, separator, spoken = name.partition(":")
    if name in WILDCARDS:
        return Subscription(None)
    stream = _NAMED.get(label)
    if stream is None:
        raise ValueError("there is no such stream here")
    return Subscription(stream, _languages(stream, spoken if separator else None), _options(options), text)


def _languages(stream: Stream, text: str | None) -> tuple[str, ...]:
    if stream is Stream.TOUCH_EVENT and text is not None:
        if not _GESTURE.fullmatch(text):
            raise ValueError("a gesture looks like double_tap")
        return (text,)
    if stream.languages == 0:
        if text is not None:
            raise ValueError(f"{stream.label} has no languages")
        return ()
    if stream.languages == 1:
        return (language(DEFAULT_LANGUAGE if text is None else text),)
    spoken, separator, wanted = (text or "").partition("-to-")
    if not separator:
        raise ValueError(f"{stream.label} names two languages: {stream.label}:es-ES-to-en-US")
    if wanted.lower() == AUTO:
        raise ValueError("the language to translate to must be named")
    return language(spoken), language(wanted)


def _options(text: str) -> tuple[tuple[str, str], ...]:
    options = {}
    for part in filter(None, text.split("&")):
        name, _, value = part.partition("=")
        if not _OPTION.fullmatch(name) or (value and not _OPTION.fullmatch(value)):
            raise ValueError("options look like ?name=value&name=value")
        options[name] = value
    return tuple(sorted(options.items()))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A subscription that is not in force."""

    text: str
    """As it was asked for."""
    why: str
    permission: Permission | None = None
    """The missing permission, if that is the reason."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to an update."""

    in_force: frozenset[Subscription]
    refused: tuple[Refusal, ...]
    news: tuple[Refusal, ...] = ()
    """The refusals that the previous answer did not contain."""


Offer = Callable[[Subscription], str | None]
"""Why this cloud cannot serve a subscription; None if it can."""


def grant(asked: Iterable[str], permissions: frozenset[Permission], offer: Offer) -> Grant:
    """Judges each subscription separately; never raises."""
    in_force: set[Subscription] = set()
    refused = []
    for text in asked:
        try:
            wanted = parse(text)
        except ValueError as error:
            refused.append(Refusal(text[:MAX_LENGTH], str(error)))
            continue
        stream = wanted.stream
        if stream is not None and not stream.allowed(permissions):
            refused.append(Refusal(text, f"{stream.label} needs a permission that the app lacks", stream.permission))
        elif (why := offer(wanted)) is not None:
            refused.append(Refusal(text, why))
        elif len(in_force) >= MAX_SUBSCRIPTIONS:
            refused.append(Refusal(text, f"an app has at most {MAX_SUBSCRIPTIONS} subscriptions"))
        else:
            in_force.add(wanted)
    return Grant(frozenset(in_force), tuple(refused))


@dataclass(slots=True)
class _App:
    permissions: frozenset[Permission]
    subscriptions: frozenset[Subscription] = frozenset()
    refused: frozenset[Refusal] = frozenset()

    def hears(self, stream: Stream, languages: tuple[str, ...]) -> bool:
        return stream.allowed(self.permissions) and any(s.hears(stream, languages) for s in self.subscriptions)


@dataclass(slots=True)
class Subscriptions:
    """The subscriptions of all apps of one user; apps are named by their packages."""

    offer: Offer = lambda _: None
    _apps: dict[str, _App] = field(default_factory=dict)

    def replace(self, app: str, asked: Iterable[str], permissions: frozenset[Permission]) -> Grant:
        """The app's set is now this one."""
        former = self._apps[app].refused if app in self._apps else frozenset()
        given = grant(asked, permissions, self.offer)
        self._apps[app] = _App(permissions, given.in_force, frozenset(given.refused))
        return replace(given, news=tuple(refusal for refusal in given.refused if refusal not in former))

    def drop(self, app: str) -> None:
        """The app listens no more; idempotent."""
        self._apps.pop(app, None)

    def in_force(self, app: str) -> list[str]:
        """The app's subscriptions, in alphabetical order."""
        entry = self._apps.get(app)
        return [] if entry is None else sorted(s.text for s in entry.subscriptions)

    def spelled(self, app: str) -> tuple[str, ...]:
        """The same as the app wrote it."""
        entry = self._apps.get(app)
        return () if entry is None else tuple(sorted(s.spelling or s.text for s in entry.subscriptions))

    def listeners(self, stream: Stream, *languages: str) -> list[str]:
        """The apps that hear this stream now, in the order in which they came."""
        return [app for app, entry in self._apps.items() if entry.hears(stream, languages)]

    def listeners_by_name(self, stream: Stream, *languages: str) -> list[tuple[str, str]]:
        """The apps that hear this stream, each with every name by which it asked; for a subscription without languages
        that is the name of the stream."""
        found: dict[tuple[str, str], None] = {}
        for app, entry in self._apps.items():
            if stream.allowed(entry.permissions):
                for s in entry.subscriptions:
                    if s.hears(stream, languages):
                        found[app, s.spelling if s.languages else stream.label] = None
        return list(found)

    def listeners_by_language(self, stream: Stream, asked: Sequence[tuple[str, ...]]) -> list[tuple[str, Subscription]]:
        """The apps that ask for one of these languages of a stream by name, each with its subscription. An app that
        asked for all streams hears the first."""
        found = []
        for app, entry in self._apps.items():
            if stream.allowed(entry.permissions):
                named = {s.languages: s for s in entry.subscriptions if s.stream is stream}
                found += [(app, named[languages]) for languages in asked if languages in named]
                if not named and any(s.stream is None for s in entry.subscriptions):
                    found += [(app, Subscription(stream, languages)) for languages in asked[:1]]
        return found

    def wanted(self, stream: Stream) -> frozenset[tuple[str, ...]]:
        """The languages of a stream that an app asks for by name."""
        return frozenset(
            s.languages for entry in self._apps.values() for s in entry.subscriptions if s.stream is stream
        )
