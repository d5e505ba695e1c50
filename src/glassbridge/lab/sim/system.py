"""All of it: phones, clouds, bridges, LiveKit and the links between them, and the hands that break and heal them."""

from collections.abc import Callable, Iterable
from typing import Any

from glassbridge.core.values import UserId, agent_identity
from glassbridge.lab.sim.bridge import Worker
from glassbridge.lab.sim.cloud import Cloud
from glassbridge.lab.sim.livekit import LiveKit
from glassbridge.lab.sim.net import Link, Plane, Way
from glassbridge.lab.sim.phone import Phone
from glassbridge.lab.sim.schedule import CLOUDS, LIVEKIT, WORKERS, Fault, Schedule, inner_links
from glassbridge.lab.sim.world import World

STOPS_WITHIN = 3.5
"""Seconds from SIGTERM to the end of a program."""
LOOKS_EVERY = 0.1
_PLANES = {"both": tuple(Plane), "tcp": (Plane.STREAM,), "udp": (Plane.MEDIA,)}
_DIRECTIONS = {"both": (0, 1), "there": (0,), "back": (1,)}


class System:
    """Built from a schedule; `begin()` starts everything and plans the faults."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.world = world = World(schedule.seed)
        self.livekit = LiveKit(world)
        self.workers = [Worker(world, name) for name in WORKERS]
        self.clouds = [Cloud(world, name, self.livekit, schedule.token_life) for name in CLOUDS]
        self.phones = {
            user.name: Phone(world, UserId(user.name), self.livekit, numbers=user.numbers, room=user.room, sdk=user.sdk)
            for user in schedule.users
        }
        self.processes = world.processes
        programs: list[Worker | Cloud] = [*self.workers, *self.clouds]
        self._programs = {program.process.name: program for program in programs}
        self.links: dict[str, Link] = {}
        self._wire()
        self._deeds: dict[str, Callable[[Fault], None]] = {
            "cut": self._break,
            "hold": self._break,
            "slow": self._hamper,
            "lossy": self._hamper,
            "reset": lambda fault: self.links[fault.where].reset(),
            "freeze": self._freeze,
            "kill": self._kill,
            "stop": self._stop,
            "switch": self._switch,
            "roam": lambda fault: self.phones[fault.where].roam(told=fault.how == "told"),
            "offline": self._offline,
            "hush": self._hush,
            "mute": self._mute,
            "delete": lambda fault: self._room_service(self.livekit.delete, fault.where),
            "remove": lambda fault: self._room_service(
                self.livekit.remove, fault.where, agent_identity(UserId(fault.where))
            ),
        }

    def _wire(self) -> None:
        for worker in self.workers:
            worker.livekit = self.livekit
            worker.link = self._link(worker.process.name, LIVEKIT)
            worker.watchful = not self.schedule.blind_bridges
        for cloud in self.clouds:
            cloud.to_livekit = self._link(cloud.process.name, LIVEKIT)
        for name in inner_links(self.schedule.shared):
            first, second = name.split("~")
            if second != LIVEKIT:
                worker = next(worker for worker in self.workers if worker.process.name == second)
                cloud = next(cloud for cloud in self.clouds if cloud.process.name == first)
                cloud.ways[second] = worker.server, self._link(first, second)
        for user in self.schedule.users:
            phone = self.phones[user.name]
            phone.current = user.cloud
            phone.link = self._link(user.phone, LIVEKIT)
            phone.clouds = [(cloud, self._link(user.phone, cloud.process.name)) for cloud in self.clouds]

    def _link(self, first: str, second: str) -> Link:
        name = f"{first}~{second}"
        link = self.links[name] = Link(self.world, name, self.processes[first], self.processes[second])
        return link

    def begin(self) -> None:
        """Starts everything and plans what goes wrong."""
        self.livekit.process.start()
        for program in self._programs.values():
            program.process.start()
        for phone in self.phones.values():
            self.world.at(self.world.chance.random(), phone.process.start)
        for fault in self.schedule.faults:
            self.world.at(fault.at, self._do, fault)

    # ---- breaking

    def _do(self, fault: Fault) -> None:
        if fault.at < self.schedule.heal_at:
            self.world.note("-", "FAULT", "", str(fault).strip())
            self._deeds[fault.what](fault)

    def _later(self, fault: Fault, call: Callable[..., None], *args: Any) -> None:
        self.world.at(min(fault.at + fault.seconds, self.schedule.heal_at), call, *args)

    def _break(self, fault: Fault) -> None:
        planes, directions = fault.how.split()
        link, way = self.links[fault.where], Way.CUT if fault.what == "cut" else Way.HELD
        for plane in _PLANES[planes]:
            for direction in _DIRECTIONS[directions]:
                link.set(plane, direction, way)
                self._later(fault, link.set, plane, direction, Way.UP)

    def _hamper(self, fault: Fault) -> None:
        link = self.links[fault.where]
        name = "slow" if fault.what == "slow" else "loss"
        setattr(link, name, fault.amount)
        self._later(fault, setattr, link, name, 0.0)

    def _freeze(self, fault: Fault) -> None:
        process = self.processes[fault.where]
        process.freeze()
        self._later(fault, process.thaw)

    def _kill(self, fault: Fault) -> None:
        process = self.processes[fault.where]
        process.kill()
        self._later(fault, process.start)

    def _stop(self, fault: Fault) -> None:
        program = self._programs[fault.where]
        program.stop()
        back = max(fault.at + STOPS_WITHIN, min(fault.at + fault.seconds, self.schedule.heal_at))
        self.world.at(back, self._start_again, program, program.process.life)

    def _start_again(self, program: Cloud | Worker, life: int) -> None:
        """Once it has ended: one that stood still in the meantime takes longer."""
        if program.draining and program.process.life == life:
            self.world.at(self.world.now + LOOKS_EVERY, self._start_again, program, life)
        else:
            program.process.start()

    def _switch(self, fault: Fault) -> None:
        phone = self.phones[fault.where]
        phone.switch(1 - phone.current)

    def _offline(self, fault: Fault) -> None:
        phone = self.phones[fault.where]
        links = [phone.link, *(link for _, link in phone.clouds)]
        for link in links:
            for plane in Plane:
                for direction in (0, 1):
                    link.set(plane, direction, Way.CUT)
                    self._later(fault, link.set, plane, direction, Way.UP)
        if fault.how == "told":
            phone.offline()
            self._later(fault, phone.online)

    def _hush(self, fault: Fault) -> None:
        phone = self.phones[fault.where]
        phone.speak(False)
        self._later(fault, phone.speak, True)

    def _mute(self, fault: Fault) -> None:
        phone = self.phones[fault.where]
        phone.switch_microphone(False)
        self._later(fault, phone.switch_microphone, True)

    def _room_service(self, call: Callable[..., None], *args: str) -> None:
        if self.livekit.process.awake:
            call(*args)

    # ---- healing

    def heal(self) -> None:
        """Everything works again."""
        self.world.note("-", "HEALED")
        for link in self.links.values():
            link.slow = link.loss = 0.0
            for plane in Plane:
                for direction in (0, 1):
                    link.set(plane, direction, Way.UP)
        for process in self.processes.values():
            process.thaw()
            process.start()
        for phone in self.phones.values():
            phone.speak(True)
            phone.switch_microphone(True)
            phone.online_if_offline()

    def leave(self) -> None:
        """The phones go."""
        for phone in self.phones.values():
            if self.schedule.vanish:
                phone.process.kill()
            else:
                phone.say_goodbye()

    def close(self) -> None:
        """Nothing of it is left in this process."""
        for program in (*self._programs.values(), *self.phones.values()):
            program.process.kill()

    # ---- looking

    def stuck(self) -> Iterable[tuple[str, str, str]]:
        """(process, user, why) of everything that waits for nothing."""
        for phone in self.phones.values():
            if phone.process.awake and (why := phone.stuck()):
                yield phone.process.name, phone.user, why
        for cloud in self.clouds:
            if cloud.process.awake:
                for session in cloud.sessions:
                    if why := cloud.stuck(session):
                        yield cloud.process.name, session.user, why
        for worker in self.workers:
            if worker.process.awake:
                for host in worker.rooms:
                    if why := worker.stuck(host):
                        yield worker.process.name, host.user, why

    def left_over(self) -> Iterable[str]:
        """Everything of any user that is still there."""
        for cloud in self.clouds:
            for user in [*(session.user for session in cloud.sessions), *cloud.leaving]:
                yield f"{cloud.process.name} keeps a session of {user}"
        for worker in self.workers:
            for host in worker.rooms:
                yield f"{worker.process.name} keeps the room of {host.user} ({host.machine.state.label})"
        for room, members in self.livekit.rooms.items():
            yield f"livekit keeps in the room of {room}: {', '.join(members)}"
