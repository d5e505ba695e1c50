"""`python -m glassbridge.app FILE`: serves the app that a file makes, whether or not it runs it itself. With
`--describe` it only says what it is, as JSON. `glassbridge app run` uses both."""

import json
import runpy
import sys
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

from glassbridge.app.server import AppServer


def load(file: str) -> AppServer:
    """The one AppServer at the top level of the file. Raises SystemExit, and whatever the file raises."""
    sys.path.insert(0, str(Path(file).resolve().parent))
    with patch.object(AppServer, "run", lambda _: None):  # what it makes is served below
        names = runpy.run_path(file, run_name="app")
    found = {id(one): one for one in names.values() if isinstance(one, AppServer)}
    if len(found) != 1:
        raise SystemExit(f"{file} makes {len(found) or 'no'} AppServer at its top level, and should make one")
    return next(iter(found.values()))


def main() -> NoReturn:
    """Serves until it is stopped."""
    file, *options = sys.argv[1:]
    server = load(file)
    if options == ["--describe"]:
        print(json.dumps({"package": server.package, "host": server.host, "port": server.port}))
    else:
        server.run()
    sys.exit(0)


if __name__ == "__main__":
    main()
