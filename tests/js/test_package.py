"""The npm package: its own tests, its types, and its tarball in a fresh Node project and in a Vite project."""

import gzip
import json
import re
from pathlib import Path

import pytest

from glassbridge import __version__
from glassbridge.cloud.console.assets import Assets
from tests.js.node import PACKAGE, ROOT, run

MOST = 60_000
"""Bytes of all of it, compressed, without livekit-client."""


def test_its_own_tests_pass() -> None:
    said = run("node", "--test", *sorted((PACKAGE / "test").glob("*.test.js")), cwd=PACKAGE)
    passed = re.search(r"^. pass (\d+)$", said, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 30, said


def test_its_types_are_right(package: Path) -> None:
    run("npx", "--no-install", "tsc", "-p", "tsconfig.worklet.json", cwd=package)
    run("npx", "--no-install", "tsc", cwd=package)


def test_the_tarball_holds_what_the_console_serves_and_no_more(tarball: Path) -> None:
    listed = {line.removeprefix("package/") for line in run("tar", "-tzf", tarball, cwd=ROOT).splitlines()}
    modules = {name.partition("/")[2] for name in Assets().names if name.startswith("glassbridge-phone/")}
    assert {name.removeprefix("src/") for name in listed if name.startswith("src/")} == modules
    assert {name for name in listed if "/" not in name} == {"LICENSE", "README.md", "package.json"}
    assert {"types/index.d.ts", "types/browser/index.d.ts"} <= listed


def test_the_version_is_that_of_glassbridge() -> None:
    assert json.loads((PACKAGE / "package.json").read_text())["version"] == __version__


NODE = """
import { PhoneClient, RULES, SAMPLE_RATE } from "@glassbridge/phone";
const told = [];
class Silent { readyState = 0; bufferedAmount = 0; constructor(url) { told.push(url); } close() {} }
const onEvent = (event) => told.push(event.text);
const phone = new PhoneClient({ cloud: "https://x.test", token: "t", WebSocket: Silent, onEvent });
await phone.start();
phone.speak(new Int16Array(480));
await phone.close();
console.log(JSON.stringify([SAMPLE_RATE, RULES.wire.closeCodes[4001][1], ...told]));
"""


def test_a_node_project_installs_the_tarball(tarball: Path, tmp_path: Path) -> None:
    """No registry is asked: it depends on nothing."""
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", tarball, cwd=tmp_path)
    (tmp_path / "speak.js").write_text(NODE)
    rate, back, url, *told = json.loads(run("node", "speak.js", cwd=tmp_path))
    assert (rate, back, told) == (16_000, "no", ["connecting to the cloud"])
    assert re.fullmatch(r"wss://x\.test/glasses-ws\?phone=\w+&attempt=1&audio=2&token=t", url)


LIBRARY = 'export { PhoneClient } from "@glassbridge/phone";\nexport { browser } from "@glassbridge/phone/browser";\n'
STRICT = """
import { PhoneClient, type LiveKit, type PhoneEvent } from "@glassbridge/phone";
import { browser } from "@glassbridge/phone/browser";

export async function run(livekit: LiveKit) {
  const onEvent = (event: PhoneEvent) => {
    if (event.type === "told") event.text.toUpperCase();
    if (event.type === "caption") event.final satisfies boolean;
    if (event.type === "sound" && event.on) document.body.append(event.track.attach());
  };
  const phone = new PhoneClient({ cloud: "https://x", token: "t", livekit, onEvent, ...(await browser()) });
  await phone.start();
  phone.speak(new Int16Array(480), { last: true });
  // @ts-expect-error: no such transport
  new PhoneClient({ cloud: "https://x", token: "t", onEvent, transport: "pigeon" });
  // @ts-expect-error: without a token
  new PhoneClient({ cloud: "https://x", onEvent });
  // @ts-expect-error: no livekit-client
  await run({});
}
"""
WITH_LIVEKIT = """
import * as livekit from "livekit-client";
import { run } from "./strict.ts";

await run(livekit);
"""
SETTINGS = {
    "strict": True, "noEmit": True, "module": "nodenext", "target": "es2022", "lib": ["es2022", "dom", "dom.iterable"],
    "types": [], "skipLibCheck": False, "allowImportingTsExtensions": True,
}  # fmt: skip


@pytest.mark.slow
def test_a_vite_project_builds_it(web_page: Path) -> None:
    (web_page / "library.js").write_text(LIBRARY)
    config = {"build": {"lib": {"entry": "library.js", "formats": ["es"]}, "outDir": "library", "minify": True}}
    (web_page / "library.config.js").write_text(f"export default {json.dumps(config)};")
    run("npx", "--no-install", "vite", "build", "--config", "library.config.js", cwd=web_page)
    assert (web_page / "dist" / "index.html").is_file(), "the page of the docs"
    built = list((web_page / "library").rglob("*.js"))
    size = sum(len(gzip.compress(path.read_bytes())) for path in built)
    print(f"compressed: {size} bytes in {len(built)} files")
    assert size <= MOST
    assert not [path.name for path in built if b"LivekitError" in path.read_bytes()], "livekit-client is in it"


def write_strict(folder: Path, **files: str) -> None:
    """A project in strict TypeScript that checks the types of its libraries, too."""
    for name, text in files.items():
        (folder / f"{name}.ts").write_text(text)
    settings = {"compilerOptions": SETTINGS, "files": [f"{name}.ts" for name in files]}
    (folder / "tsconfig.json").write_text(json.dumps(settings))


def test_strict_typescript_needs_nothing_else(package: Path, tarball: Path, tmp_path: Path) -> None:
    """No livekit-client is there."""
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", tarball, cwd=tmp_path)
    write_strict(tmp_path, strict=STRICT)
    run("npx", "--no-install", "tsc", "-p", tmp_path, cwd=package)


@pytest.mark.slow
def test_livekit_client_is_what_strict_typescript_takes(web_page: Path) -> None:
    """With the two packages that its own types name (docs/web-phone.md)."""
    write_strict(web_page, strict=STRICT, page=WITH_LIVEKIT)
    run("npx", "--no-install", "tsc", cwd=web_page)


def test_no_other_package_comes_with_it() -> None:
    about = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in about
    assert about["peerDependenciesMeta"] == {"livekit-client": {"optional": True}}


@pytest.mark.parametrize("lock", ["js/phone/package-lock.json", "tests/js/web_page/package-lock.json"])
def test_locks_name_no_registry(lock: str) -> None:
    packages = json.loads((ROOT / lock).read_text())["packages"]
    assert all("integrity" in about for name, about in packages.items() if name)
    assert not [about["resolved"] for about in packages.values() if "resolved" in about]
