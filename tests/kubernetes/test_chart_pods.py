"""Proves that the pods of every release run as restricted, stop in time, and get what they are told."""

import json
from typing import Any

import pytest

from service.settings import load_settings
from tests.kubernetes.chart import NAME, Rendered, variables
from tests.kubernetes.releases import MATRIX, MODES, OPTIONS, STORAGE, TOKEN, URL, merged

PODS = [
    pytest.param(pod, id=f"{told}, {component}")
    for told, values in MATRIX.items()
    for component, pod in Rendered(values).pods.items()
]
SERVING = [case for case in PODS if not str(case.id).endswith("check")]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("pod", PODS)
def test_every_field_that_the_restricted_level_asks_for_is_as_it_asks(pod: dict[str, Any]) -> None:
    spec, own = pod["spec"], container(pod)["securityContext"]
    for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers", "ephemeralContainers"):
        assert field not in spec
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    assert all(each.keys() - {"name"} <= allowed for each in spec["volumes"])
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("hostPort" not in port for port in container(pod).get("ports", []))


@pytest.mark.parametrize("pod", PODS)
def test_the_cluster_gives_a_pod_neither_variables_nor_a_token(pod: dict[str, Any]) -> None:
    assert pod["spec"]["enableServiceLinks"] is False
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pod", PODS)
def test_memory_is_limited_and_the_processor_is_not(pod: dict[str, Any]) -> None:
    resources = container(pod)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


@pytest.mark.parametrize("pod", SERVING)
def test_a_pod_is_asked_whether_its_loop_turns_and_whether_its_ledger_answers(pod: dict[str, Any]) -> None:
    own = container(pod)
    asked = {name: own[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "admin"},
        "liveness": {"path": "/healthz", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }
    assert own["args"] == ["serve"]


@pytest.mark.parametrize("drain_s", [0, 25.5, 600])
@pytest.mark.parametrize("mode", MODES)
def test_the_grace_period_is_longer_than_all_that_stopping_takes(mode: str, drain_s: float) -> None:
    for values in (MODES[mode], merged(MODES[mode], {"settings": {"drain_seconds": drain_s}})):
        for component, pod in Rendered(values).pods.items():
            if component == "check":
                continue
            hooks = container(pod).get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})
            asleep_s = hooks["preStop"]["sleep"]["seconds"]
            drains_s = values.get("settings", {}).get("drain_seconds", load_settings({}).drain_seconds)
            assert asleep_s == (0 if component == "workers" else 5)
            # Besides: answers that are under way (3 s), and connections to the database (3 s).
            assert pod["spec"]["terminationGracePeriodSeconds"] >= asleep_s + drains_s + 3 + 3 + 5


@pytest.mark.parametrize("told", MATRIX)
def test_no_secret_is_in_a_config_map_or_in_a_pod(told: str) -> None:
    made = Rendered(MATRIX[told])
    readable = [each for each in made.manifests if each["kind"] != "Secret"]
    for secret in (URL, TOKEN, "a-secret-password", "a-storage-secret", "an-api-key"):
        assert secret not in json.dumps(readable)
        assert secret not in made.notes


def test_settings_come_from_the_config_map_then_from_secrets_of_which_the_existing_one_wins() -> None:
    values = merged(OPTIONS["settings"], OPTIONS["secrets"], OPTIONS["existing secret"], OPTIONS["files"])
    made = Rendered(values)
    assert made.of("ConfigMap")["data"] == {
        "ARCHIVER_RECONCILE_MINUTES": "0.5",
        "ARCHIVER_KINDS": "video,chat",
        "ARCHIVER_DRAIN_SECONDS": "90",
    }
    env = made.of("Secret", f"{NAME}-env")["stringData"]
    assert json.loads(env.pop("ARCHIVER_STORAGE_CONFIG")) == STORAGE
    assert env == {"ARCHIVER_ADMIN_TOKEN": TOKEN, "ARCHIVER_API_KEY": "an-api-key"}
    for pod in made.pods.values():
        assert container(pod)["envFrom"] == [
            {"configMapRef": {"name": NAME}},
            {"secretRef": {"name": f"{NAME}-env"}},
            {"secretRef": {"name": "calls"}},
        ]


def test_files_are_mounted_from_the_release_s_secret_or_from_one_that_is_there() -> None:
    made = Rendered(OPTIONS["files"])
    content = json.loads(made.of("Secret", f"{NAME}-files")["stringData"]["routing_file"])
    assert content["storages"]["main"] == STORAGE
    for pod in made.pods.values():
        told = variables(pod)
        assert told["ARCHIVER_ROUTING_FILE"] == "/etc/dyte-archiver/routing_file"
        assert told["ARCHIVER_APPS_FILE"] == "/etc/dyte-archiver/apps_file"
        (files,) = (each for each in pod["spec"]["volumes"] if each["name"] == "files")
        assert [each["secret"] for each in files["projected"]["sources"]] == [
            {"name": "apps", "items": [{"key": "apps.json", "path": "apps_file"}]},
            {"name": f"{NAME}-files", "items": [{"key": "routing_file", "path": "routing_file"}]},
        ]


@pytest.mark.parametrize(
    ("values", "secret"),
    [
        ({"secrets": {"database_url": URL}}, (f"{NAME}-env", "ARCHIVER_DATABASE_URL")),
        ({"existingSecret": "calls"}, ("calls", "ARCHIVER_DATABASE_URL")),
        ({"existingSecret": "calls", "database": {"existingSecret": "db", "key": "uri"}}, ("db", "uri")),
    ],
)
def test_no_pod_of_several_starts_without_the_one_database(
    values: dict[str, Any], secret: tuple[str, str]
) -> None:
    name, key = secret
    for component, pod in Rendered(values | {"mode": "scaled"}).pods.items():
        told = variables(pod)
        assert told["ARCHIVER_DATABASE_URL"] == {"secretKeyRef": {"name": name, "key": key}}
        assert told.get("ARCHIVER_ROLE") == {"receivers": "receiver", "workers": "worker"}.get(component)
        assert "/data" not in [each["mountPath"] for each in container(pod)["volumeMounts"]]


def test_the_one_pod_keeps_its_ledger_on_a_volume_that_outlives_the_release() -> None:
    made = Rendered({})
    owner = made.of("StatefulSet")["spec"]
    assert owner["replicas"] == 1
    assert owner["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert {"name": "data", "mountPath": "/data"} in container(made.pods["single"])["volumeMounts"]
    assert variables(made.pods["single"]) == {}  # archiver.db in the folder that the image begins in
    (data,) = (each for each in made.pods["check"]["spec"]["volumes"] if each["name"] == "data")
    assert data["persistentVolumeClaim"] == {"claimName": f"data-{NAME}-0"}


@pytest.mark.parametrize("changed", [OPTIONS["settings"], OPTIONS["secrets"], OPTIONS["files"]])
def test_a_change_of_settings_secrets_or_files_starts_new_pods(changed: dict[str, Any]) -> None:
    def template(values: dict[str, Any]) -> Any:
        return Rendered(values).pods["single"]["metadata"]["annotations"]

    assert template({}) == template({"service": {"port": 81}})
    assert template({}) != template(changed)


def test_helm_test_runs_the_check() -> None:
    for mode in MODES.values():
        pod = Rendered(mode).pods["check"]
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert container(pod)["args"] == ["check"]
        assert pod["spec"]["restartPolicy"] == "Never"
