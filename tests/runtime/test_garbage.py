"""What the collector looks at in a program that runs."""

import gc
import subprocess
import sys

from glassbridge.runtime.garbage import spare_imports


def test_imports_are_not_looked_at_any_more() -> None:
    try:
        spare_imports()
        assert gc.get_freeze_count() > 1_000
        looked_at = {id(each) for each in gc.get_objects()}
        assert id(sys.modules) not in looked_at
    finally:
        gc.unfreeze()


TELLS = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 1_000))  # what is registered first is called last
from glassbridge.runtime.garbage import YOUNG, spare_the_start
spare_the_start()
print(gc.get_threshold() == YOUNG)
"""


def test_neither_what_a_start_makes_nor_what_an_end_leaves_is_looked_at() -> None:
    done = subprocess.run([sys.executable, "-c", TELLS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
