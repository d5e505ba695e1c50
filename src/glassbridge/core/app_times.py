"""How long an app may miss its user, and how that time is divided: every wait on an app's way back stands here.

From the moment at which everything that an app needs is up, it hears its user again within HEARD_WITHIN. There are two
ways. Its SDK finds that its socket is dead, and opens another (`sdk_takes`). Or the cloud finds it, and asks the app's
server to open one (`AppTimes.take`). Each sum is that of the longest chain of waits; a test holds it to the budget.

Two waits are longer than the budget. A server that takes a webhook has `AppsConfig.webhook_timeout` for its answer: it
may have to be started first, and a second webhook is a second session to the original's SDK. And only unanswered pings
show that an app of the original is dead behind a proxy.
"""

from dataclasses import dataclass
from typing import Final

from glassbridge.core.backoff import Ladder

HEARD_WITHIN: Final = 10.0
"""Seconds."""
TRIP: Final = 1.5
"""Seconds from an attempt to the first word of the user, when everybody answers: a webhook, a socket, subscriptions."""

# ---- the SDK

PING_AFTER: Final = 2.0
"""Seconds of silence after which the cloud is pinged. Silence is checked twice as often."""
SILENCE: Final = 4.0
"""Seconds of silence of a cloud that answers pings after which the socket is dead."""
OPEN_WITHIN: Final = 3.0
"""Seconds for a socket to open."""
ACKNOWLEDGED_WITHIN: Final = 3.0
"""Seconds in which a cloud that takes a socket lets the app in, or says why not."""
GOODBYE: Final = 1.0
"""Seconds for the answer to a goodbye."""
RECONNECT: Final = Ladder(base=0.25, cap=4.0)
"""Seconds between two attempts."""


def sdk_takes() -> float:
    """Seconds, at most: a dead socket has to be noticed, or an attempt that was under way has to fail."""
    noticed = SILENCE + PING_AFTER / 2 + RECONNECT.base
    tried_in_vain = max(OPEN_WITHIN, ACKNOWLEDGED_WITHIN + GOODBYE) + RECONNECT.cap
    return max(noticed, tried_in_vain) + TRIP


# ---- the cloud

WEBHOOKS: Final = Ladder(base=1.0, cap=5.0)
"""Seconds between two webhooks."""
LOOK_EVERY: Final = 1.5
"""Seconds between two looks whether an app's machine acknowledges what it is sent."""
LOOKS: Final = 3
"""Looks in a row that find nothing acknowledged, after which it is lost, and its server is asked at once."""
PHONE_SPEAKS: Final = 2.0
"""Seconds between two words of a phone that is here: its pings, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTimes:
    """Seconds."""

    grace: float = 3.5
    """The original's SDK tries by itself after 1 s and after 3 s."""
    start: float = 30.0
    """Budget of a start: two webhooks that take their whole time limit, and more."""
    revival: float = 120.0
    """Budget to get a lost app back, from the loss."""
    dial: float = 2.0
    """In which an app's server takes the connection of a webhook. One that was not taken has begun nothing."""
    connect: float = 4.0
    """From the answer of a webhook to the app's socket."""
    settled: float = 30.0
    elsewhere: float = 40.0
    doubt: float = 1.5
    """Messages from before the phone left have arrived by then."""

    def take(self) -> float:
        """Until a lost app is back, at most: it has time to come by itself, or its machine has died silently, or
        a webhook was lost, or the app was called to a cloud that the phone only visited."""
        unseen = (LOOKS + 1) * LOOK_EVERY
        asked_in_vain = max(self.dial + WEBHOOKS.cap, self.connect)
        called_away = self.doubt + PHONE_SPEAKS
        return max(self.grace, unseen, asked_in_vain, called_away) + TRIP


TIMES: Final = AppTimes()
