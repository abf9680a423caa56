"""Dashboard and alerts against a real Prometheus that scrapes a running service."""

from __future__ import annotations

import inspect
import io
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
import yaml
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.api import metrics
from service.api.handshake import REASONS
from service.app import create_app
from service.radiograph import problems
from service.settings import Settings
from tests.docker.monitoring import (
    DOCKER,
    RULES,
    dashboard,
    families,
    metrics_named,
    panel_queries,
    rules,
)
from tests.service.api.test_documentation import raised_problems
from tests.service.scripted_engine import GROUNDED, Script, ScriptedEngine

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (Debian package prometheus)",
)

WITH_TRAFFIC = {
    "Answers",
    "Takes requests",
    "Requests by status",
    "Time of a reading",
    "Problems by code",
    "Stages, median",
    "Stages, 95th percentile",
    "Tokens",
    "Requests inside",
    "Parse anomalies",
    "Films that could not be opened",
}
"""Panels that show something after the traffic below."""


@pytest.fixture(scope="module")
def service():
    """Address of a service whose engine has a script that needs flags."""
    engine = ScriptedEngine(Script(GROUNDED.replace("<think>", "", 1)))
    app = create_app(Settings(), engine=engine)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    while app.state.service.state == "starting":
        thread.join(0.01)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def prometheus(service, tmp_path_factory):
    """A client of a Prometheus with our configuration, its target and pace changed."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [service]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    for name in RULES:
        shutil.copy(DOCKER / "prometheus" / name, folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            until(process, lambda: samples(client, "count_over_time(deepmedix_ready[1m]) >= 2"))
            make_traffic(f"http://{service}")
            counted = 'increase(deepmedix_problems_total{code="unsupported-media-type"}[1m]) > 0'
            until(process, lambda: samples(client, counted))
            yield client
    finally:
        process.terminate()
        process.wait(30)


def until(process: subprocess.Popen, met, limit: float = 60) -> None:
    """Ask again until a condition is met; fail when Prometheus ends or the limit passes."""
    deadline = time.monotonic() + limit
    while True:
        try:
            if met():
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        assert time.monotonic() < deadline, "Prometheus has not seen it"
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail("Prometheus ended")


def samples(client: httpx.Client, query: str) -> list:
    answered = client.get("/query", params={"query": query})
    if answered.status_code == 503:
        return []  # it listens, and is not ready yet
    reply = answered.json()
    assert reply["status"] == "success", (query, reply)
    return reply["data"]["result"]


def make_traffic(url: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (200, 1))).save(buffer, format="PNG")
    film = buffer.getvalue()
    with httpx.Client(base_url=url, timeout=60) as client:
        for accept in ("application/json", "image/png"):
            reply = client.post("/report", files={"image": film}, headers={"Accept": accept})
            assert reply.status_code == 200
        assert client.post("/vqa", files={"image": film}, data={"question": "?"}).status_code == 200
        assert client.post("/report", files={"image": b"no film"}).status_code == 415


def test_every_metric_that_is_looked_at_exists(service):
    page = httpx.get(f"http://{service}/metrics").text
    ours = {name for name in metrics_named() if not name.startswith("vllm:")}
    assert len(ours) > 10
    assert "process_start_time_seconds" in ours
    assert ours <= families(page), ours - families(page)


@needs_prometheus
def test_every_panel_can_be_drawn(prometheus):
    drawn = {title for title, query in panel_queries() if samples(prometheus, query)}
    assert drawn >= WITH_TRAFFIC, WITH_TRAFFIC - drawn


@needs_prometheus
def test_every_rule_is_loaded_and_none_fails(prometheus):
    groups = prometheus.get("/rules").json()["data"]["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(loaded) == {name for name, _ in rules()}
    assert {name: rule["lastError"] for name, rule in loaded.items() if "lastError" in rule} == {}
    for _, expression in rules():
        samples(prometheus, expression)


@needs_prometheus
def test_nothing_is_alarming_about_a_service_that_is_well(prometheus):
    critical = [
        alert["labels"]["alertname"]
        for alert in prometheus.get("/alerts").json()["data"]["alerts"]
        if alert["labels"]["severity"] == "critical" and alert["state"] == "firing"
    ]
    assert critical == []


@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "docker/prometheus/prometheus.yml"),
        ("test", "rules", "tests/docker/alerts_test.yml"),
    ],
)
def test_promtool_finds_no_fault(arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=DOCKER.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


FRESH = """
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings
from tests.service.scripted_engine import ScriptedEngine

# Without its lifespan: nothing has been started, nothing was asked before.
app = create_app(Settings(), engine=ScriptedEngine())
print(TestClient(app).get("/metrics").text)
"""


@pytest.fixture(scope="module")
def fresh_page():
    """Series and values of the first page of metrics of a process."""
    command = [sys.executable, "-c", FRESH]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def told_series() -> set[str]:
    """Series of ours that the tests of the alerts are made of, without Prometheus' own labels."""
    content = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text())
    found = set()
    for test in content["tests"]:
        for series in test["input_series"]:
            name, _, inside = series["series"].partition("{")
            labels = dict(re.findall(r'(\w+)="([^"]*)"', inside))
            labels = {key: it for key, it in labels.items() if key not in ("job", "instance")}
            if name.startswith("deepmedix_"):
                found.add(name + str(sorted(labels.items())))
    return found


def test_a_service_begins_with_every_series_that_the_alerts_are_tested_with_at_0(fresh_page):
    assert len(told_series()) > 15
    assert {it: fresh_page.get(it) for it in told_series()} == dict.fromkeys(told_series(), 0)


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("deepmedix_audit_events_total", "outcome", {"recorded", "failed", "undelivered"}),
        ("deepmedix_engine_restarts_total", "reason", {"death", "stall", "start"}),
        (
            "deepmedix_refused_credentials_total",
            "reason",
            {"missing", "invalid", "scope", "ambiguous"},
        ),
        ("deepmedix_problems_total", "code", set(raised_problems())),
        ("deepmedix_tls_handshake_failures_total", "reason", set(REASONS)),
    ],
)
def test_what_a_label_can_say_is_there_at_0_from_the_start(fresh_page, name, label, values):
    found = {it: value for it, value in fresh_page.items() if it.startswith(name + "[")}
    assert found == {name + str([(label, value)]): 0 for value in values}


def test_every_reading_route_begins_with_the_statuses_of_its_problems(fresh_page):
    for route in ("/report", "/vqa", "/render"):
        for status in (200, 499, *raised_problems().values()):
            if status != 404:
                labels = [("code", str(status)), ("route", route)]
                assert fresh_page["deepmedix_requests_total" + str(labels)] == 0


def test_every_route_begins_with_what_the_layers_before_it_refuse(fresh_page):
    routes = ("/report", "/version", "/livez", "/metrics", "/admin/keys/reload", "unmatched")
    for route in routes:
        for status in ("413", "421"):
            labels = [("code", status), ("route", route)]
            assert fresh_page["deepmedix_requests_total" + str(labels)] == 0


def test_every_reading_route_begins_with_all_that_may_come_of_a_request(fresh_page):
    for route in ("/report", "/vqa", "/render"):
        for outcome in metrics.OUTCOMES:
            labels = [("outcome", outcome), ("route", route)]
            assert fresh_page["deepmedix_request_seconds_count" + str(labels)] == 0


def test_the_queries_name_no_outcome_that_there_is_not():
    queries = [query for _, query in (*panel_queries(), *rules())]
    named = {
        outcome
        for query in queries
        if "deepmedix_request_seconds" in query
        for outcomes in re.findall(r'outcome!?=~?"([^"]*)"', query)
        for outcome in outcomes.split("|")
    }
    assert named == set(metrics.OUTCOMES)


def test_limits_of_time_in_the_rules_are_bounds_of_buckets():
    expressions = dict(rules())
    (wait,) = re.findall(r"> ([\d.]+)$", expressions["DeepMedixQueueLong"])
    assert float(wait) in metrics.STAGE_SECONDS._upper_bounds
    limits = re.findall(r'le="([\d.]+)"', " ".join(expressions.values()))
    assert {float(limit) for limit in limits} <= set(metrics.REQUEST_SECONDS._upper_bounds)


NOT_OF_OPENING = {"not-a-chest-radiograph", "frame-out-of-range"}
"""Problems of films that were opened, or could have been."""


def test_alert_and_panel_of_films_that_cannot_be_opened_know_every_code_of_that():
    of_films = {
        make().code
        for make in vars(problems).values()
        if inspect.isfunction(make) and make.__module__ == problems.__name__
        if not inspect.signature(make).parameters
    }
    assert of_films > NOT_OF_OPENING
    queries = [
        dict(rules())["DeepMedixDecodeFailures"],
        dict(panel_queries())["Films that could not be opened"],
    ]
    for query in queries:
        (codes,) = re.findall(r'deepmedix_problems_total\{[^}]*code=~"([^"]*)"', query)
        found = {code for code in raised_problems() if re.fullmatch(codes, code)}
        assert found == of_films - NOT_OF_OPENING


def test_the_lines_of_two_replicas_can_be_told_apart():
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            summed = re.search(r"\bby \(([^)]*)\)", target["expr"])
            kept = summed[1].split(", ") if summed else ["instance"]
            for label in set(kept) - {"le"}:
                assert "{{" + label + "}}" in target["legendFormat"], panel["title"]


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for group in yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_every_alert_is_in_the_documentation():
    page = Path("docs/observability.md").read_text()
    assert [name for name, _ in rules() if ":" not in name and f"`{name}`" not in page] == []


def test_grafana_finds_the_data_source_and_the_dashboard():
    provisioning = DOCKER / "grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())
    names = {source["uid"] for source in sources["datasources"]}
    used = {
        target["datasource"]["uid"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    }
    assert used == names
    places = [tuple(panel["gridPos"].values()) for panel in dashboard()["panels"]]
    assert len(places) == len(set(places))
