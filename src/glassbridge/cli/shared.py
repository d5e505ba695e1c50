"""What the clouds of a cluster share, by the settings: the directory, and where nothing else is named, the registry of
apps and the store."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.cloud.app import Shared
    from glassbridge.cloud.apps.registry import Registry
    from glassbridge.cluster.directory import Directory
    from glassbridge.cluster.kept import Kept
    from glassbridge.settings import Settings

CLUSTER: Final = Path("cluster")
"""In place of the file of a registry: that of the cluster."""


def kept_of(settings: "Settings") -> "Callable[[], Kept]":
    """How the server of the cluster is reached. Raises UserError."""
    url = settings.cluster.get_secret_value()
    if not url:
        raise UserError(Complaint.CLUSTER_UNSET.text(), 2)
    if find_spec("redis") is None:
        raise UserError(Complaint.CLUSTER_CLIENT_MISSING.text(), 2)
    from glassbridge.cluster.address import read_address

    try:
        address = read_address(url)
    except ValueError as error:
        raise UserError(Complaint.CLUSTER_WRONG.text(why=error), 2) from None

    def connect() -> "Kept":
        from glassbridge.cluster.kept import Kept

        return Kept(address, settings.cluster_ca)

    return connect


def registry_at(path: Path) -> "Registry":
    """For commands. Raises UserError."""
    from glassbridge.cloud.apps.registry import open_registry

    if path != CLUSTER:
        return open_registry(path)
    from glassbridge.cli.common import load_settings
    from glassbridge.cloud.apps.shared_registry import RegistryOfCluster

    return RegistryOfCluster(kept_of(load_settings()))


def shared_of(
    settings: "Settings", directory: "Callable[[], Directory] | None", apps: Path | None
) -> "Callable[[], Shared] | None":
    """For a cloud; None: it is alone. Raises UserError."""
    if directory is None:
        if apps == CLUSTER:
            kept_of(settings)
        return None
    connect = kept_of(settings)

    def shared() -> "Shared":
        from glassbridge.cloud.app import Shared
        from glassbridge.cloud.apps.shared_registry import RegistryCopy
        from glassbridge.cloud.apps.shared_store import SharedStore

        return Shared(
            directory(),
            RegistryCopy(connect()) if apps == CLUSTER else None,
            SharedStore(connect(), settings.store_mb << 20) if settings.store is None else None,
        )

    return shared
