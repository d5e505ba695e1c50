"""What browsers get: which files, with which headers; and that the pages need nothing else."""

import json
import posixpath
import re
import tomllib
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from glassbridge.cloud.console.assets import FOLDER, PACKAGE, TYPES, Assets, package_folder
from glassbridge.cloud.console.pages import content_policy, livekit_origins
from tests.console.conftest import LIVEKIT
from tests.support.walk import walk

PAGES = ("/console", "/console/phone")
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PATHS = Assets().paths
FILES = sorted(PATHS)
OURS = [name for name in FILES if not name.startswith("vendor/")]


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


@pytest.mark.parametrize("path", [*PAGES, "/console/assets/theme.css", "/console/assets/nothing.js"])
async def test_every_answer_is_safe_to_show(pages: str, path: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(pages + path) as answer:
        if answer.status == 404:
            assert (await answer.json())["error"]["code"] == "NOT_FOUND"
            return
        assert answer.status == 200
        assert {name: answer.headers[name] for name in SAFE} == SAFE
        policy = directives(answer.headers["Content-Security-Policy"])
    assert (
        policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    )
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert not [word for words in policy.values() for word in words if "unsafe" in word or word == "*"]


async def test_only_the_phone_may_hear_and_talk_to_livekit(pages: str) -> None:
    async with aiohttp.ClientSession() as http:
        found = {}
        for path in PAGES:
            async with http.get(pages + path) as answer:
                connect = directives(answer.headers["Content-Security-Policy"])["connect-src"]
                found[path] = connect, "microphone=(self)" in answer.headers["Permissions-Policy"]
    assert found["/console"] == (["'self'"], False)
    assert found["/console/phone"] == (["'self'", LIVEKIT, LIVEKIT.replace("ws", "http")], True)


def test_where_livekit_is_reached() -> None:
    assert livekit_origins("wss://rtc.example.com/x") == ("wss://rtc.example.com", "https://rtc.example.com")
    hosted = livekit_origins("wss://acme.livekit.cloud")
    assert hosted[2:] == ("wss://*.livekit.cloud", "https://*.livekit.cloud")
    assert "connect-src 'self' wss://a https://a" in content_policy("wss://a", "https://a")


async def test_files_are_sent_once_and_squeezed(pages: str) -> None:
    url = f"{pages}/console/assets/vendor/livekit-client.umd.js"
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert len(await answer.read()) < 250_000
            tag = answer.headers["ETag"]
        async with http.get(url, headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with http.get(url, headers={"Accept-Encoding": "identity"}) as answer:
            assert sha256(await answer.read()).hexdigest() in (FOLDER / "vendor/livekit-client.json").read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/console/assets/",
        "/console/assets/../pages.py",
        "/console/assets/%2e%2e/pages.py",
        "/console/assets//etc/passwd",
    ],
)
async def test_nothing_else_is_served(pages: str, path: str) -> None:
    from yarl import URL

    async with aiohttp.ClientSession() as http, http.get(URL(pages + path, encoded=True)) as answer:
        assert answer.status == 404


async def test_the_slash_at_the_end_is_forgiven(pages: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{pages}/console/") as answer:
        assert (answer.status, answer.url.path) == (200, "/console")


def test_the_vendored_library_is_the_published_one() -> None:
    about = json.loads((FOLDER / "vendor/livekit-client.json").read_text())
    body = (FOLDER / "vendor/livekit-client.umd.js").read_bytes()
    assert sha256(body).hexdigest() == about["sha256"]
    assert about["version"] == "2.23.0"
    assert "Apache License" in (FOLDER / "vendor/livekit-client.LICENSE").read_text()


def without_comments(text: str) -> str:
    """Addresses may stand in comments, as examples."""
    return re.sub(r"/\*\*.*?\*/", "", text, flags=re.DOTALL)


@walk("name", OURS)
def test_our_files_need_nothing_from_elsewhere_and_nothing_inline(name: str) -> None:
    text = without_comments(PATHS[name].read_text())
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9.-]+\.[a-z]{2,}", text)
    if name.endswith(".html"):
        assert not re.findall(r"<style|<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=", text)
    assert not re.findall(r"innerHTML|outerHTML|document\.write|insertAdjacentHTML|\beval\(|new Function", text)
    assert len(text.splitlines()) < 520, "a file that nobody wants to read"


def test_everything_that_a_file_names_is_there() -> None:
    for name in OURS:
        text = without_comments(PATHS[name].read_text())
        named = re.findall(r'/console/assets/([\w./-]+)"', text)
        for inside in re.findall(r'from "(\.[\w./-]+)"|URL\("(\.[\w./-]+)"', text):
            named.append(posixpath.normpath(posixpath.join(posixpath.dirname(name), next(filter(None, inside)))))
        assert set(named) <= set(FILES), f"{name} wants {set(named) - set(FILES)}"


def test_every_file_is_served() -> None:
    of_pages = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    of_phone = {f"{PACKAGE}/{path.relative_to(package_folder())}" for path in package_folder().rglob("*.*")}
    files = of_pages | of_phone
    assert files == set(FILES), f"of a type that is not served ({set(TYPES)}): {files - set(FILES)}"


def test_the_files_are_in_the_package() -> None:
    """Everything below src/glassbridge is in the wheel (pyproject.toml), unless git ignores it; the phone's modules are
    put there from js/phone. tests/cli/test_wheel.py builds one."""
    root = Path(__file__).parents[2]
    assert FOLDER.is_relative_to(root / "src" / "glassbridge")
    ignored = [line.strip("/") for line in (root / ".gitignore").read_text().splitlines()]
    assert not {"assets", "vendor", "console", "js", "phone", "src", "browser"} & set(ignored)
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"js/phone/src": f"glassbridge/cloud/console/assets/{PACKAGE}"}
    assert package_folder() == root / "js" / "phone" / "src"
