"""Makes a schedule that violates something smaller, as long as it goes on violating it."""

from collections.abc import Iterator
from dataclasses import replace

from glassbridge.lab.sim.runner import run
from glassbridge.lab.sim.schedule import Schedule
from glassbridge.lab.sim.verdict import Checker


def shrink(schedule: Schedule, checker: Checker) -> Schedule:
    """A schedule of which nothing can be left out any more; the same one when it does not violate `checker`."""
    while True:
        smaller = next((less for less in _smaller(schedule) if run(less).violates(checker)), None)
        if smaller is None:
            return schedule
        schedule = smaller


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Every schedule with one thing less."""
    for gone in schedule.users if len(schedule.users) > 1 else ():
        users = tuple(user for user in schedule.users if user is not gone)
        faults = tuple(fault for fault in schedule.faults if fault.where != gone.name and gone.phone not in fault.where)
        yield replace(schedule, users=users, faults=faults)
    for gone_fault in schedule.faults:
        yield replace(schedule, faults=tuple(fault for fault in schedule.faults if fault is not gone_fault))
