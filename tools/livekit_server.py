"""Makes sure that a real livekit-server is at hand where one can be had, for `make test`; says so loudly when not."""

import asyncio
import sys

from glassbridge.livekit.binary import LiveKitServerError, provide_binary
from glassbridge.settings import settings


def main() -> int:
    """Always 0: without a server the tests run all the same, less those marked `real`."""
    try:
        found = asyncio.run(provide_binary(settings().livekit_server_bin, lambda line: print(line, flush=True)))
    except LiveKitServerError as error:
        rule = "!" * 100
        print(f"{rule}\nTests against a real livekit-server will be SKIPPED.\n{error}\n{rule}", file=sys.stderr)
    else:
        print(f"real livekit-server: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
