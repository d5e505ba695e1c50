"""What of late sound a session keeps. How it is understood in its place is tests/cloud/test_late_words.py's."""

from glassbridge.core.in_order import Hole
from glassbridge.core.late_sound import SEAM, LateHole
from glassbridge.core.uplink import Delivery
from glassbridge.core.values import BYTES_PER_SAMPLE


def test_the_silence_between_many_fills_is_the_same_silence() -> None:
    """A phone that filled a hole in 200 places, seconds apart, made a mending hold 6 MB where 4 are the limit."""
    fills = [Delivery(1, place * 3 * SEAM, bytes(640), live=False, age=1.0) for place in range(200)]
    hole = LateHole(Hole(1, 0, 600 * SEAM, 600 * SEAM), 0, fills)
    sound = {id(pcm): len(pcm) for _, pcm in hole.sound()}
    assert sum(sound.values()) < 200 * 640 + 2 * SEAM * BYTES_PER_SAMPLE
