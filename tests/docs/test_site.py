"""The documentation as a site: it builds without a warning, and reads on the site as it does in a checkout."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.console.browser import Browser
from tests.support.walk import walk

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "docs" / "vendor"
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


def build(root: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the site is built from, to break it."""
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml"):
        shutil.copy(path, tmp_path)
    for name in ("src", "examples", "js"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


LEADS_NOWHERE = {
    "[x](nothing.md)": "nothing.md leads nowhere",
    "[x](../src/nothing.py)": "../src/nothing.py leads nowhere",
    "[x](cli.md#nothing)": "cli.md#nothing",
    "[x](#nothing-here)": "#nothing-here",
    "![x](images/nothing.png)": "images/nothing.png leads nowhere",
}


def test_a_link_that_leads_nowhere_and_a_page_that_stands_nowhere_are_errors(checkout: Path) -> None:
    """In one build, which takes long; each is told by itself."""
    page = checkout / "docs" / "limits.md"
    page.write_text("\n\n".join([page.read_text(), *LEADS_NOWHERE]))
    (checkout / "docs" / "stray.md").write_text("# Stray\n")
    done = build(checkout, checkout / "out")
    assert done.returncode != 0
    for told in (*LEADS_NOWHERE.values(), "stray.md"):
        assert told in done.stderr


class Loads(HTMLParser):
    """What a browser fetches by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = ["src", "srcset", "poster", "data"]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            names.append("href")
        self.found += filter(None, (given.get(name) for name in names))


def elsewhere(text: str) -> list[str]:
    """What a style sheet loads from other servers."""
    return re.findall(r"""(?:@import\s+|url\()["']?((?:https?:)?//[^"')]+)""", text)


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert [address for address in loads.found if "//" in address] == [], page.name
        assert elsewhere(page.read_text()) == [], page.name
    for sheet in site.rglob("*.css"):
        assert elsewhere(sheet.read_text()) == [], sheet.name


@pytest.mark.parametrize("text", ["url(//a.example/x.woff)", '@import "https://a.example/x.css"', "url('http://a/b')"])
def test_what_a_style_sheet_loads_is_noticed(text: str) -> None:
    assert len(elsewhere(text)) == 1


@pytest.fixture
async def served(site: Path) -> AsyncIterator[str]:
    """The site, with a policy under which a browser refuses, and complains of, whatever is elsewhere."""

    @web.middleware
    async def strict(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        answer.headers["Content-Security-Policy"] = "default-src 'self' 'unsafe-inline' data: blob:"
        return answer

    app = web.Application(middlewares=[strict])
    app.router.add_static("/", site)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.mark.chromium
@pytest.mark.parametrize("name", ["machines.html", "index.html", "adr/index.html"])
async def test_a_browser_needs_no_other_server(served: str, site: Path, name: str) -> None:
    diagrams = (site / name).read_text().count('<pre class="mermaid">')
    assert (diagrams > 10) == (name == "machines.html")
    async with Browser() as browser:
        page = await browser.open(served + name)
        await page.until(f"document.querySelectorAll('div.mermaid').length == {diagrams}", 20)
        await page.until("[...document.querySelectorAll('div.mermaid')].every((one) => one.clientHeight > 50)")
        assert page.complaints == []


def test_the_vendored_library_is_the_published_one() -> None:
    about = json.loads((VENDOR / "mermaid.json").read_text())
    assert sha256((VENDOR / "mermaid.tiny.js").read_bytes()).hexdigest() == about["sha256"]
    assert "MIT License" in (VENDOR / "mermaid.LICENSE").read_text()


def test_the_pages_of_the_root_and_those_from_the_code_are_there(site: Path) -> None:
    for name, words in {
        "index.html": "it <strong>comes back</strong>",
        "architecture.html": "Rooms",
        "protocol.html": "audio_state",
        "adr/index.html": "A LiveKit participant of our own",
        "cli.html": "glassbridge inspect",
        "doctor.html": "clock_wrong",
        "troubleshooting.html": "recogniser_slow",
    }.items():
        assert words in (site / name).read_text(), name


@walk("page", PAGES)
def test_lists_and_tables_begin_after_a_blank_line(page: Path) -> None:
    """GitHub shows them without one, too; the site would show one paragraph."""
    lines, fenced = page.read_text().splitlines(), False
    for number, (before, line) in enumerate(pairwise(lines), 2):
        fenced ^= before.startswith("```")
        begins = re.match(r"(- |\d+\. |\|)", line)
        goes_on = re.match(r"\s*(- |\d+\. |\||#|<!--)|\s{2,}", before)
        assert fenced or not begins or not before.strip() or goes_on, f"line {number}: {line[:60]}"
