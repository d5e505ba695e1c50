"""URLs of sounds as apps write them: asked for byte for byte, for a signature covers each of them.

Libraries tidy URLs up: they decode `%2F` in a query, resolve dots, drop a bare `?`. Here only characters that no
request line can hold are encoded, as browsers do. The target bypasses yarl's parser: it is the `path` of an `encoded`
URL.
"""

import re
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from yarl import URL

_PORTS: Final = {"http": 80, "https": 443}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_IGNORED: Final = dict.fromkeys(map(ord, "\t\r\n"))
_AROUND: Final = "".join(map(chr, range(0x21)))
_NOT_IN_HOST: Final = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_NOT_IN_PATH: Final = re.compile(r'[^\x21-\x7e]|["<>^`{}]')
_NOT_IN_QUERY: Final = re.compile(r'[^\x21-\x7e]|["<>]')


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An http or https URL, without its fragment."""

    scheme: str
    credentials: str
    """As written, with the `@`; empty: none."""
    host: str
    """As names are resolved: in ASCII, without brackets."""
    port: int
    target: str
    """Path and query, as the server is asked."""

    @property
    def url(self) -> URL:
        """For aiohttp."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return URL.build(scheme=self.scheme, host=host, port=self.port, path=self.target, encoded=True)

    @property
    def headers(self) -> dict[str, str]:
        """The credentials."""
        if not self.credentials:
            return {}
        user, _, password = self.credentials[:-1].partition(":")
        both = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
        return {"Authorization": f"Basic {b64encode(both).decode()}"}

    def follow(self, location: str) -> "WebAddress":
        """Where a redirect leads. Raises ValueError."""
        location = _cleaned(location)
        if _SCHEME.match(location):
            return parse_address(location)
        path, mark, query = self.target.partition("?")
        there, there_mark, there_query = location.partition("?")
        there = there.replace("\\", "/")
        if there.startswith("//"):
            return parse_address(f"{self.scheme}:{location}")
        if not there:
            there = path
            if not there_mark:
                there_mark, there_query = mark, query
        elif not there.startswith("/"):
            there = _without_dots(path[: path.rindex("/") + 1] + there)
        return replace(self, target=_target(there, there_mark, there_query))


def parse_address(text: str) -> WebAddress:
    """Raises ValueError: no URL, or not one of the web."""
    text = _cleaned(text)
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if found is None or scheme not in _PORTS:
        raise ValueError("not an http or https URL")
    before, mark, query = text[found.end() :].partition("?")
    before = before.replace("\\", "/")
    if not before.startswith("//"):
        raise ValueError("the URL names no host")
    authority, slash, path = before[2:].partition("/")
    credentials, at, place = authority.rpartition("@")
    host, port = _host_and_port(place)
    return WebAddress(scheme, credentials + at, host, port or _PORTS[scheme], _target(slash + path, mark, query))


def _cleaned(text: str) -> str:
    return text.strip(_AROUND).translate(_IGNORED).partition("#")[0]


def _host_and_port(place: str) -> tuple[str, int | None]:
    bracket = place.rfind("]") + 1
    host, colon, port = place[bracket:].partition(":")
    if bracket and host:
        raise ValueError("the host holds characters that no host has")
    host = place[:bracket] or unquote(host)
    if colon and port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError("the port is no number from 1 to 65535")
    if not bracket and _NOT_IN_HOST.search(host):
        raise ValueError("the host holds characters that no host has")
    try:
        ascii_host = URL(f"http://{host}/").raw_host  # IDNA
    except ValueError:  # its text may hold the URL
        ascii_host = None
    if not ascii_host:
        raise ValueError("the URL names no host that can be looked up")
    return ascii_host, int(port) if port else None


def _target(path: str, mark: str, query: str) -> str:
    return _NOT_IN_PATH.sub(_encoded, path or "/") + mark + _NOT_IN_QUERY.sub(_encoded, query)


def _encoded(found: re.Match[str]) -> str:
    """A header's bytes that are not UTF-8 come as surrogates."""
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _without_dots(path: str) -> str:
    """As RFC 3986, 5.2.4 wants it for a relative path."""
    *folders, last = path.split("/")[1:]
    kept: list[str] = []
    for folder in folders:
        if folder == "..":
            del kept[-1:]
        elif folder != ".":
            kept.append(folder)
    if last == "..":
        del kept[-1:]
    return "/".join(["", *kept, "" if last in (".", "..") else last])
