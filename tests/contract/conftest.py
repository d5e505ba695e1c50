"""What contract tests share."""

from tests.support.grpc_runtime import grpc_is_here
from tests.support.places import kind, kinds, other, sdk_is_awake, seats

__all__ = ["grpc_is_here", "kind", "kinds", "other", "sdk_is_awake", "seats"]
