"""Do the addresses of the settings lead anywhere, and does what travels there stay private?"""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.checks.findings import TIMEOUT, Finding, Patient, well
from glassbridge.runtime.addresses import UNIX, is_on_this_machine
from glassbridge.settings import Settings, names_of

CLOUD_OPTION: Final = "--cloud"
URL_SETTINGS: Final = tuple(name for name in Settings.model_fields if name.endswith(("_url", "_endpoint")))


async def names(patient: Patient) -> Finding:
    """Does each name resolve, and may each address be told to others?"""
    hosts = sorted({(place, host) for place, url in _urls(patient) if (host := urlsplit(url).hostname)})
    for place, host in hosts:
        if _is_unspecified(host):
            return Trouble.ADDRESS_OF_NOWHERE.found(place=place, host=host)
    reasons = await asyncio.gather(*(_resolve(host) for _, host in hosts))
    unresolved = [(place, host, why) for (place, host), why in zip(hosts, reasons, strict=True) if why]
    if unresolved:
        patient.unresolved |= {host for _, host, _ in unresolved}
        told = ", ".join(f"{host} of {place}" for place, host, _ in unresolved)
        return Trouble.NAME_UNRESOLVED.found(names=told, why=unresolved[0][2], host=unresolved[0][1])
    livekit = patient.settings.livekit_public_url or patient.settings.livekit_url
    place = "GLASSBRIDGE_LIVEKIT_PUBLIC_URL" if patient.settings.livekit_public_url else "LIVEKIT_URL"
    if _is_public(patient) and is_on_this_machine(urlsplit(livekit).netloc):
        return Trouble.LOOPBACK_TOLD.found(place=place)
    return well(f"{len(hosts)} addresses lead somewhere")


async def secrets(patient: Patient) -> Finding:
    """Weak secrets must not reach production: programs refuse to start with them where others can reach them."""
    weak = patient.settings.weak_secrets()
    told = "; ".join(f"{secret.place} {secret.why}" for secret in weak)
    if any(not secret.public for secret in weak):
        return Trouble.SECRETS_SHORT.found(secrets=told)
    if weak and (places := [place for place, url in _urls(patient) if not _is_here(url)]):
        return Trouble.SECRETS_EXPOSED.found(secrets=told, place=places[0])
    return Trouble.SECRETS_PUBLIC.found(secrets=told) if weak else well("each is set, and long enough")


async def encryption(patient: Patient) -> Finding:
    """What leaves this machine in the clear?"""
    if patient.settings.bridge_ca is None and not all(map(is_on_this_machine, patient.settings.bridge_targets())):
        return Trouble.BRIDGES_IN_CLEAR.found()
    clear = [place for place, url in _urls(patient) if url.startswith(("ws://", "http://")) and not _is_here(url)]
    if clear:
        return Trouble.PLAINTEXT.found(places=", ".join(clear))
    return well("nothing leaves this machine in the clear")


def _urls(patient: Patient) -> Iterator[tuple[str, str]]:
    """What somebody has set, by its name, and where LiveKit and the cloud are."""
    settings = patient.settings
    yield CLOUD_OPTION, patient.cloud
    for name in URL_SETTINGS:
        url = getattr(settings, name)
        if url and (name == "livekit_url" or name in settings.model_fields_set):
            yield names_of(name)[0], url
    if settings.public_host_name:
        yield "CLOUD_PUBLIC_HOST_NAME", settings.apps_find_us_at
    for target in settings.bridge_targets():
        if not target.startswith(UNIX):
            yield "LIVEKIT_GRPC_BRIDGE_URL", f"grpc://{target}"


def _is_public(patient: Patient) -> bool:
    """Whether phones on other machines are meant to come."""
    ours = patient.settings.apps_find_us_at
    return not _is_here(patient.cloud) or bool(ours and not _is_here(ours))


def _is_here(url: str) -> bool:
    return is_on_this_machine(urlsplit(url).netloc)


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


async def _resolve(host: str) -> str:
    """Why the name means nothing here; empty: it means something."""
    try:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return error.strerror or "the DNS does not know it"
    except UnicodeError:
        return "it is no host name"
    except TimeoutError:
        return f"no answer of the DNS within {TIMEOUT:.0f} s"
    return ""
