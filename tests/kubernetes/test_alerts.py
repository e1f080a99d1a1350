"""Proves with Prometheus' own tool that each alert fires when it should, and not when it should not."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.doubles.programs import find_program
from tests.kubernetes.chart import NAME, Rendered
from tests.kubernetes.test_chart_monitoring import SERIES

RULES: Final = Rendered({"prometheusRule": {"enabled": True}}).of("PrometheusRule")["spec"]
ONE, TWO = f'{{{SERIES},pod="one"}}', f'{{{SERIES},pod="two"}}'
ELSEWHERE: Final = '{namespace="meetings",job="another-admin",pod="one"}'


def outcome(name: str) -> str:
    return f'dyte_archiver_artifacts_total{{{SERIES},pod="one",outcome="{name}"}}'


def failures(storage: str, pod: str = "one") -> str:
    return f'dyte_archiver_storage_failures_total{{{SERIES},pod="{pod}",storage="{storage}"}}'


def stored(storage: str, pod: str = "one") -> str:
    return f'dyte_archiver_archive_seconds_count{{{SERIES},pod="{pod}",storage="{storage}"}}'


def retries(reason: str) -> str:
    return f'dyte_archiver_retries_total{{{SERIES},pod="one",reason="{reason}"}}'


# Series a minute: `0+1x60` grows by one, `5x60` stays, `_x60` is not there. After them, when it fires.
CASES: Final[dict[str, tuple[str, dict[str, str], dict[str, bool]]]] = {
    "a deadline is near, as every pod tells": (
        "DyteArchiverDeadlineNear",
        {f"dyte_archiver_near_deadline_artifacts{pod}": "0x30 2x60 0x60" for pod in (ONE, TWO)},
        {"30m": False, "34m": False, "40m": True, "100m": False},
    ),
    "another release's deadline is near": (
        "DyteArchiverDeadlineNear",
        {f"dyte_archiver_near_deadline_artifacts{ELSEWHERE}": "2x60"},
        {"60m": False},
    ),
    "a file expired after others had": (
        "DyteArchiverExpired",
        {outcome("expired"): "3x90 4x200"},
        {"89m": False, "92m": True, "140m": True, "160m": False},
    ),
    "a first file expired": (
        "DyteArchiverExpired",
        {outcome("expired"): "_x30 1x200"},
        {"29m": False, "32m": True, "80m": True, "100m": False},
    ),
    "one storage fails, another takes files": (
        "DyteArchiverStorageFails",
        {
            failures("main"): "0x30 0+1x120",
            stored("main"): "0x150",
            failures("legal"): "0x150",
            stored("legal"): "0+1x150",
        },
        {"30m": False, "34m": False, "50m": True},
    ),
    "files fail in a storage, and another pod stores some there": (
        "DyteArchiverStorageFails",
        {failures("main"): "0+1x120", stored("main"): "0x120", stored("main", "two"): "0+1x120"},
        {"60m": False, "110m": False},
    ),
    "what a storage takes ceases": (
        "DyteArchiverStorageFails",
        {failures("main"): "0+1x120", stored("main"): "0+1x60 60x60"},
        {"60m": False, "85m": False, "105m": True},
    ),
    "every try fails at the source, and nothing was ever moved": (
        "DyteArchiverNothingStored",
        {retries("SourceRefused"): "0x30 0+1x120"},
        {"30m": False, "34m": False, "50m": True},
    ),
    "every try fails in a storage, of which there is an alert of its own": (
        "DyteArchiverNothingStored",
        {retries("StorageRefused"): "0+1x120"},
        {"60m": False},
    ),
    "tries fail, and files are stored all the same": (
        "DyteArchiverNothingStored",
        {retries("SourceUnavailable"): "0+1x120", f"dyte_archiver_moved_bytes_total{TWO}": "0+8000000x120"},
        {"60m": False, "110m": False},
    ),
    "what is stored ceases": (
        "DyteArchiverNothingStored",
        {
            retries("ProviderRefused"): "0+1x120",
            f"dyte_archiver_moved_bytes_total{TWO}": "0+8000000x60 488000000x60",
        },
        {"60m": False, "85m": False, "105m": True},
    ),
    "more and more is due": (
        "DyteArchiverBacklogGrows",
        {f"dyte_archiver_due_artifacts{pod}": "50x60 50+10x200" for pod in (ONE, TWO)},
        {"60m": False, "80m": False, "110m": True},
    ),
    "much is due, and becomes less": (
        "DyteArchiverBacklogGrows",
        {f"dyte_archiver_due_artifacts{ONE}": "5000-10x300"},
        {"200m": False},
    ),
    "little is due, and becomes more": (
        "DyteArchiverBacklogGrows",
        {f"dyte_archiver_due_artifacts{ONE}": "0x120 90x120"},
        {"200m": False},
    ),
    "deliveries cease": (
        "DyteArchiverNoDeliveries",
        {f"dyte_archiver_deliveries_total{ONE}": "0+1x60 61x3000", f"up{ONE}": "1x3000"},
        {"23h": False, "24h": False, "25h30m": True},
    ),
    "nothing was ever delivered": (
        "DyteArchiverNoDeliveries",
        {f"up{ONE}": "1x3000"},
        {"1h": False, "23h": False, "24h30m": True},
    ),
    "one delivery, and never again": (
        "DyteArchiverNoDeliveries",
        {f"dyte_archiver_deliveries_total{ONE}": "0x60 1x3000", f"up{ONE}": "1x3000"},
        {"23h": False, "24h50m": False, "26h": True},
    ),
    "deliveries cease, and another pod begins to count": (
        "DyteArchiverNoDeliveries",
        {
            f"dyte_archiver_deliveries_total{ONE}": "0+1x60 61x3000",
            f"dyte_archiver_deliveries_total{TWO}": "_x1200 0x1800",
            f"up{ONE}": "1x3000",
        },
        {"24h": False, "25h30m": True},
    ),
    "one delivery a day": (
        "DyteArchiverNoDeliveries",
        {f"dyte_archiver_deliveries_total{ONE}": "1x1380 2x1380 3x1380", f"up{ONE}": "1x4200"},
        {"25h": False, "40h": False, "68h": False},
    ),
    "no pod answers": (
        "DyteArchiverDown",
        {f"up{ONE}": "1x30 0x60", f"up{TWO}": "1x30 _x60"},
        {"30m": False, "34m": False, "45m": True},
    ),
    "one of two pods answers": (
        "DyteArchiverDown",
        {f"up{ONE}": "1x30 0x60", f"up{TWO}": "1x120"},
        {"60m": False},
    ),
}


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' tool."""
    found = find_program("promtool")
    if not found:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    return found


@pytest.mark.parametrize("told", CASES)
def test_an_alert_fires_when_it_should_and_only_then(told: str, promtool: str, tmp_path: Path) -> None:
    alert, series, firing = CASES[told]
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    moments = [
        {"expr": asked, "eval_time": at, "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        for at, fires in firing.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    done = tried(promtool, tmp_path, [{"interval": "1m", "input_series": given, "promql_expr_test": moments}])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_both_ways() -> None:
    tried_ways = {(alert, fires) for alert, _, firing in CASES.values() for fires in firing.values()}
    alerts = {rule["alert"] for rule in RULES["groups"][0]["rules"]}
    assert tried_ways == {(alert, fires) for alert in alerts for fires in (True, False)}


def test_prometheus_takes_the_rules(promtool: str, tmp_path: Path) -> None:
    done = tried(promtool, tmp_path, [])
    assert done.returncode == 0, done.stdout + done.stderr
    checked = subprocess.run(
        [promtool, "check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search(r"SUCCESS: 7 rules found", checked.stdout)


def tried(promtool: str, folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES), "utf-8")
    asked = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(asked), "utf-8")
    return subprocess.run(
        [promtool, "test", "rules", str(folder / f"{NAME}.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
