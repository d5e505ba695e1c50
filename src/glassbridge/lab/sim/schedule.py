"""What is set up, and what goes wrong when: plain data, made from a seed or written by hand."""

from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

CLOUDS = ("cloud-A", "cloud-B")
WORKERS = ("bridge-a", "bridge-b")
LIVEKIT = "livekit"
FIRST_FAULT = 4.0
"""Seconds in which everything comes up."""
CRASH_LOOPS = 0.004
"""Share of schedules with a long one."""
UNCLAIMED = 0.02
"""Share of schedules with a place that no stream claims."""


@dataclass(frozen=True, slots=True)
class User:
    """One phone and its habits."""

    name: str
    cloud: int = 0
    numbers: bool = True
    room: bool = True
    sdk: bool = False

    @property
    def phone(self) -> str:
        return f"phone-{self.name}"

    def __str__(self) -> str:
        habits = ["numbers" if self.numbers else "plain", "room" if self.room else "socket only"]
        return f"{self.name} ({', '.join([CLOUDS[self.cloud], *habits, *(['sdk'] if self.sdk else [])])})"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, or that somebody does, for so many seconds; undone at healing at the latest.

    `what`: cut, hold, slow, lossy (links; `how`: planes and directions, `amount`), reset (links), freeze, kill, stop
    (processes), switch, roam, offline, hush, mute (users), delete, remove (users' rooms and agents).
    """

    at: float
    what: str
    where: str
    seconds: float = 0.0
    how: str = ""
    amount: float = 0.0

    def touches(self, user: User) -> bool:
        """It may cost this user a join."""
        return self.where in (user.name, user.phone, *WORKERS, *CLOUDS, LIVEKIT) or (
            "~" in self.where and ("phone" not in self.where or user.phone in self.where)
        )

    def __str__(self) -> str:
        length = f" for {self.seconds:.2f} s" if self.seconds else ""
        about = " ".join(part for part in (self.how, f"{self.amount:.2f}" if self.amount else "") if part)
        return f"{self.at:9.3f}  {self.what} {self.where}{length} {about}".rstrip()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A whole run. Times in seconds."""

    seed: int
    """Of every other chance: delays, jitter, the order of what happens at once."""
    users: tuple[User, ...]
    faults: tuple[Fault, ...]
    heal_at: float
    shared: bool = False
    """Both clouds use both bridges; else each has its own."""
    blind_bridges: bool = False
    """The bridges sit in the room with the SDK's participant."""
    token_life: float = 600.0
    vanish: bool = False
    """At the end the phones go without a goodbye."""

    def about(self) -> str:
        """The setup in words."""
        return ", ".join(
            [
                "both bridges for both clouds" if self.shared else "a bridge for each cloud",
                "the SDK's participants" if self.blind_bridges else "our participants",
                f"tokens live {self.token_life:.0f} s",
                f"healed at {self.heal_at:.3f}",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def links_of(user: User) -> list[str]:
    """The links of one phone."""
    return [f"{user.phone}~{end}" for end in (*CLOUDS, LIVEKIT)]


def inner_links(shared: bool) -> list[str]:
    """The links between servers."""
    pairs = (
        [(cloud, worker) for cloud in CLOUDS for worker in WORKERS]
        if shared
        else list(zip(CLOUDS, WORKERS, strict=True))
    )
    return [f"{first}~{second}" for first, second in pairs] + [f"{worker}~{LIVEKIT}" for worker in WORKERS]


@dataclass
class _Maker:
    chance: Random
    users: tuple[User, ...]
    shared: bool
    faults: list[Fault] = field(default_factory=list)
    now: float = FIRST_FAULT

    def length(self) -> float:
        """Seconds: mostly where deadlines are."""
        low, high = self.chance.choice(((0.05, 1.0), (1.0, 5.0), (2.0, 4.5), (5.0, 20.0), (14.0, 32.0)))
        return round(self.chance.uniform(low, high), 3)

    def add(self, what: str, where: str, seconds: float = 0.0, how: str = "", amount: float = 0.0) -> None:
        self.faults.append(Fault(round(self.now, 3), what, where, seconds, how, round(amount, 3)))

    def link(self) -> str:
        user = self.chance.choice(self.users)
        at_home = [f"{user.phone}~{CLOUDS[user.cloud]}", f"{user.phone}~{LIVEKIT}"]
        return self.chance.choice([*at_home, *links_of(user), *inner_links(self.shared), *inner_links(self.shared)])

    def process(self) -> str:
        return self.chance.choice([*WORKERS, *WORKERS, *CLOUDS, LIVEKIT, self.chance.choice(self.users).phone])

    # ---- kinds of trouble

    def broken_link(self) -> None:
        what = self.chance.choice(("cut", "cut", "cut", "hold", "slow", "lossy", "reset"))
        planes = self.chance.choice(("both", "both", "tcp", "udp"))
        ways = self.chance.choice(("both", "both", "there", "back"))
        amount = self.chance.uniform(0.05, 0.4) if what in ("slow", "lossy") else 0.0
        how = f"{planes} {ways}" if what in ("cut", "hold") else ""
        self.add(what, self.link(), 0.0 if what == "reset" else self.length(), how, amount)

    def silent_media(self) -> None:
        """Audio stops while every socket stays up (F6)."""
        user = self.chance.choice(self.users)
        link = self.chance.choice((f"{user.phone}~{LIVEKIT}", f"{WORKERS[user.cloud]}~{LIVEKIT}"))
        directions = self.chance.choice(("both", "there", "back"))
        self.add("cut", link, round(self.chance.uniform(2.0, 14.0), 3), f"udp {directions}")

    def sick_process(self) -> None:
        what = self.chance.choice(("freeze", "freeze", "kill", "kill", "stop"))
        where = self.process()
        if where.startswith("phone") and what == "stop":
            what = "kill"
        if where == LIVEKIT and what == "stop":
            what = "kill"
        self.add(what, where, self.length())

    def restless_user(self) -> None:
        user = self.chance.choice(self.users)
        what = self.chance.choice(("switch", "switch", "switch", "roam", "offline", "hush", "mute", "delete", "remove"))
        how = self.chance.choice(("told", "")) if what in ("roam", "offline") else ""
        self.add(what, user.name, self.length() if what in ("offline", "hush", "mute") else 0.0, how)

    def back_and_forth(self) -> None:
        """A to B and back, at the pace of a person or of a machine."""
        user = self.chance.choice(self.users)
        for _ in range(self.chance.randint(2, 5)):
            self.add("switch", user.name)
            self.now += self.chance.choice((0.05, 0.5, 2.0, 4.0)) * self.chance.uniform(0.5, 1.5)

    def one_by_one(self) -> None:
        """The links of a random subset stop one after the other and come back in another order."""
        every = inner_links(self.shared) + [link for user in self.users for link in links_of(user)]
        chosen = self.chance.sample(every, self.chance.randint(2, max(2, len(every) // 2)))
        begin, step = self.now, self.chance.uniform(0.05, 1.5)
        last = begin + step * len(chosen)
        ends = [last + step * (number + self.chance.random()) for number in range(len(chosen))]
        self.chance.shuffle(ends)
        for link, end in zip(chosen, ends, strict=True):
            self.add(self.chance.choice(("cut", "cut", "hold")), link, round(end - self.now, 3), "both both")
            self.now += step
        self.now = max(ends)

    def old_owner(self) -> None:
        """A bridge freezes or is cut off, its user moves to the other backend, the bridge comes back."""
        user = self.chance.choice(self.users)
        worker = WORKERS[user.cloud]
        length = round(self.chance.uniform(4.0, 32.0), 3)
        if self.chance.random() < 0.5:
            self.add("freeze", worker, length)
        else:
            self.add(self.chance.choice(("cut", "hold")), f"{worker}~{LIVEKIT}", length, "both both")
        self.now += self.chance.uniform(0.2, 3.0)
        self.add("switch", user.name)

    def around_grace(self) -> None:
        """Away for about as long as a session waits."""
        user = self.chance.choice(self.users)
        if self.chance.random() < 0.5:
            self.add("offline", user.name, round(self.chance.uniform(55.0, 62.0), 3), "told")
            self.now += 62.0
        else:
            self.add("switch", user.name)
            self.now += self.chance.uniform(57.0, 62.0)
            self.add("switch", user.name)

    def crash_loop(self) -> None:
        """LiveKit is away for long, and the bridges die again and again."""
        self.add("kill", LIVEKIT, 360.0)
        for _ in range(240):
            for worker in WORKERS:
                self.add("kill", worker, 0.5)
            self.now += 1.5

    def unclaimed_place(self) -> None:
        """A bridge takes a place, its answer does not arrive before the cloud that asked for it has died, and the user
        goes elsewhere."""
        user = self.chance.choice(self.users)
        switches = sum(fault.what == "switch" and fault.where == user.name for fault in self.faults)
        cloud = CLOUDS[(user.cloud + switches + 1) % len(CLOUDS)]
        for link in inner_links(self.shared):
            if link.startswith(cloud):
                self.add("hold", link, self.length(), "tcp back")
        self.add("switch", user.name)
        self.now += self.chance.uniform(0.3, 1.4)
        self.add("kill", cloud, self.length())
        self.add("switch", user.name)

    def double(self) -> None:
        """Two things at once."""
        for _ in range(2):
            self.chance.choice((self.broken_link, self.sick_process, self.restless_user))()
            self.now += self.chance.choice((0.0, 0.01, 0.2))


def make(seed: int) -> Schedule:
    """The schedule of this seed."""
    chance = Random(f"schedule {seed}")  # noqa: S311 - not for secrets
    users = tuple(
        User(
            f"u{number}",
            cloud=chance.choice((0, 0, 1)),
            numbers=chance.random() < 0.8,
            room=chance.random() < 0.9,
            sdk=chance.random() < 0.3,
        )
        for number in range(chance.choice((2, 2, 2, 3, 3, 4, 5)))
    )
    shared = chance.random() < 0.35
    maker = _Maker(chance, users, shared)
    kinds = [
        (maker.broken_link, 6),
        (maker.sick_process, 6),
        (maker.silent_media, 2),
        (maker.restless_user, 4),
        (maker.double, 3),
        (maker.back_and_forth, 1),
        (maker.one_by_one, 1),
        (maker.old_owner, 2),
    ]
    if chance.random() < 0.1:
        maker.now = 0.1
    if chance.random() < 0.06:
        kinds.append((maker.around_grace, 6))
    for _ in range(chance.choice((1, 1, 2, 2, 3, 3, 4, 6, 9))):
        chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
        maker.now += chance.choice((0.0, 0.3, 1.0, 4.0, 8.0)) * chance.uniform(0.5, 1.5)
    if Random(f"crash loop {seed}").random() < CRASH_LOOPS:  # noqa: S311 - not for secrets
        maker.crash_loop()
    rare = Random(f"unclaimed place {seed}")  # noqa: S311 - not for secrets
    if rare.random() < UNCLAIMED:
        maker.chance = rare
        maker.unclaimed_place()
    last = max(fault.at + fault.seconds for fault in maker.faults)
    return Schedule(
        seed,
        users,
        tuple(maker.faults),
        heal_at=round(min(last, maker.now + 20.0) + chance.random(), 3),
        shared=shared,
        blind_bridges=chance.random() < 0.15,
        token_life=chance.choice((600.0, 600.0, 5.0)),
        vanish=chance.random() < 0.5,
    )
