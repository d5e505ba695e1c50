"""Tests an app: a made-up user speaks, presses buttons, and sees what the app does.

from captions import server
from glassbridge.testing import user_of

def test_it_shows_what_is_said() -> None:
    with user_of(server) as user:
        user.says("good morning")
        assert user.sees() == "good morning"

`user_of` needs no network and takes milliseconds: the app's own code and the SDK run as they do with a cloud, and what
the app asks for is judged by the cloud's rules. `user_on_system` gives a user with the same methods on a whole system:
livekit-server, bridge and cloud are processes, and a phone speaks and hears. It takes seconds.

An exception in a handler of the app, which costs a user one event only, fails the test. Not for tests that are
coroutines.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from glassbridge.app.server import AppServer
from glassbridge.core.subscriptions import Permission
from glassbridge.testing.scripted import ScriptedUser
from glassbridge.testing.user import Sound, User

if TYPE_CHECKING:
    from glassbridge.testing.system import SystemUser

__all__ = ["EVERYTHING", "Sound", "User", "user_of", "user_on_system"]

EVERYTHING: Final = frozenset({Permission.ALL})


@contextmanager
def user_of(
    server: AppServer,
    *,
    permissions: frozenset[Permission] = EVERYTHING,
    settings: Mapping[str, Any] | None = None,
    stored: dict[str, str] | None = None,
    user_id: str = "ann@example.com",
) -> Iterator[ScriptedUser]:
    """A user who starts the app, and stops it at the end of the block. `permissions` are those of the app, `settings`
    what the user has chosen, `stored` what the app has stored for the user before, and stores."""
    user = ScriptedUser(server, permissions, dict(settings or {}), {} if stored is None else stored, user_id)
    with user.using_the_app():
        yield user


@contextmanager
def user_on_system(
    server: AppServer,
    *,
    permissions: frozenset[Permission] = EVERYTHING,
    settings: Mapping[str, Any] | None = None,
    stored: Mapping[str, str] | None = None,
    user_id: str = "ann@example.com",
    livekit: str = "auto",
) -> "Iterator[SystemUser]":
    """The same on a whole system, which begins and ends with the block. `livekit`: as of `glassbridge dev`. Raises
    UserError when the system cannot be started."""
    from glassbridge.testing.system import SystemUser

    user = SystemUser(server, permissions, dict(settings or {}), dict(stored or {}), user_id, livekit)
    with user.using_the_app():
        yield user
