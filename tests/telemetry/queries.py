"""What the alert rules and the dashboard ask Prometheus for."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "glassbridge.rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "glassbridge.test.yml"
DASHBOARD = DEPLOY / "grafana" / "glassbridge.json"

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of a histogram's buckets."""
_SELECTOR = re.compile(r"\b((?:glassbridge|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_PART = re.compile(r"_(bucket|sum|count)$")
_GROUPS = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    """One `name{matchers}` of a query."""

    name: str
    """Of the metric, without what a histogram's series end in."""
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> list[Selector]:
    """All that a query reads."""
    return [
        Selector(_PART.sub("", name), tuple(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(expression)
    ]


def grouped(expression: str) -> set[str]:
    """Labels by which a query groups."""
    return {label.strip() for group in _GROUPS.findall(expression) for label in group.split(",") if label.strip()}


def alerts() -> dict[str, dict[str, Any]]:
    """By name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> Iterator[dict[str, Any]]:
    """Those that show something."""
    return (panel for panel in dashboard()["panels"] if panel["type"] != "row")


def asked() -> list[tuple[str, str]]:
    """(where, query) of every query that there is."""
    found = [(f"alert {name}", str(rule["expr"])) for name, rule in alerts().items()]
    found += [(f"panel {panel['title']}", target["expr"]) for panel in panels() for target in panel["targets"]]
    found += [(f"variable {each['name']}", each["query"]["query"]) for each in _queried_variables()]
    return found


def _queried_variables() -> Iterable[dict[str, Any]]:
    return (each for each in dashboard()["templating"]["list"] if each["type"] == "query")


def plain(expression: str) -> str:
    """A query of the dashboard as Prometheus gets it."""
    for variable, value in (("$__rate_interval", "5m"), ("$cloud", "cloud"), ("$bridge", "bridge")):
        expression = expression.replace(variable, value)
    return expression
