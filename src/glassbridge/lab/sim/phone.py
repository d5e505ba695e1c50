"""A phone: the client that people use, on modelled sockets and places, and the person who has it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from glassbridge.core.phone_socket import SocketState
from glassbridge.core.values import Transport, UserId
from glassbridge.lab.sim import sound
from glassbridge.lab.sim.cloud import Cloud
from glassbridge.lab.sim.http import Http, Way
from glassbridge.lab.sim.livekit import LiveKit, Token
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.place import Place
from glassbridge.lab.sim.socket import PhoneEnd
from glassbridge.lab.sim.world import Process, World
from glassbridge.livekit.participant import DEFAULT_OPTIONS, ConnectOptions, RoomEvents
from glassbridge.phone import events
from glassbridge.phone.client import PhoneClient

SPEECH = 0.5
"""Seconds between frames of speech (real ones come each 20 to 100 ms)."""


class Phone:
    """One user's phone. `clouds` are the backends that it may use, each with the link there."""

    def __init__(self, world: World, user: UserId, livekit: LiveKit, *, numbers: bool, room: bool, sdk: bool) -> None:
        self.process = Process(world, f"phone-{user}", user)
        self.process.boot = self._boot
        self.process.die = self._die
        self.user = user
        self.link: Link
        """To LiveKit."""
        self.clouds: list[tuple[Cloud, Link]] = []
        self.current = 0
        self.client: PhoneClient
        """Of this life, or of the last one."""
        self._livekit = livekit
        self._numbers = numbers
        self._transport = Transport.DATA if room else Transport.WEBSOCKET
        self._watchful = not sdk
        """Its participant is ours; the SDK's is blind for 14 s."""
        self._way: PhoneEnd | None = None
        """The socket that was acknowledged last, while it is open."""
        self._place: Place | None = None
        """The newest one."""
        self._here = False
        self._chatty = not numbers or world.chance.random() < 0.4
        """Somebody speaks all the time; else nobody does, and only presence goes out."""
        self._speaking = self._chatty
        self._microphone = True
        self._frames = 0

    def _boot(self) -> None:
        self._here = False
        self.client = PhoneClient(
            self._url, "token", self._hear, transport=self._transport, numbered=self._numbers, opus=False,
            connect=self._join, world=replace(self.process.world, http=self._http),
        )  # fmt: skip
        self._life = self.process.loop.create_task(self._live(self.client))

    async def _live(self, client: PhoneClient) -> None:
        """Until cancelled: then it says goodbye."""
        async with client:
            await client.microphone(self._microphone)
            await client.voice(self._speaking)
            while True:
                self._speak()
                await asyncio.sleep(SPEECH)

    def _speak(self) -> None:
        if self._talks:
            self._frames += 1
            self.client.speak(sound.frame(self._frames, self.process.time.now, numbered=self._numbers))

    def _die(self) -> None:
        self._believe("off")
        self._way = self._place = None

    # ---- what happens to it

    @property
    def _url(self) -> str:
        return f"http://{self.clouds[self.current][0].process.name}"

    def switch(self, cloud: int) -> None:
        """The person moves to another backend."""
        if self.process.awake:
            self.process.note("switch", self.user, self.clouds[cloud][0].process.name)
            self.current = cloud
            self.process.loop.create_task(self.client.switch(self._url))

    def say_goodbye(self) -> None:
        """The person stops the phone."""
        if self.process.awake:
            self.process.note("goodbye", self.user)
            self._life.cancel()

    def roam(self, told: bool) -> None:
        """Another network: what was open is dead without a word; `told`: the phone's system says so."""
        self.process.note("roams", self.user)
        for link in (self.link, *(link for _, link in self.clouds)):
            for connection in list(link.connections):
                connection.orphan()
        if self._place is not None:
            self._place.orphan()
        if told and self.process.awake:
            self.process.after(0.05, self.client.network_changed)

    def offline(self) -> None:
        """The phone's system says that there is no network."""
        if self.process.awake:
            self.client.network_lost()

    def online(self) -> None:
        """It says that there is one again."""
        if self.process.awake:
            self.client.network_changed()

    def online_if_offline(self) -> None:
        """The same, where it thinks otherwise."""
        if self.client.link.machine.socket.state is SocketState.OFFLINE:
            self.online()

    def speak(self, speaking: bool) -> None:
        """Somebody begins to speak (who does so at all), or is silent for a while."""
        speaking = speaking and self._chatty
        if self.process.awake and speaking != self._speaking:
            talked, self._speaking = self._talks, speaking
            self.process.loop.create_task(self.client.voice(speaking))
            self._turned(talked)

    def switch_microphone(self, on: bool) -> None:
        """The person switches it."""
        if self.process.awake and on != self._microphone:
            talked, self._microphone = self._talks, on
            self.process.loop.create_task(self.client.microphone(on))
            self._turned(talked)

    def _turned(self, talked: bool) -> None:
        if self._talks != talked and not self._numbers:
            self.process.note("speaks" if self._talks else "silent", self.user)

    @property
    def _talks(self) -> bool:
        return self._microphone and self._speaking

    # ---- what its client is given

    def _http(self, **_options: Any) -> Any:
        return Http(self.user, self._find, self._opened)

    def _find(self, url: str) -> Way:
        name = url.split("/")[2]
        cloud, link = next((cloud, link) for cloud, link in self.clouds if cloud.process.name == name)
        return Way(cloud, link, 0 if link.ends[0] is self.process else 1)

    def _opened(self, socket: PhoneEnd) -> None:
        def way(down: bool) -> None:
            self.process.note("way down" if down else "way up", self.user)

        socket.connection.on_way[socket.end] = way
        socket.over = partial(self._gone, socket)

    def _gone(self, socket: PhoneEnd) -> None:
        socket.connection.on_way[socket.end] = None
        if self._way is socket and self.process.running:
            self._way = None
            self._believe("off")
            self.process.note("way gone", self.user)

    async def _join(self, url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS) -> Place:
        """A Connector. There is one LiveKit, whatever its URL."""
        known = Token.of(token)
        place = Place(self.process, self.link, self._livekit, known, events, watchful=self._watchful)
        self._place = place
        await place.join(options.timeout)
        return place

    # ---- what its client tells

    def _hear(self, event: events.PhoneEvent) -> None:
        match event:
            case events.Acknowledged(session, resumed):
                if self._way is not None:
                    self.process.note("way gone", self.user)
                way = self._way = cast(Any, self.client.sender.socket)._ws
                self.process.note("acknowledged", self.user, session, "resumed" if resumed else "new", way.cloud)
                self._believe("connecting")
                self._speak()
            case events.AudioStateChanged(state) if self.client.link.machine.socket.state.here:
                self._believe(state)
            case events.SocketChanged(state, cloud, code, reason):
                self.process.note(f"socket {state}", self.user, cloud, code or "", reason)
            case events.RoomChanged(state, _, reason):
                self.process.note(f"place {state}", self.user, reason)
                self._speak()
            case events.Told(situation, text):
                self.process.note("told", self.user, situation, text)

    def changed(self, logged: Mapping[str, Any]) -> None:
        """One of its machines has changed its state."""
        self.process.note(
            logged["event"], self.user, f"{logged['old']} -> {logged['new']}", logged["on"], logged["generation"],
            logged["cause"],
        )  # fmt: skip
        here, told = self.client.link.machine.socket.state.here, self.client.audio_state
        if here != self._here:
            self._here = here
            if not here or told is not None:
                self._believe(told.state if here and told is not None else "off")

    def _believe(self, what: str) -> None:
        """What the phone takes for the truth about its audio, for the checkers."""
        self.process.note("believes", self.user, what)

    # ---- for the checkers

    @property
    def is_live(self) -> bool:
        """It is told so, on a socket that is acknowledged."""
        told = self.client.audio_state
        return self.client.session is not None and told is not None and told.state == "live"

    def stuck(self) -> str:
        """Why nothing will ever happen here, empty when something will."""
        machine = self.client.link.machine
        state = machine.socket.state
        if not self.process.running or state in (SocketState.ENDED, SocketState.OFFLINE, SocketState.IDLE):
            return ""
        return "" if machine.next_deadline() is not None else f"its socket is {state.label} without a deadline"
