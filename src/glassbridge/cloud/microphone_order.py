"""The shell around core/microphone_order.py: tells the phone what its microphone is to do. A listener of it, too: one
that sends although it was switched off is told again."""

from collections.abc import Callable

import structlog

from glassbridge.cloud.clock import iso_now
from glassbridge.core.microphone_order import (
    AudioReceived,
    Effect,
    Event,
    MicrophoneOrder,
    Needed,
    OrderState,
    PhoneCame,
    PhoneWent,
    SwitchOn,
    Tick,
)
from glassbridge.runtime.direct import DirectShell
from glassbridge.wire.phone import Message, MicrophoneStateChange

TICK = Tick()


class Order:
    """Owned by one session.

    `on_switch` hears whether the phone is to be heard: a microphone that was switched off from here is as silent as one
    that its owner switched off. `captions`: the phone itself needs its microphone, whatever apps want.
    """

    __slots__ = ("_always", "_asked", "_machine", "_on_switch", "_said", "_shell", "_tell")

    wants_late = False

    def __init__(
        self,
        tell: Callable[[Message], None],
        on_switch: Callable[[bool], None],
        log: structlog.stdlib.BoundLogger,
        clock: Callable[[], float],
        *,
        captions: bool,
    ) -> None:
        self._tell = tell
        self._on_switch = on_switch
        self._asked = self._said = True
        """Whether the microphone is on as the phone was told last, and as it said last."""
        self._always = captions
        self._machine = MicrophoneOrder(Needed(captions))
        self._shell: DirectShell[Event] = DirectShell(
            self._machine, self._perform, TICK, lambda record: log.info("microphone order", **record.fields), clock
        )

    def put(self, _pcm: bytes) -> None:
        """Audio has come."""
        if self._machine.state is OrderState.OFF:
            self._shell.step(AudioReceived())

    def phone_came(self) -> None:
        """A phone is here."""
        self._asked = self._said = True
        self._shell.step(PhoneCame())

    def phone_went(self) -> None:
        """No phone is here."""
        self._shell.step(PhoneWent())

    def phone_said(self, *, on: bool) -> None:
        """The phone says whether its microphone is on."""
        self._switch(asked=self._asked, said=on)

    def need(self, *, on: bool, raw: bool) -> None:
        """What apps need."""
        self._shell.step(Needed(on or self._always, raw))

    def need_always(self) -> None:
        """The microphone stays on from now on, whatever apps need."""
        self._always = True
        self.need(on=True, raw=False)

    def close(self) -> None:
        """Nothing more is told."""
        self._shell.stop()

    def _perform(self, effect: Effect) -> None:
        on = isinstance(effect, SwitchOn)
        self._tell(
            MicrophoneStateChange(
                is_microphone_enabled=on,
                required_data=["pcm"] if on else [],
                bypass_vad=isinstance(effect, SwitchOn) and effect.raw,
                timestamp=iso_now(),
            )
        )
        self._switch(asked=on, said=self._said)

    def _switch(self, *, asked: bool, said: bool) -> None:
        was_on = self._asked and self._said
        self._asked, self._said = asked, said
        if (asked and said) is not was_on:
            self._on_switch(asked and said)
