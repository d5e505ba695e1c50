"""Hooks of mkdocs (mkdocs.yml).

The site also has the pages of the repository's root, the decisions as one list, and the messages of the sockets as
tables. The files stay as they read in a checkout; links are turned here.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.hooks.docs_site")
"""Below the logger of mkdocs: with --strict each warning makes the build fail."""

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
ROOT_PAGES: Final[Mapping[str, str]] = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository's root, and where they are on the site."""
DECISIONS: Final = "adr"
SOCKETS: Final[Mapping[str, str]] = {"phone": "Phones", "apps": "Apps"}
HEAD: Final = """# Sockets and REST

The messages and routes, from the structs of the source. Programs read {files}.
"""
MERMAID: Final = "vendor/mermaid.tiny.js"
"""Draws the machines. The theme would fetch it from a public server, unless a page has it already."""
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FILE_NAME: Final = re.compile(r"[\w/-]+\.md")
_titles: dict[str, str] = {}
"""By page, as the navigation calls them."""
_ORIGINS: Final = {target: ROOT / source for source, target in ROOT_PAGES.items()}


def on_config(config: Any) -> Any:
    """The decisions stand in the navigation one by one; links may be called as pages are there."""
    pages = [f"{DECISIONS}/{path.name}" for path in _decisions()]
    entries = [entry for section in config["nav"] for parts in section.values() for entry in parts]
    for entry in entries:
        if entry.get("Decisions") == DECISIONS:
            entry["Decisions"] = [f"{DECISIONS}/index.md", *pages]
        _titles.update((page, title) for title, page in entry.items() if isinstance(page, str))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are not in docs/."""
    for source, target in ROOT_PAGES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text()))
    files.append(File.generated(config, f"{DECISIONS}/index.md", content=_list_of_decisions()))
    files.append(File.generated(config, "protocol.md", content=_protocol()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links as the site needs them. Warns of each that leads nowhere."""
    here = page.file.src_uri
    origin = _ORIGINS.get(here, DOCS / here)
    return _LINK.sub(lambda link: _turn(link, origin, here), markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """A page with a diagram brings what draws it."""
    if '<pre class="mermaid">' not in output:
        return output
    path = os.path.relpath(MERMAID, Path(page.file.dest_uri).parent)
    return output.replace("</head>", f'<script src="{path}"></script></head>', 1)


def _turn(link: re.Match[str], origin: Path, here: str) -> str:
    image, text, target = link.groups()
    if "://" in target or target.startswith(("#", "mailto:")):
        return link[0]
    path, mark, anchor = target.partition("#")
    wanted = Path(os.path.normpath(origin.parent / path))
    found = _on_site(wanted)
    if found is not None:
        if _FILE_NAME.fullmatch(text) and here not in _ORIGINS:
            text = _titles.get(found, text)
        return f"{image}[{text}]({os.path.relpath(found, Path(here).parent)}{mark}{anchor})"
    if not wanted.exists():
        log.warning("%s: %s leads nowhere", origin.relative_to(ROOT), target)
    return text  # a file of the source, which the site does not have


def _on_site(wanted: Path) -> str | None:
    if wanted == DOCS / DECISIONS:
        return f"{DECISIONS}/index.md"
    if not wanted.is_relative_to(DOCS):
        return ROOT_PAGES.get(str(wanted.relative_to(ROOT))) if wanted.is_relative_to(ROOT) else None
    made = wanted.name in ("protocol.md", "index.md")
    return wanted.relative_to(DOCS).as_posix() if made or wanted.is_file() else None


def _decisions() -> list[Path]:
    return sorted((DOCS / DECISIONS).glob("*.md"))


def _list_of_decisions() -> str:
    titles = [(path.name, path.read_text().partition("\n")[0].lstrip("# ")) for path in _decisions()]
    rows = "\n".join(f"- [{title}]({name})" for name, title in titles)
    return f"# Decisions\n\nWhy it is built as it is: one page for each choice that is not obvious.\n\n{rows}\n"


def _protocol() -> str:
    files = ", ".join(f"[{path.name}](protocol/{path.name})" for path in sorted((DOCS / "protocol").glob("*.json")))
    parts = [HEAD.format(files=files)]
    for name, title in SOCKETS.items():
        parts += _socket(title, json.loads((DOCS / "protocol" / f"{name}.asyncapi.json").read_text()))
    parts += _rest(json.loads((DOCS / "protocol" / "rest.openapi.json").read_text()))
    return "\n".join(parts)


def _socket(title: str, told: Mapping[str, Any]) -> Iterator[str]:
    """A table of messages for each side."""
    addresses = ", ".join(f"`{channel['address']}`" for channel in told["channels"].values())
    yield f"\n## {title}\n\n{addresses}\n"
    messages = told["components"]["messages"]
    for side, operation in told["operations"].items():
        yield f"\n### What the {side} says\n\n| `type` | fields | |\n|---|---|---|"
        for reference in operation["messages"]:
            message = messages[reference["$ref"].rpartition("/")[2]]
            schema = told["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
            fields = [name for name in schema["properties"] if name != "type"]
            shown = ", ".join(f"`{name}`" for name in fields) or "-"
            yield f"| `{message['name']}` | {shown} | {_cell(message['summary'])} |"


def _rest(told: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## REST\n\n| | |\n|---|---|"
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "responses" in operation:
                yield f"| `{method.upper()} {path}` | {_cell(operation.get('summary', ''))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
