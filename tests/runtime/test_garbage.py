"""What the collector looks at in a program that runs."""

import gc
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
