"""Generates src/glassbridge/wire/livekit_bridge_pb2* from proto/livekit_bridge.proto (`--check` only compares)."""

import filecmp
import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto" / "livekit_bridge.proto"
TARGET = ROOT / "src" / "glassbridge" / "wire"


def generate(into: Path) -> list[Path]:
    """Runs protoc and makes the imports absolute inside the package; returns the files."""
    code = protoc.main(
        [
            "protoc",
            f"-I{PROTO.parent}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            f"--pyi_out={into}",
            str(PROTO),
        ]
    )
    if code:
        raise SystemExit(code)
    grpc_file = into / "livekit_bridge_pb2_grpc.py"
    text = grpc_file.read_text()
    grpc_file.write_text(re.sub(r"^(import livekit_bridge_pb2)", r"from glassbridge.wire \1", text, flags=re.M))
    return sorted(into.glob("livekit_bridge_pb2*"))


def main() -> None:
    """Writes or, with --check, compares; ends with status 1 when they differ."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Path(folder))
        if "--check" in sys.argv:
            pairs = [(file, TARGET / file.name) for file in files]
            stale = [new.name for new, old in pairs if not old.exists() or not filecmp.cmp(new, old, shallow=False)]
            if stale:
                raise SystemExit(f"generated code is older than {PROTO.name}: {', '.join(stale)}; run `make proto`")
            return
        for file in files:
            shutil.copy(file, TARGET / file.name)


if __name__ == "__main__":
    main()
