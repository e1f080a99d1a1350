"""Proves that the README's way from nothing to a registered webhook is one, in five commands."""

import re
import shlex

import helm_python
import pytest

from service import __version__
from tests.kubernetes.chart import CHART, Rendered
from tests.kubernetes.releases import MODES, Values, merged
from tests.test_house import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(docker build .*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("mode", "commands"), list(zip(MODES, BLOCKS, strict=True)), ids=list(MODES))
def test_five_commands_lead_to_a_registered_webhook(mode: str, commands: str) -> None:
    build, secret, install, check, register = commands.replace("\\\n", "").strip().splitlines()

    words = shlex.split(install)
    assert words[:4] == ["helm", "install", "dyte-archiver", "helm"]
    values = values_of(words[4:])
    made = Rendered(values, name="dyte-archiver")
    assert values.get("mode", "single") == mode

    (container,) = made.pods["check"]["spec"]["containers"]
    assert f"-t {container['image']} " in build
    assert build.endswith(f"&& docker push {container['image']}")
    assert container["image"].endswith(f":{__version__}")
    assert secret.split()[4] == values["existingSecret"]
    assert {"secretRef": {"name": secret.split()[4]}} in container["envFrom"]
    assert check == "helm test dyte-archiver --logs"
    assert register.replace("kubectl exec ", "kubectl exec -n meetings ") in made.notes


def test_the_example_in_the_chart_s_readme_is_one() -> None:
    readme = (CHART / "README.md").read_text("utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    made = Rendered(helm_python.values_from_yaml(example))
    assert {"HTTPRoute", "ScaledObject", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} <= {
        each["kind"] for each in made.manifests
    }


def test_the_chart_s_readme_tells_of_every_alert() -> None:
    rules = Rendered({"prometheusRule": {"enabled": True}}).of("PrometheusRule")["spec"]["groups"][0]["rules"]
    told = re.findall(
        r"^\| `(DyteArchiver\w+)` \| (\w+) \|", (CHART / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in rules]


def values_of(options: list[str]) -> Values:
    """What Helm makes of one `--set` after another."""
    assert set(options[::2]) == {"--set"}
    return merged(*(dict(helm_python.parse_set_string(given)) for given in options[1::2]))
