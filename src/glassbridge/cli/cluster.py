"""How a cloud meets the others of its cluster, by the settings."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from glassbridge.runtime.addresses import split_address
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.cloud.config import ClusterConfig
    from glassbridge.cluster.directory import Directory
    from glassbridge.settings import Settings

ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - refused


def cluster_of(settings: "Settings") -> "tuple[ClusterConfig, Callable[[], Directory]] | None":
    """The cluster, and how its directory is opened; None: this cloud is alone. Raises UserError for half of one."""
    url = settings.cluster.get_secret_value()
    if not url:
        return None
    from glassbridge.cloud.config import ClusterConfig
    from glassbridge.cluster.address import read_address

    wrong = []
    host, port = split_address(settings.cluster_address)
    try:
        address = read_address(url)
    except ValueError as error:
        wrong.append(f"GLASSBRIDGE_CLUSTER: {error}")
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
    if settings.cluster_ca is not None and not settings.cluster_ca.is_file():
        wrong.append(f"GLASSBRIDGE_CLUSTER_CA: there is no file {settings.cluster_ca}")
    if find_spec("redis") is None:
        wrong.append("GLASSBRIDGE_CLUSTER needs the client of its directory: pip install 'glassbridge[cluster]'")
    if wrong:
        raise UserError("\n".join(wrong), 2)

    def directory() -> "Directory":
        from glassbridge.cluster.valkey import ValkeyDirectory

        return ValkeyDirectory(address, settings.cluster_ca)

    secrets = tuple(secret.get_secret_value() for secret in settings.cluster_secrets)
    return ClusterConfig(secrets=secrets, host=host, port=port), directory
