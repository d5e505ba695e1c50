"""What an app waits for on its way back fits into one budget."""

from dataclasses import replace

from glassbridge.core.app_times import HEARD_WITHIN, TIMES, sdk_takes


def test_each_way_back_fits_into_the_budget() -> None:
    assert 5.0 < sdk_takes() <= HEARD_WITHIN
    assert 5.0 < TIMES.take() <= HEARD_WITHIN


def test_each_wait_of_the_cloud_counts() -> None:
    for longer in (replace(TIMES, grace=9.0), replace(TIMES, connect=9.0), replace(TIMES, dial=9.0)):
        assert longer.take() > HEARD_WITHIN
