"""How long the event loop was kept by one turn, whatever else the machine does."""

import asyncio
from time import thread_time


async def longest_turn(over: asyncio.Event) -> float:
    """Seconds of processor that this thread spent between two of our turns, at most; returns once it is over."""
    longest = 0.0
    while not over.is_set():
        begun = thread_time()
        await asyncio.sleep(0.01)
        longest = max(longest, thread_time() - begun)
    return longest
