"""docs/protocol/rest.openapi.json against a live cloud, by schemathesis: every answer is a described one, and none is a
failure of the server. Bounded: some examples of each operation, the same ones for everybody."""

import asyncio
import sys
from pathlib import Path

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from tests.cloud.app_stage import app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.scripted_voice import ScriptedVoice

DESCRIPTION = Path(__file__).parent.parent.parent / "docs" / "protocol" / "rest.openapi.json"
ADMIN = "an-admin-token-of-the-tests"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 15


@pytest.mark.parametrize(
    ("paths", "token"),
    [("^/api/admin/(?!live)|^/metrics", ADMIN), ("^(?!/api/admin|/metrics)", "")],  # live is a stream without an end
    ids=["admin", "others"],
)
async def test_answers_are_as_described(tmp_path: Path, paths: str, token: str) -> None:
    async with app_stages() as begin:
        stage = await begin(voice=ScriptedVoice(), admin_token=ADMIN)
        await stage.phone()
        token = token or mint_core_token(user_id(ANN), SECRET, 600)
        argv = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(DESCRIPTION), "--url", stage.url),
            *("--include-path-regex", paths, "--header", f"Authorization: Bearer {token}", "--checks", CHECKS),
            *("--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color", "--warnings", "off"),
            *("--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all"),
            *("--request-timeout", "60", "--workers", "1"),
        ]
        child = await asyncio.create_subprocess_exec(
            *argv, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        told, _ = await child.communicate()
    if child.returncode:
        pytest.fail(told.decode()[-20_000:], pytrace=False)
