"""The queries of the dashboard and of the rules, and the metrics that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

DOCKER = Path(__file__).parents[2] / "docker"
RULES = ("recording.yml", "alerts.yml")

_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")
_METRIC = re.compile(r"\b(?:deepmedix_[a-z_]+|process_[a-z_]+|vllm:[a-z_]+)")


def dashboard() -> dict:
    return json.loads((DOCKER / "grafana/dashboards/deepmedix.json").read_text())


def panel_queries() -> Iterator[tuple[str, str]]:
    """Title and query of every panel, its variables filled in as Grafana would."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "1m")
            query = query.replace("$job", "deepmedix").replace("$instance", ".*")
            assert "$" not in query
            yield panel["title"], query


def rules() -> Iterator[tuple[str, str]]:
    """Name and expression of every rule."""
    for name in RULES:
        for group in yaml.safe_load((DOCKER / "prometheus" / name).read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]


def metrics_named() -> set[str]:
    """Families that a query names; what our recording rules make is not among them."""
    queries = [query for _, query in (*panel_queries(), *rules())]
    return {_HISTOGRAM.sub("", name) for query in queries for name in _METRIC.findall(query)}


def families(page: str) -> set[str]:
    """Families on a page of metrics, as they are queried."""
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
