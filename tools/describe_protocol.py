"""Writes docs/protocol/*.json: AsyncAPI descriptions of the sockets from the structs in src/glassbridge/wire, and
OpenAPI of the rest from the cloud's own routes and src/glassbridge/cloud/reference.py.

`--check` only compares.
"""

import asyncio
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.reference import NOT_TOLD, OPERATIONS, Failure, Operation
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.speech.moonshine import MoonshineRecogniser
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


def routes() -> dict[tuple[str, str], str]:
    """What the server serves as REST: method and path, with the handler's docstring. Needs a running loop."""
    secret = "x" * 32
    config = CloudConfig(
        keys=CloudKeys((secret,), LiveKitKeys("key", secret)), livekit_url="ws://127.0.0.1", bridges=()
    )
    found = {}
    for route in Cloud(config, MoonshineRecogniser()).routes:
        path = route.resource.canonical if route.resource is not None else ""
        if route.method != "HEAD" and not path.startswith(NOT_TOLD):
            found[route.method, path] = " ".join(inspect.cleandoc(route.handler.__doc__ or "").split())
    return found


async def rest() -> str:
    """The OpenAPI file. Ends the program when the server and the reference do not fit."""
    served = routes()
    if unlike := served.keys() ^ OPERATIONS.keys():
        raise SystemExit(f"served or told in cloud/reference.py, but not both: {sorted(unlike)}")
    kinds = [kind for operation in OPERATIONS.values() for kind in (operation.data, operation.body) if kind is not None]
    schemas, named = msgspec.json.schema_components([*kinds, Failure], ref_template="#/components/schemas/{name}")
    schema_of = {str(kind): schema for kind, schema in zip([*kinds, Failure], schemas, strict=True)}
    paths: dict[str, Any] = {}
    for (method, path), operation in OPERATIONS.items():
        told = _operation(served[method, path], path, operation, schema_of)
        paths.setdefault(path, {})[method.lower()] = told
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "glassbridge: REST", "version": "1", "description": NOT_EDITED},
        "paths": paths,
        "components": {"schemas": dict(sorted(named.items())), "securitySchemes": SECURITY},
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


SECURITY = {
    "user": {"type": "http", "scheme": "bearer", "description": "Core token; `?token=` does as well."},
    "app": {"type": "apiKey", "in": "query", "name": "signature", "description": "Signed with the app's API key."},
    "admin": {"type": "http", "scheme": "bearer", "description": "GLASSBRIDGE_ADMIN_TOKEN, or the login's cookie."},
}
SCHEMES: dict[str, list[dict[str, list[str]]]] = {
    "none": [], "user": [{"user": []}], "app": [{"app": []}, {"user": []}], "admin": [{"admin": []}],
}  # fmt: skip


def _operation(summary: str, path: str, operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    in_query = [
        {"name": name, "in": "query", "description": what, "schema": {"type": "string"}}
        for name, what in (operation.query or {}).items()
    ]
    content: dict[str, Any] = {operation.media: {}}
    if operation.data is not None:
        data = schema_of[str(operation.data)]
        content = {operation.media: {"schema": data if operation.bare else _success(data)}}
    failure = {"application/json": {"schema": schema_of[str(Failure)]}}
    errors = ({} if operation.auth == "none" else {401: "who is asking?"}) | (operation.errors or {})
    body = {}
    if operation.body is bytes:
        body = {"requestBody": {"content": {"application/octet-stream": {}}}}
    elif operation.body is not None:
        body = {"requestBody": {"content": {"application/json": {"schema": schema_of[str(operation.body)]}}}}
    return {
        "summary": summary,
        "security": SCHEMES[operation.auth],
        "parameters": in_path + in_query,
        **body,
        "responses": {"200": {"description": "done", "content": content}}
        | {str(status): {"description": what, "content": failure} for status, what in sorted(errors.items())},
    }


def _success(data: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"success": {"const": True}, "data": data, "timestamp": {"type": "string"}},
        "required": ["success", "data", "timestamp"],
    }


def files() -> dict[str, str]:
    """Name and content of each."""
    return {
        "rest.openapi.json": asyncio.run(rest()),
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
            raise SystemExit(f"docs/protocol/{name} is older than the code; run `make protocol`")


if __name__ == "__main__":
    main()
