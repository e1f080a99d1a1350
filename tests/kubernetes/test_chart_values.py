"""Proves that the chart and the settings speak of the same, and that a wrong value fails by its name."""

import json
import re
from typing import Any

import helm_python
import pytest
import yaml

from service.settings import PREFIX, Settings, load_settings
from tests.kubernetes.chart import CHART, Rendered, variables
from tests.kubernetes.releases import MODES, OPTIONS, URL, merged
from tests.kubernetes.schema import FILES, GIVEN_BY_THE_CHART, PLAIN, SECRETS, sections

EVERY = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))


def test_the_schema_knows_every_setting_as_the_settings_do() -> None:
    for name, section in sections().items():
        assert SCHEMA["properties"][name] == section, "run python -m tests.kubernetes.schema"


def test_every_setting_can_be_given_by_the_chart() -> None:
    assert {*PLAIN, *SECRETS, *FILES, *GIVEN_BY_THE_CHART} == set(Settings.model_fields)
    assert SECRETS == [
        "database_url", "storage_config", "api_key", "api_token", "admin_token",
        "notice_url", "notice_secret",
    ]  # fmt: skip
    made = Rendered(
        {
            "mode": "scaled",
            "settings": {
                name: _example(SCHEMA["properties"]["settings"]["properties"][name]) for name in PLAIN
            },
            "secrets": dict.fromkeys(SECRETS, "a-secret-of-16-characters") | {"database_url": URL},
            "files": {name: {"content": {}} for name in FILES},
        }
    )
    given = {*made.of("ConfigMap")["data"]}
    given |= {name for secret in made.kinds("Secret") for name in secret["stringData"] if name.isupper()}
    assert given | {*variables(made.pods["workers"])} == EVERY


def test_every_variable_in_the_chart_is_a_setting() -> None:
    for path in CHART.rglob("*"):
        if path.is_file():
            named = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", path.read_text("utf-8")))
            assert named <= EVERY, path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_budget_mib", 1_048_576),
        ("reconcile_minutes", 0.25),
        ("reconcile_minutes", 0),
        ("storage_from_provider", True),
        ("storage_from_provider", False),
        ("kinds", ["video", "chat"]),
        ("webhook_ids", []),
        ("source_hosts", ["*.example.com", "10.0.0.1"]),
        ("key_template", "{started:%Y/%m}/{title}-{recording_id}.{extension}"),
        ("log_level", "debug"),
        ("host", "::"),
    ],
)
def test_a_value_reaches_the_service_as_it_was_meant(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Rendered({"settings": {name: value}}).of("ConfigMap")["data"]
    for variable, text in given.items():
        monkeypatch.setenv(variable, text)
    told = getattr(load_settings(given), name)
    assert told == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"mode": "double"}, "/mode"),
        ({"workrs": {}}, "workrs"),
        ({"settings": {"reconcile_minute": 5}}, "reconcile_minute"),
        ({"settings": {"reconcile_minutes": -1}}, "/settings/reconcile_minutes"),
        ({"settings": {"part_size_mib": 4}}, "/settings/part_size_mib"),
        ({"settings": {"parts_in_flight": 1.5}}, "/settings/parts_in_flight"),
        ({"settings": {"archived_keep_days": 7}}, "/settings/archived_keep_days"),
        ({"settings": {"deliveries_keep_days": 0}}, "/settings/deliveries_keep_days"),
        ({"settings": {"provider": "zoom"}}, "/settings/provider"),
        ({"settings": {"kinds": ["vdeo"]}}, "/settings/kinds/0"),
        ({"settings": {"port": "tcp://10.0.0.1:80"}}, "/settings/port"),
        ({"settings": {"log_level": "trace"}}, "/settings/log_level"),
        ({"settings": {"webhook_key_url": "ftp://host"}}, "/settings/webhook_key_url"),
        ({"settings": {"role": "worker"}}, "role"),
        ({"settings": {"api_key": "secret"}}, "api_key"),
        ({"secrets": {"admin_token": "short"}}, "/secrets/admin_token"),
        ({"files": {"routing_file": "/etc/routing.json"}}, "/files/routing_file"),
        ({"extraEnv": [{"name": "ARCHIVER_PORT", "value": "1"}]}, "/extraEnv/0/name"),
        ({"gateway": {"enabled": True}, "host": "a.example.com"}, "/gateway/parentRefs"),
        ({"ingress": {"enabled": True}}, "host: is missing"),
        ({"mode": "scaled"}, "database.existingSecret"),
        ({"mode": "scaled", "secrets": {"database_url": "sqlite:///a.db"}}, "secrets.database_url"),
        (merged(MODES["scaled"], {"workers": {"autoscaling": {"type": "keda"}}}), "prometheusAddress"),
    ],
)
def test_a_wrong_value_fails_at_install_with_its_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(helm_python.HelmError) as failed:
        Rendered(values)
    assert named in str(failed.value)


def test_a_wrong_secret_is_named_and_not_shown() -> None:
    for secret in (
        {"database_url": "mysql://u:hunter2@h/d"},
        {"database_url": URL, "admin_token": "hunter2"},
    ):
        with pytest.raises(helm_python.HelmError) as failed:
            Rendered({"mode": "scaled", "secrets": secret})
        assert "hunter2" not in str(failed.value)


def test_helm_s_readme_tells_of_every_value_with_its_default() -> None:
    readme = (CHART / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", readme, re.MULTILINE))
    assert {name: yaml.safe_load(default) for name, default in listed.items()} == _leaves(VALUES)


def test_the_schema_knows_every_value_that_there_is() -> None:
    for options in OPTIONS.values():
        assert options.keys() <= VALUES.keys()
    assert SCHEMA["properties"].keys() - {"global"} == VALUES.keys()


def _example(schema: dict[str, Any]) -> Any:
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"type": "array", "items": {"enum": [first, *_]}}:
            return [first]
        case {"type": "array"}:
            return ["text"]
        case {"type": "boolean"}:
            return True
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 1)
        case {"pattern": pattern}:
            return "https://host" if "http" in pattern else "-----BEGIN PUBLIC KEY-----"
        case _:
            return "text"


def _leaves(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Values by their paths; whatever is given as a whole is one."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        whole = not isinstance(value, dict) or not value
        whole = whole or name.endswith(("ontext", "labels", "requests", "limits"))
        leaves |= {before + name: value} if whole else _leaves(value, f"{before}{name}.")
    return leaves
