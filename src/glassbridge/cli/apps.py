"""`glassbridge apps`: which apps a cloud knows."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

app = typer.Typer(help="Say which apps a cloud knows.", no_args_is_help=True, rich_markup_mode=None)

RegistryOption = Annotated[
    Path,
    typer.Option(
        "--registry",
        envvar="GLASSBRIDGE_APPS",
        dir_okay=False,
        help="File of the registry: .toml for people, .db for SQLite; `cluster`: that of all clouds.",
    ),
]
PackageArgument = Annotated[str, typer.Argument(help="Package name, such as com.example.captions.")]
DEFAULT_REGISTRY = Path("apps.toml")


@app.command()
def add(
    package: PackageArgument,
    url: Annotated[str, typer.Option(help="Where the app's own server is.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    permission: Annotated[
        list[str] | None,
        typer.Option(help="MICROPHONE, CAMERA, LOCATION, CALENDAR, READ_NOTIFICATIONS or ALL; may be given again."),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="What users can choose: a JSON list, or an object with it in `settings`."),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Register an app and print its API key, which is stored nowhere: the last line of the output."""
    from glassbridge.cli.shared import registry_at
    from glassbridge.cloud.apps.registry import new_app, read_settings

    record, key = new_app(package, url, name, permission or [], read_settings(settings) if settings else ())
    registry_at(registry).add(record)
    print(f"{package} is in {registry}; this is its API key, which is shown once:", file=sys.stderr)
    print(key)


@app.command(name="list")
def list_(registry: RegistryOption = DEFAULT_REGISTRY) -> None:
    """Show the apps: package, URL, permissions."""
    from glassbridge.cli.shared import registry_at

    for record in registry_at(registry).all():
        permissions = ",".join(sorted(permission.value for permission in record.permissions))
        print("\t".join((record.package, record.url, permissions or "-")))


@app.command()
def rekey(package: PackageArgument, registry: RegistryOption = DEFAULT_REGISTRY) -> None:
    """Make a new API key for an app, whose former key ends, and print it: the last line of the output."""
    from secrets import token_urlsafe

    from glassbridge.cli.shared import registry_at

    found = registry_at(registry)
    record = found.find(package)
    if record is None:
        raise UserError(Complaint.APP_UNKNOWN.text(package=package))
    key = token_urlsafe(32)
    found.change_key(record.with_key(key))
    print(f"{package} has a new API key, which is shown once; the former one no longer counts:", file=sys.stderr)
    print(key)


@app.command()
def remove(package: PackageArgument, registry: RegistryOption = DEFAULT_REGISTRY) -> None:
    """Forget an app: it cannot be started any more."""
    from glassbridge.cli.shared import registry_at

    if not registry_at(registry).remove(package):
        raise UserError(Complaint.APP_UNKNOWN.text(package=package))
