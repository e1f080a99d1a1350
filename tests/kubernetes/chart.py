"""The chart as Helm's own engine renders it."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

CHART: Final = Path(__file__).resolve().parents[2] / "helm"
RELEASE: Final = "calls"
NAME: Final = "calls-dyte-archiver"

Manifest = dict[str, Any]


class Rendered:
    """What a release of these values is made of."""

    def __init__(self, values: dict[str, Any], *, name: str = RELEASE) -> None:
        texts = _chart().render(values=values, name=name, namespace="meetings")
        self.notes = next(text for file, text in texts.items() if file.endswith("NOTES.txt"))
        documents = [
            found
            for file, text in texts.items()
            if file.endswith(".yaml")
            for found in yaml.safe_load_all(text)
            if found
        ]
        self.manifests: list[Manifest] = documents

    def of(self, kind: str, name: str = NAME) -> Manifest:
        """The one manifest of this kind and name."""
        (found,) = (each for each in self.kinds(kind) if each["metadata"]["name"] == name)
        return found

    def kinds(self, kind: str) -> list[Manifest]:
        """Every manifest of this kind."""
        return [each for each in self.manifests if each["kind"] == kind]

    @property
    def pods(self) -> dict[str, Manifest]:
        """Every pod's template by its component, and the check's pod itself."""
        owners = [each for each in self.manifests if each["kind"] in {"StatefulSet", "Deployment"}]
        pods = [*self.kinds("Pod"), *(each["spec"]["template"] for each in owners)]
        return {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in pods}


def variables(pod: Manifest) -> dict[str, Any]:
    """A container's own variables: values, or where they come from."""
    (container,) = pod["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)
