"""The microphone of one user: what comes out of the room becomes chunks for the cloud's audio stream.

Runs for each packet on the event loop: no logging, no tasks, no copies beyond the chunk itself.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final

from glassbridge.bridge.contract import HINDRANCES
from glassbridge.core.values import BYTES_PER_MS, SAMPLE_RATE, AudioSource, Generation
from glassbridge.core.voices import Hindrance, RemoteTrack, choose_voice
from glassbridge.livekit.participant import AudioBlock, Packet, RemoteParticipant
from glassbridge.runtime.pulse import Pace, Pulse
from glassbridge.runtime.queues import AgedQueue
from glassbridge.telemetry import metrics
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, FrameError, decode_numbered, decode_unnumbered

AGENTS: Final = "cloud-agent:"
"""Identities of bridges begin so; their tracks are not wanted."""
OTHER_TOPICS: Final = ("lk.", "lk-", "gb.")
"""Topics of LiveKit's own features (chat, text streams) and of ours; everything else is the original's audio."""
MAX_PACKET_BYTES: Final = 64 << 10
"""Two seconds of audio."""
VOICE_HOLDS: Final = 1.0
"""Seconds after their last sound in which a person keeps other people from speaking between, where all are heard."""
PACKETS_HOLD: Final = 3.0
"""Seconds after a data packet of audio in which a person is heard by packets, whatever becomes of their tracks."""

NUMBERED: Final = AudioSource.PACKET_NUMBERED.value
SEQUENCE: Final = AudioSource.PACKET_SEQUENCE.value
PLAIN: Final = AudioSource.PACKET_PLAIN.value
TRACK: Final = AudioSource.TRACK.value

_received = metrics.FRAMES_RECEIVED.cell("room")
_malformed = metrics.FRAMES_DROPPED.cell("bridge", "malformed")
_stale = metrics.FRAMES_DROPPED.cell("bridge", "stale")


def _dropped(why: str, count: int) -> None:
    metrics.FRAMES_DROPPED.add("bridge", why, by=count)


class Microphone:
    """Hears `target` (empty: everybody but agents) and queues what it says; the queue has one consumer at a time."""

    def __init__(
        self,
        target: str,
        generation: Generation,
        queue_frames: int,
        max_age: float,
        pulse: Pulse,
        log: Any,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._target = target
        self._generation = generation
        self._pulse = pulse
        self._pace = Pace()
        self._queue_frames = queue_frames
        self._max_age = max_age
        self._log = log
        self._queue = AgedQueue[pb.AudioChunk](queue_frames, max_age, clock, _dropped)
        self._claimed = False
        self._closed = False
        self._people: dict[str, RemoteParticipant] = {}
        """Those that are wanted and here, by identity."""
        self._voices: dict[str, RemoteTrack] = {}
        """The track that each of them is heard by, if any."""
        self._encrypted: set[str] = set()
        """Sids of those whose newest data packet was encrypted."""
        self._packet_at = -inf
        self._speaker = ""
        self._spoke_at = -inf
        self._dropped = 0
        self.heard_at: float | None = None
        """Monotonic seconds of the last frame or presence; None: none yet."""
        self.received = 0
        self.malformed = 0
        self.stale = 0
        """Frames without numbers that came late in a burst, because we stood still."""
        self.news = pb.RoomNews()
        """What the stream was last told of the room."""

    @property
    def dropped(self) -> int:
        """Frames that were too old or too many for the stream."""
        return self._dropped + self._queue.dropped

    @property
    def waiting(self) -> int:
        """Frames in the queue."""
        return len(self._queue)

    def claim(self) -> AgedQueue[pb.AudioChunk]:
        """The queue for a stream: for the first stream the one that exists since the join, for later ones a new one.

        The first thing in it is the news of the room.
        """
        if self._claimed:
            self._dropped += self._queue.dropped
            self._queue.close()
            self._queue = AgedQueue(self._queue_frames, self._max_age, self._clock, _dropped)
        self._claimed = True
        self._queue.put_urgent(self._tidings())
        if self._closed:
            self._queue.close()
        return self._queue

    def close(self) -> None:
        """Nothing more will be heard; the stream may still send what waits."""
        self._closed = True
        self._queue.close()

    def on_people(self, people: Iterable[RemoteParticipant]) -> None:
        """Tells the stream what is new of the phone: whether it is here, publishes, and what keeps it unheard."""
        self._people = {person.identity: person for person in people if self._wants(person.identity)}
        self._encrypted &= {person.sid for person in self._people.values()}
        chosen = {identity: choose_voice(person.tracks) for identity, person in self._people.items()}
        self._voices = {
            identity: voice for identity, voice in chosen.items() if voice is not None and voice.hindrance is None
        }
        self.judge()

    def judge(self) -> None:
        """Looks again at what keeps the phone from being heard: no event tells the end of its packets."""
        hindrance, codec = self._hindrance()
        self._learn(
            pb.RoomNews(
                phone_here=bool(self._people),
                phone_publishes=any(person.publishing for person in self._people.values()),
                leaving=self.news.leaving,
                hindrance=HINDRANCES[hindrance],
                codec=codec,
            )
        )

    def _hindrance(self) -> tuple[Hindrance | None, str]:
        """What keeps the phone from being heard (of several people: the first), and the codec that does."""
        if self._voices or self._clock() - self._packet_at < PACKETS_HOLD:
            return None, ""
        for person in self._people.values():
            voice = choose_voice(person.tracks)
            if voice is not None:
                return voice.hindrance, voice.codec if voice.hindrance is Hindrance.CODEC else ""
            if not person.may_publish:
                return Hindrance.PUBLISH_DENIED, ""
            if person.sid in self._encrypted:
                return Hindrance.ENCRYPTED, ""
        return None, ""

    def announce_leaving(self) -> None:
        """Tells the stream that this place is about to be given up for good."""
        news = pb.RoomNews()
        news.CopyFrom(self.news)
        news.leaving = True
        self._learn(news)

    def on_packet(self, packet: Packet) -> None:
        """Queues the audio of a data packet; a malformed one is counted, and logged once."""
        if not self._wants(packet.sender):
            return
        if packet.encrypted:
            self._note_encrypted(packet.sender)
            return
        try:
            if packet.topic == TOPIC_NUMBERED:
                chunk = self._numbered(packet.payload)
            elif packet.topic.startswith(OTHER_TOPICS):
                return
            else:
                chunk = self._unnumbered(packet.payload)
                if self._is_stale(chunk.pcm_data):
                    return
        except FrameError as error:
            self._refuse(error)
            return
        self._packet_at = self._clock()
        if self._encrypted or self.news.hindrance:
            self._encrypted -= {person.sid for person in self._people.values() if person.identity == packet.sender}
            self.judge()
        self._hear(chunk)

    def _note_encrypted(self, sender: str) -> None:
        person = self._people.get(sender)
        if person is not None and person.sid not in self._encrypted:
            self._encrypted.add(person.sid)
            self.judge()

    def on_audio(self, block: AudioBlock) -> None:
        """Queues a block of the track that is its sender's voice. One person speaks at a time: interleaved they would
        be noise."""
        voice = self._voices.get(block.sender)
        if voice is None or voice.sid != block.track_sid:
            return
        now = self._clock()
        if block.sender != self._speaker:
            if self._speaker in self._voices and now - self._spoke_at < VOICE_HOLDS:
                return
            self._speaker = block.sender
        self._spoke_at = now
        if self._is_stale(block.pcm):
            return
        self._hear(self._chunk(block.pcm, TRACK))

    def _learn(self, news: pb.RoomNews) -> None:
        if news == self.news:
            return
        self.news = news
        self._log.info(
            "room news",
            phone_here=news.phone_here,
            phone_publishes=news.phone_publishes,
            leaving=news.leaving,
            hindrance=pb.Hindrance.Name(news.hindrance).removeprefix("HINDRANCE_").lower(),
            codec=news.codec,
        )
        if self._claimed:
            self._queue.put_urgent(self._tidings())

    def _tidings(self) -> pb.AudioChunk:
        return pb.AudioChunk(sample_rate=SAMPLE_RATE, channels=1, generation=self._generation, news=self.news)

    def _is_stale(self, pcm: bytes) -> bool:
        live = self._pace.is_live(self._clock(), len(pcm) / BYTES_PER_MS / 1000)
        if live or not self._pulse.backlog_may_come():
            return False
        self.stale += 1
        _stale.count += 1
        return True

    def _wants(self, sender: str) -> bool:
        return sender == self._target if self._target else not sender.startswith(AGENTS)

    def _hear(self, chunk: pb.AudioChunk) -> None:
        self.heard_at = self._clock()
        self.received += 1
        _received.count += 1
        self._queue.put(chunk)

    def _numbered(self, payload: bytes) -> pb.AudioChunk:
        number, pcm = decode_numbered(payload)
        chunk = self._chunk(pcm, NUMBERED)
        mark = chunk.number
        mark.flags = number.flags
        mark.coding = number.coding
        mark.epoch = number.epoch
        mark.position = number.position
        mark.capture_time_us = number.capture_time_us
        mark.SetInParent()
        return chunk

    def _unnumbered(self, payload: bytes) -> pb.AudioChunk:
        if len(payload) > MAX_PACKET_BYTES:
            raise FrameError(f"a packet of {len(payload)} bytes: more than {MAX_PACKET_BYTES} is no microphone")
        counter, pcm = decode_unnumbered(payload)
        if not pcm:
            raise FrameError("a packet without samples")
        return self._chunk(pcm, PLAIN if counter is None else SEQUENCE)

    def _chunk(self, pcm: bytes, source: int) -> pb.AudioChunk:
        return pb.AudioChunk(
            pcm_data=pcm,
            sample_rate=SAMPLE_RATE,
            channels=1,
            generation=self._generation,
            source=source,  # type: ignore[arg-type]
        )

    def _refuse(self, error: FrameError) -> None:
        self.malformed += 1
        _malformed.count += 1
        if self.malformed == 1:
            self._log.warning("malformed audio packet; further ones are only counted", error=str(error))
