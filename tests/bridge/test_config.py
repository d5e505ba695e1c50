"""What a bridge is told when it starts."""

from dataclasses import replace

import pytest

from glassbridge.bridge.config import BridgeConfig, PlaybackLimits


def test_it_travels_to_the_workers_unchanged() -> None:
    config = BridgeConfig(socket="/x/y.sock", workers=3, playback=PlaybackLimits(hosts=("a", "b:1"), folder="/z"))
    assert BridgeConfig.from_json(config.to_json()) == config
    assert "\n" not in config.to_json()


def test_one_worker_has_the_address_itself_and_more_have_their_own() -> None:
    one, many = BridgeConfig(socket="/x.sock"), BridgeConfig(socket="/x.sock", workers=2)
    assert one.address(0).target == "unix:/x.sock"
    assert [many.address(n).target for n in range(2)] == ["unix:/x.sock.0", "unix:/x.sock.1"]
    ports = BridgeConfig(port=9090, workers=2)
    assert [ports.address(n).target for n in range(2)] == ["127.0.0.1:9090", "127.0.0.1:9091"]
    assert replace(ports, host="::1").address(1).target == "[::1]:9091"


def test_no_workers_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BridgeConfig(workers=0)
