"""Speaks a clip into a phone as a microphone would: frame by frame, in real time, without drift."""

import asyncio
from time import monotonic

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.phone.client import PhoneClient


async def play(phone: PhoneClient, clip: bytes, frame_ms: int, *, last: bool = True) -> int:
    """Speaks the clip and returns the number of frames; `last` says with the last one that the microphone stops.

    A frame is sent when its end would have been captured, and every time is counted from the start, so that delays
    do not add up. Frames for which the microphone is off are not captured. Safe to cancel.
    """
    size = frame_ms * BYTES_PER_MS
    begun, begun_us = monotonic(), phone.capture.now()
    taken = 0
    for start in range(0, len(clip), size):
        frame = clip[start : start + size]
        stop = start + len(frame)
        await asyncio.sleep(max(0.0, begun + stop / BYTES_PER_MS / 1000 - monotonic()))
        captured_us = begun_us + start * 1000 // BYTES_PER_MS
        taken += phone.speak(frame, captured_us, last=last and stop == len(clip))
    return taken
