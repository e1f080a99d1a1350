"""The house is in order: lint, types, imports that go down, a README that says what the code does."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.__main__ import app
from service.routing import Routing
from service.settings import PREFIX, Settings
from service.storage import parse_storage_config

ROOT = Path(__file__).resolve().parents[1]

STOREYS = [
    "service.__main__",
    "service.commands",
    "service.desk",
    "service.demo",
    "service.verify",
    "service.findings",
    "service.backfill",
    "service.check",
    "service.serve",
    "service.assembly",
    "service.server",
    "service.worker",
    "service.verifying",
    "service.keys",
    "service.receiver",
    "service.admin",
    "service.reconcile",
    "service.news",
    "service.notices",
    "service.deadlines",
    "service.archive",
    "service.moving",
    "service.placing",
    "service.links",
    "service.readback",
    "service.manifests",
    "service.ending",
    "service.transfer",
    "service.destination",
    "service.sibling",
    "service.source",
    "service.direct",
    "service.guard",
    "service.budget",
    "service.ledger",
    "service.notice",
    "service.manifest",
    "service.storage.azure",
    "service.storage.azure_blob",
    "service.storage.azure_errors",
    "service.storage.gcs",
    "service.storage.gcs_session",
    "service.storage.gcs_api",
    "service.storage.gcs_link",
    "service.storage.gcs_token",
    "service.storage.gcs_errors",
    "service.storage.sftp",
    "service.storage.sftp_files",
    "service.storage.sftp_errors",
    "service.storage.sftp_connection",
    "service.storage.sftp_login",
    "service.storage.s3",
    "service.storage.s3_attributes",
    "service.storage.s3_client",
    "service.storage.s3_errors",
    "service.storage.local",
    "service.storage.body",
    "service.storage",
    "service.provider",
    "service.settings",
    "service.routing",
    "service.storage.config",
    "service.apps",
    "service.notice_secrets",
    "service.signature",
    "service.naming",
    "service.event",
    "service.artifacts",
    "service.wording",
    "service.fields",
    "service.retry",
    "service.enduring",
    "service.telemetry",
    "service.logs",
    "service.tracing",
    "service.choices",
    "service.model",
    "service.errors",
]
"""Top-down; a module imports only from below."""


@pytest.mark.parametrize(
    "check",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--cache-dir", "/dev/null"],
    ],
    ids=["lint", "format", "types"],
)
def test_lint_format_and_types_are_clean(check: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / "service").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name != "service":
            yield name, path


def storey(name: str) -> int:
    found = [index for index, known in enumerate(STOREYS) if name == known or name.startswith(f"{known}.")]
    assert found, f"{name} has no place in the house"
    return max(found, key=lambda index: len(STOREYS[index]))


@pytest.mark.parametrize(("name", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_imports_go_down_only(name: str, path: Path) -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("service.")
    }
    # A package's own modules, and the modules that a package chooses between, are one storey.
    upward = {
        module
        for module in imported
        if storey(module) < storey(name)
        and not module.startswith(f"{name}.")
        and storey(module) != storey(name)
    }
    assert not upward, f"{name} imports from above: {upward}"


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = dict(re.findall(rf"^\| `({PREFIX}\w+)` \| (.*) \|$", readme, re.MULTILINE))
    assert list(listed) == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    plain = Settings.model_construct()
    for name, field in Settings.model_fields.items():
        default = getattr(plain, name)
        default = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        default = str(default).lower() if isinstance(default, bool) else default
        shown = "" if default is None or default == () else f"`{default}` "
        assert listed[f"{PREFIX}{name.upper()}"] == f"{shown}| {field.description}".strip()


def test_the_readme_shows_every_command_with_its_options() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `dyte-archiver ([^`]+)` \| \S.* \|$", readme, re.MULTILINE)
    shown = {
        " ".join(re.findall(r"(?<!\S)[a-z]+", row.partition("[")[0])): {*re.findall(r"--[a-z-]+", row)}
        for row in rows
    }
    assert shown == dict(commands_of(typer.main.get_command(app)))


def commands_of(group: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{word} ")
        else:
            given = {max(each.opts, key=len) for each in command.params if each.opts[0].startswith("-")}
            # Told once, below the table.
            yield name + word, given - {"--help"} - ({"--json", "--app"} if name else set())


def test_every_command_and_every_option_says_what_it_is() -> None:
    for name in ["", *(name for name, _ in commands_of(typer.main.get_command(app)))]:
        done = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
        assert done.exit_code == 0
        for row in re.findall(r"^│ +\*? *(.*?) *│$", done.stdout, re.MULTILINE):
            assert re.search(r"(--[a-z-]+|[A-Za-z_]+) .* [A-Z].*[.\])]$", row), f"{name}: {row}"


def test_every_dependency_is_pinned_with_hashes_and_without_an_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for extra in re.findall(r"\w+", extras["all"][0].partition("[")[2]):
        wanted += extras[extra]
    pinned = (ROOT / "requirements.txt").read_text("utf-8")
    names = set(re.findall(r"^([a-z0-9_.-]+)==\S+.*\\$", pinned, re.MULTILINE))
    assert {re.split(r"[\[><=]", requirement)[0].lower() for requirement in wanted} <= names
    assert "://" not in pinned
    for requirement in re.split(r"\n(?! )", pinned.strip()):
        assert re.match(r"[a-z0-9_.-]+==[^\s;]+( ; .+)? \\\n", requirement), requirement
        assert all(re.match(r" +--hash=sha256:|  +# ", line) for line in requirement.splitlines()[1:])
        assert "--hash=sha256:" in requirement


def test_the_test_command_brings_all_that_the_tests_need() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert [command.rpartition("/")[2] for command in commands] == ["dyte-archiver demo", "pytest"]


def test_every_config_in_the_readme_is_one_that_the_service_takes() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    types = set()
    for rest in re.findall(r"^```json\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
        at = 0
        while rest[at:].strip():
            given, at = json.JSONDecoder().raw_decode(rest, at)
            at += len(rest[at:]) - len(rest[at:].lstrip())
            if "storages" in given:
                Routing.parse(json.dumps(given))
            elif "type" in given and "specversion" not in given:
                types.add(parse_storage_config(given).type)
    assert types == {"aws", "digitalocean", "cloudflare", "azure", "gcs", "sftp", "local"}
