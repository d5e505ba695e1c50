"""Do bridges and cloud answer, and may only their user talk to them?"""

import os
import stat
from pathlib import Path

import aiohttp
import grpc
from yarl import URL

from glassbridge import __version__
from glassbridge.cli.checks.findings import TIMEOUT, Finding, Patient, failed, skipped, warning, well
from glassbridge.cli.common import bridge_owners, channel_security, cloud_keys
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.listen import CannotListen, claim_port
from glassbridge.runtime.socket_owner import check_owner, is_shared
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub


async def bridges(patient: Patient) -> Finding:
    """Do all bridges that a cloud would use answer, and of which version are they?"""
    try:
        security, secret = channel_security(patient.settings), cloud_keys(patient.settings).bridge
    except UserError as error:
        return failed(str(error), "see docs/production.md")
    down, versions = [], set[str]()
    targets = patient.settings.bridge_targets()
    for target in targets:
        try:
            async with security.open(target, lambda: secret) as channel:
                stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
                await stub.HealthCheck(pb.HealthCheckRequest(), timeout=TIMEOUT)
                status = await stub.GetStatus(pb.BridgeStatusRequest(user_id=patient.room), timeout=TIMEOUT)
                versions.add(status.server_version or "unknown")
        except grpc.aio.AioRpcError as error:
            down.append(f"{target} ({error.code().name.lower()})")
    if down:
        return failed(
            f"no answer from {', '.join(down)}",
            "start it (`glassbridge bridge`), or correct LIVEKIT_GRPC_SOCKET or LIVEKIT_GRPC_BRIDGE_URL",
        )
    if versions != {__version__}:
        told = ", ".join(sorted(versions))
        return warning(
            f"version {told}, and this is {__version__}", "deploy bridges and clouds of one version, bridges first"
        )
    return well(f"{len(targets)} answer, version {__version__}")


async def sockets(patient: Patient) -> Finding:
    """A bridge's socket is for its user alone, and for us."""
    paths = [Path(target.removeprefix("unix:")) for target in patient.settings.bridge_targets() if "unix:" in target]
    if not paths:
        return skipped("bridges are reached by TCP")
    for path in paths:
        try:
            found = path.stat()
        except PermissionError:
            return failed(
                f"{path} cannot be looked at", f"run as the bridge's user, or see to {path.parent}'s permissions"
            )
        except OSError:
            continue  # told by the check of bridges
        if why := check_owner(path, bridge_owners(patient.settings)):
            return failed(why, "run cloud and bridge as the same user, or set GLASSBRIDGE_BRIDGE_OWNER")
        if not stat.S_ISSOCK(found.st_mode):
            return failed(f"{path} is no socket", "remove it, or choose another path")
        if not os.access(path, os.R_OK | os.W_OK):
            return failed(f"we may not use {path}", "run cloud and bridge as the same user")
        if is_shared(path.parent):
            return warning(f"{path.parent} is open to other users", "use a folder of mode 0700 for the bridge's socket")
        if found.st_mode & 0o077:
            return warning(
                f"{path} is open to other users", f"chmod 600 {path}: whoever opens it may listen to everybody"
            )
    return well("only this user may use the bridge's sockets")


async def cloud(patient: Patient) -> Finding:
    """Does the cloud answer and see its bridges? Where none runs, is its port free?"""
    try:
        async with patient.http.get(f"{patient.cloud}/readyz") as response:
            status = response.status
            said = await response.json(content_type=None)
    except (aiohttp.ClientConnectorError, TimeoutError):
        return _is_port_free(patient.cloud)
    except (aiohttp.ClientError, ValueError):
        return failed(f"what answers at {patient.cloud} is no cloud", "stop it, or choose another port with --port")
    if not isinstance(said, dict) or status not in (200, 503):
        return failed(f"what answers at {patient.cloud} is no cloud", "stop it, or choose another port with --port")
    if status == 503:
        return warning(f"the cloud at {patient.cloud} takes no new phones", "it is draining: wait, or start another")
    if not said.get("bridges"):
        return failed(f"the cloud at {patient.cloud} sees no bridge", "compare LIVEKIT_GRPC_SOCKET of both programs")
    return well(f"the cloud at {patient.cloud} is ready and sees {said['bridges']} bridges")


def _is_port_free(cloud: str) -> Finding:
    address = URL(cloud)
    try:
        claim_port(address.host or "127.0.0.1", address.port or 80)
    except CannotListen as error:
        return failed(f"no cloud answers at {cloud}, and {error}", "stop what holds the port")
    return warning(f"no cloud runs at {cloud}; its port is free", "start it (`glassbridge cloud`), or say --cloud URL")
