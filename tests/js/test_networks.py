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
@pytest.mark.parametrize("transport", ["data", "websocket"])
@pytest.mark.parametrize("cell", ["loss10", "64k", "udp-blocked", "address"])
def test_it_is_heard_as_the_python_phone_is(cell: str, transport: str) -> None:
    network = f"{cell}/{transport}"
    done = isolated([sys.executable, "-m", "tests.js.networks", network], os.environ, 200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
