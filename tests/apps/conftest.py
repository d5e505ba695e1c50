"""What every test of the SDK starts with."""

from tests.support.grpc_runtime import grpc_is_here

__all__ = ["grpc_is_here"]
