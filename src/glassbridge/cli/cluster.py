"""How a cloud or a bridge meets the others of its cluster, by the settings."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from glassbridge.runtime.addresses import is_on_this_machine, split_address
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.cloud.config import ClusterConfig
    from glassbridge.cluster.directory import Directory
    from glassbridge.settings import Settings

ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - refused


def cluster_of(settings: "Settings") -> "tuple[ClusterConfig, Callable[[], Directory]] | None":
    """The cluster, and how its directory is opened; None: this cloud is alone. Raises UserError for half of one."""
    if not settings.cluster.get_secret_value():
        return None
    from glassbridge.cloud.config import ClusterConfig

    wrong = []
    host, port = split_address(settings.cluster_address)
    if not settings.cluster_secrets:
        wrong.append(
            "GLASSBRIDGE_CLUSTER_SECRET is not set: the clouds of a cluster prove by it who they are; set the same 32 "
            "random bytes or more for all of them (openssl rand -hex 32)"
        )
    if host in ANY_ADDRESS:
        wrong.append(
            "GLASSBRIDGE_CLUSTER_ADDRESS: other clouds are told this address, and every address is none: name the one "
            "at which they reach this machine"
        )
    try:
        directory = directory_of(settings)
    except UserError as error:
        wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(wrong), 2)
    assert directory is not None
    secrets = tuple(secret.get_secret_value() for secret in settings.cluster_secrets)
    return ClusterConfig(secrets=secrets, host=host, port=port), directory


def is_alone_in_cluster(settings: "Settings") -> bool:
    """Whether the directory is on another machine while other clouds are told an address that only this machine can
    reach."""
    from glassbridge.cluster.address import read_address

    shared = read_address(settings.cluster.get_secret_value())
    elsewhere = any(not is_on_this_machine(target) for target in shared.shown.split(","))
    return elsewhere and is_on_this_machine(settings.cluster_address)


def directory_of(settings: "Settings") -> "Callable[[], Directory] | None":
    """How the directory of the cluster is opened; None: there is no cluster. Raises UserError."""
    url = settings.cluster.get_secret_value()
    if not url:
        return None
    from glassbridge.cluster.address import read_address

    wrong = []
    try:
        address = read_address(url)
    except ValueError as error:
        wrong.append(f"GLASSBRIDGE_CLUSTER: {error}")
    if settings.cluster_ca is not None and not settings.cluster_ca.is_file():
        wrong.append(f"GLASSBRIDGE_CLUSTER_CA: there is no file {settings.cluster_ca}")
    if find_spec("redis") is None:
        wrong.append("GLASSBRIDGE_CLUSTER needs the client of its directory: pip install 'glassbridge[cluster]'")
    if wrong:
        raise UserError("\n".join(wrong), 2)

    def directory() -> "Directory":
        from glassbridge.cluster.valkey import ValkeyDirectory

        return ValkeyDirectory(address, settings.cluster_ca)

    return directory


def check_told(settings: "Settings", host: str) -> None:
    """Raises UserError: the clouds of the cluster cannot reach a bridge that listens at `host`."""
    if settings.cluster.get_secret_value() and host in ANY_ADDRESS and not settings.bridge_address:
        raise UserError(
            Complaint.BRIDGE_ADDRESS_UNSET.text(host=host),
            2,
        )
