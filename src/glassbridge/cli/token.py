"""`glassbridge token`: a core token for development."""

import sys
from typing import Annotated

import typer

from glassbridge.cli.common import load_settings, parse_user


def token(
    user: Annotated[str, typer.Option("--user", "-u", help="Whose token; an e-mail address or any other id.")],
    hours: Annotated[float, typer.Option("--hours", min=0.001, help="How long it lives.")] = 24.0,
) -> None:
    """Print a core token: what a phone shows to sign in. It is the last line of the output."""
    from glassbridge.cloud.auth import mint_core_token

    name = parse_user(user)
    settings = load_settings()
    if "AUGMENTOS_AUTH_JWT_SECRET" in settings.development_secrets:
        print(
            "signed with the public development secret; set AUGMENTOS_AUTH_JWT_SECRET to the cloud's own",
            file=sys.stderr,
        )
    print(mint_core_token(name, settings.jwt_secret.get_secret_value(), ttl=hours * 3600))
