"""Proves that rules, dashboard and scaling ask for what the service tells, in words that Prometheus takes."""

import json
import re
from typing import Any

import promql_parser
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry import Metrics
from tests.kubernetes.chart import NAME, Rendered
from tests.kubernetes.releases import MATRIX

SERIES = f'namespace="meetings",job="{NAME}-admin"'


@pytest.fixture(scope="module")
def made() -> Rendered:
    """A release with all of it."""
    return Rendered(MATRIX["scaled, everything"])


@pytest.fixture(scope="module")
def rules(made: Rendered) -> list[dict[str, Any]]:
    """Its alerts."""
    (group,) = made.of("PrometheusRule")["spec"]["groups"]
    return list(group["rules"])


def dashboard(made: Rendered) -> dict[str, Any]:
    text = made.of("ConfigMap", f"{NAME}-dashboard")["data"]["dyte-archiver.json"]
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def queries(made: Rendered) -> list[str]:
    """What the dashboard asks, with Grafana's own variables filled in."""
    asked = [target["expr"] for panel in dashboard(made)["panels"] for target in panel["targets"]]
    return [each.replace("$__rate_interval", "5m") for each in asked]


def exposed() -> dict[str, set[str]]:
    """The labels of every series that the service has."""
    metrics = Metrics()
    for collector in vars(metrics).values():
        if names := getattr(collector, "_labelnames", ()):
            collector.labels(*names)
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {each.name: set(each.labels) for family in families for each in family.samples}


def test_every_series_and_label_that_is_asked_for_is_one_of_the_service_s(
    made: Rendered, rules: list[dict[str, Any]]
) -> None:
    (trigger,) = made.of("ScaledObject", f"{NAME}-workers")["spec"]["triggers"]
    every = [*queries(made), *(rule["expr"] for rule in rules), trigger["metadata"]["query"]]
    known = exposed() | {"up": set()}
    target = {"namespace", "job", "pod"}  # Prometheus' own
    for expression in every:
        promql_parser.parse(expression)
        for series, selected in re.findall(r"\b(up|dyte_archiver_\w+)(?:\{([^}]*)\})?", expression):
            named = set(re.findall(r"(\w+)=", selected))
            assert named - target <= known[series], expression
            assert named >= {"namespace", "job"}, expression
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert grouped - target <= set().union(*known.values()), expression


def test_a_wrong_expression_would_be_noticed() -> None:
    with pytest.raises(ValueError, match="unexpected"):
        promql_parser.parse("max(dyte_archiver_due_artifacts{)")


def test_the_outcomes_that_alerts_look_for_are_counted_by_the_service(rules: list[dict[str, Any]]) -> None:
    from tests.test_house import ROOT

    source = "".join(path.read_text("utf-8") for path in (ROOT / "service").rglob("*.py"))
    looked_for = {each for rule in rules for each in re.findall(r'outcome="(\w+)"', rule["expr"])}
    assert looked_for == {"expired"}
    assert all(f'"{outcome}"' in source for outcome in looked_for)


def test_the_alerts_are_those_that_matter(rules: list[dict[str, Any]]) -> None:
    assert {rule["alert"]: rule["labels"]["severity"] for rule in rules} == {
        "DyteArchiverDeadlineNear": "critical",
        "DyteArchiverExpired": "critical",
        "DyteArchiverStorageFails": "warning",
        "DyteArchiverNothingStored": "warning",
        "DyteArchiverBacklogGrows": "warning",
        "DyteArchiverNoDeliveries": "warning",
        "DyteArchiverDown": "critical",
    }
    assert all(rule["annotations"]["summary"] for rule in rules)
    quiet = Rendered({"prometheusRule": {"enabled": True, "noDeliveriesHours": 0}})
    (group,) = quiet.of("PrometheusRule")["spec"]["groups"]
    assert "DyteArchiverNoDeliveries" not in {rule["alert"] for rule in group["rules"]}


def test_alerts_and_scaling_look_at_this_release_alone(made: Rendered, rules: list[dict[str, Any]]) -> None:
    (trigger,) = made.of("ScaledObject", f"{NAME}-workers")["spec"]["triggers"]
    for expression in [*(rule["expr"] for rule in rules), trigger["metadata"]["query"]]:
        selected = re.findall(r"\{([^}]*)\}", expression)
        assert selected
        assert all(SERIES in each for each in selected), expression


def test_prometheus_finds_the_admin_port_and_sends_the_token(made: Rendered) -> None:
    monitor = made.of("ServiceMonitor")["spec"]
    service = made.of("Service", f"{NAME}-admin")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    public = made.of("Service")
    assert not monitor["selector"]["matchLabels"].items() <= public["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    token = {"name": f"{NAME}-env", "key": "ARCHIVER_ADMIN_TOKEN"}
    assert endpoint["authorization"] == {"credentials": token}
    theirs = Rendered({"existingSecret": "calls", "serviceMonitor": {"enabled": True, "authorized": True}})
    (endpoint,) = theirs.of("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == "calls"


def test_the_dashboard_s_panels_do_not_cover_one_another(made: Rendered) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(made)["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
