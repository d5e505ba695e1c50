"""The dashboard and the alert rules against a Prometheus that scrapes a running system: each query is answered, each
metric in it is known there, and the panels that follow the audio from hop to hop show it."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from glassbridge.lab import clips
from glassbridge.livekit.server import free_port
from tests.support.poll import eventually
from tests.support.process import Program
from tests.telemetry import queries

PROMETHEUS = shutil.which("prometheus")
SERVED = {"cloud": 1, "bridge": 2}
"""Programs that serve numbers, and how often: a bridge's supervisor, and its worker."""
HOPS = (
    "What phones are told", "Age of audio (p95)", "Frames by hop", "Audio links by state", "Rooms, streams, places",
    "JoinRoom", "Recogniser", "Workers", "Versions", "Time to audio",
)  # fmt: skip
"""Panels that show something while one phone speaks."""


def addresses(dev: Program, program: str) -> list[str]:
    """Where it serves its numbers, as its log says."""
    lines = [
        line.partition("| ")[2]
        for line in (*dev.out, *dev.err)
        if line.startswith(program) and "metrics are served" in line
    ]
    return [json.loads(line)["address"] for line in lines]


@asynccontextmanager
async def system() -> AsyncIterator[Program]:
    """`glassbridge dev`, and a phone that speaks for as long as it runs."""
    env = {"GLASSBRIDGE_CLOUD_METRICS_PORT": "0", "GLASSBRIDGE_BRIDGE_METRICS_PORT": "0"}
    ports = "--port", "0", "--livekit-port", "0"
    async with AsyncExitStack() as stack:
        dev = await stack.enter_async_context(
            Program.glassbridge("dev", "--livekit", "embedded", *ports, "--log-format", "json", env=env)
        )
        await dev.says("A core token for me", within=60)
        cloud = re.findall(r"^\s*(http\S+)/console#token=\S+$", "\n".join(dev.out), re.MULTILINE)[0]
        token = next(line.strip() for line in dev.out if line.strip().startswith("eyJ"))
        phone = ("phone", "--cloud", cloud, "--wav", str(clips.wav()), "--loop")
        await stack.enter_async_context(Program.glassbridge(*phone, env={"GLASSBRIDGE_TOKEN": token}))
        for program, count in SERVED.items():
            await eventually(lambda: len(addresses(dev, program)) >= count or f"{program}: {dev.out[-5:]}", 30)  # noqa: B023
        yield dev


@asynccontextmanager
async def prometheus(folder: Path, dev: Program) -> AsyncIterator[str]:
    """Scrapes each second; gives its base URL."""
    jobs = [
        {"job_name": program, "static_configs": [{"targets": addresses(dev, program)}]} for program in SERVED
    ]  # fmt: skip
    config = {"global": {"scrape_interval": "1s"}, "rule_files": [str(queries.RULES)], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    flags = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}")  # fmt: skip
    async with Program(str(PROMETHEUS), *flags) as server:
        await server.says("Server is ready to receive web requests", within=30)
        yield f"http://{address}"


@pytest.mark.slow
@pytest.mark.promtool
@pytest.mark.timeout(300)
async def test_a_running_prometheus_answers_each_query_of_dashboard_and_rules(tmp_path: Path) -> None:
    async with system() as dev, prometheus(tmp_path, dev) as url, aiohttp.ClientSession(url) as http:

        async def ask(path: str, **query: str) -> Any:
            async with http.get(f"/api/v1/{path}", params=query) as answer:
                told = await answer.json()
                assert told["status"] == "success", (query, told)
                return told["data"]

        async def spoken() -> bool | str:
            found = await ask("query", query='sum(increase(glassbridge_frames_received_total{job="cloud"}[10s]))')
            return (found["result"] and float(found["result"][0]["value"][1]) > 20) or f"nothing is heard: {found}"

        await eventually(spoken, 60)
        known = set(await ask("metadata"))
        unknown = {
            (where, one.name) for where, query in queries.asked() for one in queries.selectors(query)
            if not {one.name, one.name.removesuffix("_total")} & known
        }  # fmt: skip
        assert unknown == set()

        empty = set()
        for panel in queries.panels():
            found = [
                (await ask("query", query=in_use(target["expr"])))["result"] for target in panel["targets"]
            ]  # fmt: skip
            if not any(found):
                empty.add(panel["title"])
        assert empty & set(HOPS) == set()
        rules = await ask("rules")
        bad = [rule for group in rules["groups"] for rule in group["rules"] if rule["health"] == "err"]
        assert bad == []
        firing = {rule["name"] for group in rules["groups"] for rule in group["rules"] if rule.get("state") == "firing"}
        assert not {name for name in firing if "Down" in name}, firing


def in_use(query: str) -> str:
    """A query as Grafana sends it over ten seconds."""
    return query.replace("$__rate_interval", "10s").replace("$cloud", "cloud").replace("$bridge", "bridge")
