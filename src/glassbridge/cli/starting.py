"""What a program needs before it may listen. All that is wrong with a start is told at once, then it is refused."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from glassbridge.cli.common import read_environment
from glassbridge.runtime.addresses import is_loopback
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.settings import Settings, WeakSecret

    Read = tuple[Settings, tuple[str, ...]]

Result = TypeVar("Result")

DevelopmentOption = Annotated[
    bool,
    typer.Option(
        "--development",
        help="Start although others can reach it with public or short secrets, or without TLS. Never in production.",
    ),
]


class Start:
    """One start of a program. `finish` raises UserError for all that was wrong."""

    def __init__(self, development: bool, read: "Callable[[], Read]" = read_environment) -> None:
        from glassbridge.telemetry.lean_structlog import import_structlog

        import_structlog()
        self.settings: Settings
        """What cannot be used in it is told by `finish`."""
        self.settings, wrong = read()
        self._wrong = list(wrong)
        self._development = development
        self._exposed: list[str] = []
        """The options that let other machines in."""
        self._weak: tuple[WeakSecret, ...] = ()
        self._warnings: list[str] = []

    def attempt(self, step: Callable[[], Result]) -> Result | None:
        """The result of a step of the start; None where it is refused."""
        try:
            return step()
        except UserError as error:
            self._wrong += str(error).splitlines()
            return None

    def listen(self, option: str, host: str) -> bool:
        """Whether others than this machine can reach `host`, which the option names."""
        try:
            exposed = not is_loopback(host)
        except ValueError as error:
            self._wrong.append(f"{option}: {error}: say 127.0.0.1, 0.0.0.0, or an address of this machine")
            return False
        if exposed:
            self._exposed.append(option)
        return exposed

    def judge(self, secrets: "tuple[WeakSecret, ...]") -> None:
        """Secrets that this program uses and that anybody may know."""
        told = {line.partition(":")[0].removesuffix("_FILE") for line in self._wrong}
        self._weak = tuple(weak for weak in secrets if weak.name not in told)

    def note(self, text: str) -> None:
        """Something to warn of."""
        self._warnings.append(text)

    def require(self, holds: bool, otherwise: str) -> None:
        """A fault that only `--development` excuses."""
        if not holds:
            (self._warnings if self._development else self._wrong).append(otherwise)

    def finish(self) -> tuple[str, ...]:
        """What is excused, for a warning. Raises UserError for what is not."""
        weak = [f"{secret.place} {secret.why}" for secret in self._weak]
        for text in weak:
            self.require(
                not self._exposed,
                f"{text}, and {' and '.join(self._exposed)} lets other machines in: set 32 random bytes or more "
                "(openssl rand -hex 32), or say --development",
            )
        if self._wrong:
            raise UserError("\n".join(dict.fromkeys(self._wrong)), 2)
        return tuple(dict.fromkeys([*self._warnings, *(() if self._exposed else weak)]))

    def again(self) -> "Settings":
        """The settings as the environment's files hold them now; their secrets are kept out of the log too. Raises
        ValueError for what could not start either."""
        from glassbridge.settings import read_settings
        from glassbridge.telemetry.logs import hide

        start = Start(self._development, lambda: read_settings(os.environ))
        hide(start.settings.secrets)
        start._exposed = self._exposed
        start.judge(tuple(weak for weak in start.settings.weak_secrets() if weak.given))
        try:
            start.finish()
        except UserError as error:
            raise ValueError("; ".join(str(error).splitlines())) from None
        return start.settings

    def warn(self) -> None:
        """One line in the log for all that is excused. Raises UserError for what is not."""
        import structlog

        if excused := self.finish():
            structlog.get_logger().warning(
                "unsafe settings excused",
                faults=list(excused),
                reason="--development" if self._development else "only this machine can reach it",
                action="fix them before others can reach it (docs/production.md)",
            )
