"""An app that tells what it hears, run as a file by any version: `python app_program.py PACKAGE PORT`.

Its key comes in APP_KEY. It prints one JSON object a line: who, in which session, when (CLOCK_MONOTONIC nanoseconds),
and what, in base64. It knows of our library only what version 0.1 had.
"""

import asyncio
import base64
import json
import os
import sys
from time import monotonic_ns

from glassbridge.app import AppServer, Session


def tell(event: str, session: Session, **more: str) -> None:
    said = {"event": event, "user": session.user_id, "session": session.session_id, "at_ns": monotonic_ns(), **more}
    print(json.dumps(said), flush=True)


async def main(package: str, port: int) -> None:
    """Until it is killed."""
    server = AppServer(package, os.environ["APP_KEY"], port=port)

    @server.on_session
    def begin(session: Session) -> None:
        tell("begun", session)

        @session.on_audio
        def heard(pcm: bytes) -> None:
            tell("heard", session, pcm=base64.b64encode(pcm).decode())

    @server.on_stop
    def stop(session: Session, why: str) -> None:
        tell("stopped", session)

    async with server:
        print(json.dumps({"event": "ready"}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
