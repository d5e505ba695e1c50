"""What we ship to operators: alert rules that fire when they should, a dashboard that shows something."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from glassbridge.telemetry import metrics
from glassbridge.telemetry.numbers import SUPERVISOR, WORKER
from tests.support.patience import patient
from tests.telemetry import queries
from tests.telemetry.queries import OF_PROMETHEUS, RULE_TESTS, RULES, Selector

PROMTOOL = shutil.which("promtool")


def promtool(*argv: str | Path, cwd: Path | None = None) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *map(str, argv)], capture_output=True, text=True, timeout=patient(110), cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
def test_the_rules_are_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", RULE_TESTS.name, cwd=RULE_TESTS.parent)


def test_each_alert_is_tested_both_ways_and_says_what_to_do() -> None:
    tested = Counter[tuple[str, bool]]()
    for each in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for check in each["promql_expr_test"]:
            [name] = re.findall(r'alertname="(\w+)"', check["expr"])
            tested[name, bool(check["exp_samples"])] += 1
    for name, rule in queries.alerts().items():
        assert tested[name, True], f"no test in which {name} fires"
        assert tested[name, False], f"no test in which {name} is quiet"
        assert rule["labels"]["severity"] in ("page", "warning", "info"), name
        assert set(rule["annotations"]) == {"summary", "what_to_do"}, name


def test_the_documentation_tells_all_numbers_and_all_alerts() -> None:
    subprocess.run([sys.executable, "-m", "tools.describe_metrics", "--check"], check=True, cwd=queries.DEPLOY.parent)
    text = (queries.DEPLOY.parent / "docs" / "observability.md").read_text()
    told = dict(re.findall(r"^\| `(Glassbridge\w+)` \|.*\| (page|warning|info) \|$", text, re.MULTILINE))
    assert told == {name: rule["labels"]["severity"] for name, rule in queries.alerts().items()}


@pytest.mark.promtool
def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    expressions = [
        queries.plain(target["expr"]) for panel in queries.panels() for target in panel["targets"] if target["expr"]
    ]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    path = tmp_path / "dashboard.rules.json"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)
    assert len(rules) > 40


def labels_of(selector: Selector) -> set[str]:
    """That its series can have."""
    metric = metrics.BY_NAME[selector.name]
    by_the_supervisor = {"worker"} if metric.programs & (SUPERVISOR | WORKER) else set()
    return OF_PROMETHEUS | set(metric.labels) | by_the_supervisor


def test_every_query_reads_what_is_in_the_table() -> None:
    for where, query in queries.asked():
        read = queries.selectors(query)
        assert read or "up{" in query, f"{where} reads nothing of ours: {query}"
        for selector in read:
            assert selector.name in metrics.BY_NAME, f"{where} reads {selector.name}, which there is not"
            for label, _, _ in selector.matchers:
                assert label in labels_of(selector), f"{where}: {selector.name} has no label {label}"
        known = set[str]().union(*(labels_of(selector) for selector in read)) if read else OF_PROMETHEUS
        assert queries.grouped(query) <= known, f"{where} groups by labels that there are not: {query}"
        if "_bucket" in query:
            assert "le" in queries.grouped(query), f"{where} mixes the buckets: {query}"


def test_every_number_is_shown_or_watched() -> None:
    read = {selector.name for _, query in queries.asked() for selector in queries.selectors(query)}
    assert set(metrics.BY_NAME) - read == set(), "numbers that neither the dashboard nor an alert reads"


def test_the_dashboard_is_one() -> None:
    board = queries.dashboard()
    assert board["uid"] == "glassbridge"
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"] for each in board["templating"]["list"]}
    for panel in queries.panels():
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", "the operator's Prometheus, not ours"
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
        for target in panel["targets"]:
            used = set(re.findall(r"\$(?!__)(\w+)", target["expr"]))
            assert used <= variables, f"{panel['title']} uses {used - variables}"
    for one, other in combinations((panel["gridPos"] for panel in board["panels"]), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, f"two panels lie over each other: {one}, {other}"
        assert one["x"] + one["w"] <= 24
