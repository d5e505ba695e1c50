"""The JavaScript phone in Chromium keeps the limits of the Python phone on bad networks (docs/networks.md)."""

import os
import sys

import pytest

from glassbridge.lab.impaired import available
from tests.scenarios.systems import isolated


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.skipif(not available(), reason="bad networks need root, /dev/net/tun, unshare, nsenter and ip")
@pytest.mark.parametrize(
    "network", ["loss10/data", "loss10/websocket", "64k/data", "64k/websocket", "udp-blocked/data", "address/data"]
)
def test_it_is_heard_as_the_python_phone_is(network: str) -> None:
    done = isolated([sys.executable, "-m", "tests.js.networks", network], os.environ, 200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
