"""Proves that the chart makes what Kubernetes takes, for both modes and every option on and off."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from service import __version__
from tests.doubles.programs import find_program
from tests.kubernetes.chart import CHART, Manifest, Rendered
from tests.kubernetes.releases import MATRIX, MODES, OPTIONS, merged

VERSIONS = ["1.30", "1.34", "1.37"]
MODELS = {
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}
"""The custom resources, and the packages made from their definitions."""


@pytest.fixture(scope="module")
def releases() -> dict[str, Rendered]:
    """Every release of the matrix."""
    return {told: Rendered(values) for told, values in MATRIX.items()}


@pytest.fixture(scope="module")
def manifests(releases: dict[str, Rendered]) -> list[Manifest]:
    """Every different manifest of all of them."""
    every = {json.dumps(each, sort_keys=True): each for made in releases.values() for each in made.manifests}
    return list(every.values())


@pytest.fixture(scope="module")
def custom(manifests: list[Manifest]) -> list[Manifest]:
    """Those that Kubernetes itself does not know."""
    return [each for each in manifests if each["kind"] in MODELS]


@pytest.mark.parametrize("mode", MODES)
def test_helm_finds_nothing_to_object_to(mode: str) -> None:
    for values in (MODES[mode], MATRIX[f"{mode}, everything"]):
        found = helm_python.lint(CHART, values, strict=True)
        assert [each["error"] for each in found["messages"]] == ["icon is recommended"]
        assert found["errors"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(
    manifests: list[Manifest], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))  # it reads them each time
    checked = [each for each in manifests if each["kind"] not in MODELS]
    assert len(checked) > 100
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_manifest_would_be_noticed(releases: dict[str, Rendered]) -> None:
    pod = releases["single, nothing else"].pods["check"]
    wrong = {**pod, "spec": {**pod["spec"], "enableServiceLink": False}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_matrix_leaves_no_template_and_no_kind_out(releases: dict[str, Rendered]) -> None:
    kinds = {each["kind"] for made in releases.values() for each in made.manifests}
    assert kinds == MODELS.keys() | {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "Pod",
        "PodDisruptionBudget", "Secret", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


def test_names_and_lists_of_items_are_never_given_twice(releases: dict[str, Rendered]) -> None:
    for told, made in releases.items():
        names = [(each["kind"], each["metadata"]["name"]) for each in made.manifests]
        assert len(names) == len(set(names)), told
        for pod in made.pods.values():
            (container,) = pod["spec"]["containers"]
            for items in (container.get("env", []), container["volumeMounts"], pod["spec"]["volumes"]):
                given = [each.get("mountPath", each["name"]) for each in items]
                assert len(given) == len(set(given)), told


def test_every_mount_has_its_volume(releases: dict[str, Rendered]) -> None:
    for told, made in releases.items():
        claimed = {
            claim["metadata"]["name"]
            for each in made.kinds("StatefulSet")
            for claim in each["spec"].get("volumeClaimTemplates", [])
        }
        for component, pod in made.pods.items():
            volumes = {each["name"] for each in pod["spec"]["volumes"]} | (
                claimed if component == "single" else set()
            )
            (container,) = pod["spec"]["containers"]
            assert {each["name"] for each in container["volumeMounts"]} <= volumes, told


def test_every_selector_finds_the_pods_that_it_is_meant_for(releases: dict[str, Rendered]) -> None:
    for made in releases.values():
        labels = {component: pod["metadata"]["labels"] for component, pod in made.pods.items()}

        def chosen(selector: dict[str, str], labels: dict[str, dict[str, str]] = labels) -> set[str]:
            return {name for name, given in labels.items() if selector.items() <= given.items()}

        for owner in [
            *made.kinds("StatefulSet"),
            *made.kinds("Deployment"),
            *made.kinds("PodDisruptionBudget"),
        ]:
            component = owner["metadata"]["name"].rpartition("-")[2]
            found = chosen(owner["spec"]["selector"]["matchLabels"])
            assert found == {component if component in {"receivers", "workers"} else "single"}
        public, admin = made.kinds("Service")
        assert chosen(public["spec"]["selector"]) == labels.keys() & {"single", "receivers"}
        assert chosen(admin["spec"]["selector"]) == labels.keys()
        for policy in made.kinds("NetworkPolicy"):
            assert chosen(policy["spec"]["podSelector"]["matchLabels"]) == labels.keys()


def test_custom_resources_are_what_their_definitions_say(custom: list[Manifest], tmp_path: Path) -> None:
    tsc, node = find_program("tsc"), find_program("node")
    modules = Path(tsc).resolve().parents[2] if tsc else None
    if not node or not modules or not (modules / "@kubernetes-models/keda").is_dir():
        packages = sorted({"/".join(model.split("/")[:2]) for model in MODELS.values()})
        pytest.skip(f"the definitions are not there: npm install -g typescript {' '.join(packages)}")
    (tmp_path / "node_modules").symlink_to(modules)
    assert {each["kind"] for each in custom} == MODELS.keys()

    def typed(manifests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
        lines = [f'import type {{ I{kind} }} from "{model}";' for kind, model in MODELS.items()]
        lines += [
            f"export const m{number}: I{each['kind']} = {json.dumps(each)};"
            for number, each in enumerate(manifests)
        ]
        (tmp_path / "every.ts").write_text("\n".join(lines), "utf-8")
        options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "every.ts"]
        return subprocess.run(
            [str(tsc), *options], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    # Unknown fields by the types, patterns and ranges by the schemas.
    done = typed(custom)
    assert done.returncode == 0, done.stdout
    assert "colour" in typed([{**custom[0], "colour": "red"}]).stdout
    script = "".join(
        f'import {{ {kind} as C{number} }} from "{model.rpartition("/")[0]}/index";'
        for number, (kind, model) in enumerate(MODELS.items())
    )
    script += f"const classes = {{ {', '.join(f'{kind}: C{n}' for n, kind in enumerate(MODELS))} }};"
    script += f"for (const each of {json.dumps(custom)}) new classes[each.kind](each).validate();"
    (tmp_path / "every.mjs").write_text(script, "utf-8")
    done = subprocess.run(
        [node, "every.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_release_of_the_version_has_the_version_s_image(releases: dict[str, Rendered]) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    (container,) = releases["single, nothing else"].pods["single"]["spec"]["containers"]
    assert container["image"] == f"dyte-archiver:{__version__}"


@pytest.mark.parametrize("mode", MODES)
def test_the_notes_tell_the_address_and_how_to_have_deliveries_sent_there(mode: str) -> None:
    notes = Rendered(merged(OPTIONS["ingress"], MODES[mode])).notes
    owner = (
        "statefulset/calls-dyte-archiver" if mode == "single" else "deployment/calls-dyte-archiver-receivers"
    )
    command = "dyte-archiver webhook register https://archiver.example.com/webhook"
    assert f"kubectl exec -n meetings {owner} -- {command}" in notes
    assert "helm test -n meetings calls" in notes
    assert ("NO STORAGE" in notes) == (mode == "single")
