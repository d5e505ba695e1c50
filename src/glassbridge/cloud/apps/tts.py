"""`/api/tts`: text as sound, for apps that sign for it and for users who are signed in."""

import hmac
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta

from glassbridge.cloud.answers import refuse
from glassbridge.cloud.apps.forwarding import without_name
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import AppRecord, RegistryError
from glassbridge.cloud.apps.uploads import PATH as SOUNDS_PATH
from glassbridge.core.allowance import Allowances
from glassbridge.core.fair_queue import Asker
from glassbridge.core.values import UserId
from glassbridge.speech.voice import SpeechRequest, Voice, VoiceBusy, VoiceError
from glassbridge.telemetry import metrics
from glassbridge.wire.app_keys import speech_claim
from glassbridge.wire.apps import APP_PATHS
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

PATH = "/api/tts"
LISTENER: Final = "listener"
"""Query of an app's request: for which of its users it speaks, as a name that tells nothing else."""
MAX_SETTINGS: Final = 20
_settings_decoder = msgspec.json.Decoder(
    Annotated[dict[Annotated[str, Meta(max_length=64)], float | bool], Meta(max_length=MAX_SETTINGS)]
)


def vouched(url: str, record: AppRecord, cloud: str, at: float, user: str = "") -> str:
    """The same URL; where it asks this cloud (by the address that apps are given) to say something and is not signed,
    signed for the app: the original's SDK, which has proven its key on its socket, knows no signatures. It also says
    https whatever it was given. Either way the URL tells apart the users of the app, who take turns to be spoken to."""
    try:
        parts, ours = urlsplit(url), urlsplit(cloud)
    except ValueError:
        return url  # no URL: the bridge says so
    if parts.netloc != ours.netloc or not parts.path.endswith(PATH):
        return url
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    listener = {LISTENER: listener_of(record, user)} if user else {}
    if "signature" in query:
        return f"{url}&{urlencode(listener)}" if listener else url
    claim = speech_claim(record.package, query.get("text", ""), query.get("voice_id", ""))
    query |= listener | {"app": record.package, "signature": record.signer.sign(claim, int(at))}
    scheme = "https" if ours.scheme in ("wss", "https") else "http"
    return parts._replace(scheme=scheme, query=urlencode(query)).geturl()


def own_address(url: str, cloud: str) -> str:
    """host:port of this cloud, if the URL asks it (by the address that apps are given) for speech or for a sound that
    an app has brought; else empty. The bridge fetches these although the address may not be public."""
    try:
        parts, ours = urlsplit(url), urlsplit(cloud)
        port = ours.port or (443 if ours.scheme in ("wss", "https") else 80)
    except ValueError:
        return ""
    base = without_name(ours.path).removesuffix(APP_PATHS[0]).removesuffix(APP_PATHS[1])
    path = without_name(parts.path)
    sound, _, name = path.rpartition("/")
    is_ours = path == f"{base}{PATH}" or (sound == f"{base}{SOUNDS_PATH}" and name not in ("", ".", ".."))
    return f"{ours.hostname}:{port}" if parts.netloc == ours.netloc and is_ours else ""


def listener_of(record: AppRecord, user: str) -> str:
    """What stands for this user in the requests of this app."""
    return hmac.new(record.key_hash.encode(), user.encode(), sha256).hexdigest()[:16]


class Tts:
    """The handler. Without a voice it says so. `user_of` raises what the server answers 401 to."""

    def __init__(self, host: AppHost, voice: Voice | None, user_of: Callable[[web.Request], Awaitable[UserId]]) -> None:
        self._host = host
        self._voice = voice
        self._user_of = user_of
        self._of_app = Allowances(host.config.speech_of_app)
        self._of_user = Allowances(host.config.speech_of_user)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The sound of `text` as it is made, in the voice `voice_id` where one is named."""
        query = request.query
        text, voice, package = query.get("text", ""), query.get("voice_id"), query.get("app")
        if package is None:
            asker = Asker(await self._user_of(request))
        elif not self._signed(package, text, voice or "", query.get("signature", "")):
            return refuse(Rejection.SIGNATURE_WRONG)
        else:
            asker = Asker(f"app {package}", query.get(LISTENER, "")[:64])
        if self._voice is None:
            return refuse(Rejection.VOICE_MISSING)
        if (wait := self._wait(asker)) > 0:
            return _too_often(Rejection.SPEECH_TOO_OFTEN, wait, seconds=math.ceil(wait))
        try:
            settings = _settings(query.get("voice_settings", "{}"))
            utterance = SpeechRequest(text, voice, query.get("model_id"), settings, asker)
            async with aclosing(self._voice.say(utterance)) as pieces:
                first = await anext(pieces, b"")
                response = web.StreamResponse(headers={"Cache-Control": "no-store"})
                response.content_type = self._voice.media_type
                await response.prepare(request)
                try:
                    await response.write(first)
                    async for piece in pieces:
                        await response.write(piece)
                    await response.write_eof()
                except VoiceError as error:
                    log.warning("speech broke off", package=package, error=str(error))
                    _break_off(request)
        except VoiceBusy as error:
            return _too_often(Rejection.VOICE_BUSY, 1.0, why=error)
        except VoiceError as error:
            return refuse(Rejection.SPEECH_FAILED, why=error)
        log.info("said", package=package, characters=len(text))
        return response

    def _wait(self, asker: Asker) -> float:
        """Seconds until this asker may have something said again; 0.0: it may now."""
        now = self._host.world.monotonic()
        buckets = [self._of_user.of(asker, now)] + ([self._of_app.of(asker.party, now)] if asker.member else [])
        wait = max(bucket.wait(now) for bucket in buckets)
        if wait == 0.0:
            for bucket in buckets:
                bucket.take(now)
        return wait

    def _signed(self, package: str, text: str, voice: str, signature: str) -> bool:
        try:
            record = self._host.registry.find(package)
        except RegistryError:
            return False
        claim = speech_claim(package, text, voice)
        return record is not None and record.signer.signed(claim, signature, self._host.world.wall())


def _settings(text: str) -> dict[str, float | bool]:
    """Raises VoiceError."""
    try:
        found: dict[str, float | bool] = _settings_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = f"voice_settings is a JSON object of at most {MAX_SETTINGS} numbers and truth values"
        raise VoiceError(text) from None
    return found


def _too_often(rejection: Rejection, wait: float, **values: object) -> web.Response:
    metrics.REFUSALS.add("speech")
    seconds = math.ceil(wait)
    return refuse(rejection, {"Retry-After": str(seconds)}, None, **values)


def _break_off(request: web.Request) -> None:
    """Too late for a status: an end without the last chunk is the only way to say that this is not all."""
    if request.transport is not None:
        request.transport.abort()
