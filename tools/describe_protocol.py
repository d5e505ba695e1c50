"""Writes docs/protocol/*.json, AsyncAPI descriptions of the sockets, from the structs in src/glassbridge/wire.

`--check` only compares.
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from glassbridge.wire import apps, phone

TARGET = Path(__file__).resolve().parent.parent / "docs" / "protocol"
NOT_EDITED = "Written by tools/describe_protocol.py from the structs in src/glassbridge/wire: `make protocol`."


def description(title: str, addresses: tuple[str, ...], said_by: dict[str, Any], further: tuple[Any, ...] = ()) -> str:
    """The whole file. `said_by` names each side with the union of what it may say; `further` are structs that messages
    carry without naming them."""
    kinds = {kind: kind.__struct_config__.tag for union in said_by.values() for kind in union.__args__}
    _, schemas = msgspec.json.schema_components([*kinds, *further], ref_template="#/components/schemas/{name}")
    channels = {
        address.strip("/").replace("/", "-"): {
            "address": address,
            "messages": {tag: {"$ref": f"#/components/messages/{tag}"} for tag in sorted(kinds.values())},
        }
        for address in addresses
    }
    first = next(iter(channels))
    operations = {
        side: {
            "action": "send" if side == "cloud" else "receive",
            "channel": {"$ref": f"#/channels/{first}"},
            "messages": [
                {"$ref": f"#/channels/{first}/messages/{kind.__struct_config__.tag}"} for kind in union.__args__
            ],
        }
        for side, union in said_by.items()
    }
    messages = {
        tag: {
            "name": tag,
            "summary": " ".join(inspect.cleandoc(kind.__doc__ or "").split()),
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        }
        for kind, tag in sorted(kinds.items(), key=lambda item: item[1])
    }
    whole = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": "1", "description": NOT_EDITED},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def files() -> dict[str, str]:
    """Name and content of each."""
    return {
        "apps.asyncapi.json": description(
            "glassbridge: the app socket",
            apps.APP_PATHS,
            {"app": apps.FromApp, "cloud": apps.FromCloud},
            (*apps.StreamData.__args__, *apps.WebhookRequest.__args__),
        ),
        "phone.asyncapi.json": description(
            "glassbridge: the phone socket",
            ("/glasses-ws", "/ws/client"),
            {"phone": phone.FromPhone, "cloud": phone.FromCloud},
        ),
    }


def main() -> None:
    """Writes or, with --check, compares; ends with status 1 when they differ."""
    for name, content in files().items():
        path = TARGET / name
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            raise SystemExit(f"docs/protocol/{name} is older than the structs in wire; run `make protocol`")


if __name__ == "__main__":
    main()
