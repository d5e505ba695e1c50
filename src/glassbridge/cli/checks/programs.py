"""Do bridges and cloud answer, and may only their user talk to them?"""

import asyncio
import os
from pathlib import Path

import aiohttp
import grpc
from yarl import URL

from glassbridge import __version__
from glassbridge.cli.checks.addresses import CLOUD_OPTION
from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import TIMEOUT, Finding, Patient, skipped, well
from glassbridge.cli.checks.reaching import explain, holder, is_here, listens
from glassbridge.cli.cluster import directory_of
from glassbridge.cli.common import bridge_owners, channel_security, cloud_keys
from glassbridge.cluster.directory import DirectoryAway
from glassbridge.core.ownership import Role
from glassbridge.runtime.addresses import UNIX
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.socket_owner import check_owner, is_shared
from glassbridge.settings import Settings
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub


async def bridges(patient: Patient) -> Finding:
    """Do all bridges that a cloud would use answer, and of which version are they?"""
    try:
        security, secret = channel_security(patient.settings), cloud_keys(patient.settings).bridge
    except UserError as error:
        return Trouble.BRIDGE_SETTINGS.found(why=error)
    down, versions = [], set[str]()
    targets = patient.settings.bridge_targets()
    if not targets:
        try:
            targets = await _listed(patient.settings)
        except UserError as error:
            return Trouble.BRIDGE_SETTINGS.found(why=error)
        except DirectoryAway as error:
            return Trouble.DIRECTORY_AWAY.found(why=error)
        if not targets:
            return Trouble.BRIDGES_UNLISTED.found()
    for target in targets:
        try:
            async with security.open(target, lambda: secret) as channel:
                stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
                await stub.HealthCheck(pb.HealthCheckRequest(), timeout=TIMEOUT)
                status = await stub.GetStatus(pb.BridgeStatusRequest(user_id=patient.room), timeout=TIMEOUT)
                versions.add(status.server_version or "unknown")
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                return Trouble.BRIDGE_REFUSES.found(target=target, why=error.details())
            if await asyncio.to_thread(_is_held, target):
                return Trouble.BRIDGE_STRANGE.found(target=target, holder=holder(f"grpc://{target}"))
            down.append(f"{target} ({error.code().name.lower()})")
    if down:
        return Trouble.BRIDGE_ABSENT.found(targets=", ".join(down))
    if versions != {__version__}:
        return Trouble.BRIDGE_VERSION.found(told=", ".join(sorted(versions)), ours=__version__)
    return well(f"{len(targets)} answer, version {__version__}: {', '.join(targets)}")


async def _listed(settings: Settings) -> tuple[str, ...]:
    """The bridges that the directory of the cluster lists. Raises UserError, DirectoryAway."""
    opened = directory_of(settings)
    if opened is None:
        return ()
    directory = opened()
    try:
        nodes = await directory.nodes(Role.BRIDGE, TIMEOUT)
    finally:
        await directory.close()
    return tuple(sorted(node.owner.address for node in nodes))


def _is_held(target: str) -> bool:
    """Whether something else than a bridge takes connections at an address of a bridge on TCP."""
    address = URL(f"grpc://{target}")
    return not target.startswith(UNIX) and listens(address.host or "", address.port or 0)


async def sockets(patient: Patient) -> Finding:
    """A bridge's socket is for its user alone, and for us."""
    paths = [Path(target.removeprefix(UNIX)) for target in patient.settings.bridge_targets() if target.startswith(UNIX)]
    if not paths:
        return skipped("bridges are reached by TCP")
    for path in paths:
        try:
            found = path.stat()
        except PermissionError:
            return Trouble.SOCKET_UNSEEN.found(path=path, folder=path.parent)
        except OSError:
            continue  # told by the check of bridges
        if why := check_owner(path, bridge_owners(patient.settings)):
            return Trouble.SOCKET_OWNER.found(why=why)
        if not os.access(path, os.R_OK | os.W_OK):
            return Trouble.SOCKET_CLOSED.found(path=path)
        if is_shared(path.parent):
            return Trouble.SOCKET_FOLDER.found(folder=path.parent)
        if found.st_mode & 0o077:
            return Trouble.SOCKET_OPEN.found(path=path)
    return well("only this user may use the bridge's sockets")


async def cloud(patient: Patient) -> Finding:
    """Does the cloud answer and see its bridges? Where none runs, is its port free?"""
    where = patient.cloud
    if URL(where).host in patient.unresolved:
        return skipped("the name of its address means nothing here")
    try:
        async with patient.http.get(f"{where}/readyz") as response:
            patient.dates["the cloud's"] = response.headers.get("Date", "")
            status = response.status
            said = await response.json(content_type=None)
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        if refused and is_here(where):
            return Trouble.CLOUD_ABSENT.found(where=where)
        return explain(error, where, CLOUD_OPTION, "`glassbridge cloud`")
    except TimeoutError as error:
        return explain(error, where, CLOUD_OPTION, "`glassbridge cloud`")
    except (aiohttp.ClientError, ValueError):
        return _strange(where)
    if not isinstance(said, dict) or status not in (200, 503):
        return _strange(where)
    if status == 503:
        return Trouble.CLOUD_DRAINING.found(where=where)
    if not said.get("bridges"):
        return Trouble.CLOUD_WITHOUT_BRIDGE.found(where=where)
    return well(f"the cloud at {where} is ready and sees {said['bridges']} bridges")


def _strange(where: str) -> Finding:
    return Trouble.CLOUD_STRANGE.found(where=where, port=URL(where).port, holder=holder(where))
