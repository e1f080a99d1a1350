"""What the command line takes, and what it says of what it does not take."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.commands import operators
from service.commands.screen import screen
from service.errors import ArchiverError, NotConfirmed, NotInLedger, ServiceUnavailable
from tests.doubles.ports import free_ports


@pytest.fixture(autouse=True)
def _settings(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ARCHIVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ARCHIVER_DATABASE_URL", f"sqlite:///{ledger}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["status", "--since", "tuesday"], "--since: is not a day or time such as 2026-11-01"),
        (["export", "--until", "soon"], "--until: is not a day or time"),
        (["status", "--text", ""], "--text: is not fit"),
        (["status", "--app", "a\x07b"], "--app: is not fit"),
        (["status", "--standing", "lost"], "'lost' is not one of 'failing'"),
        (
            ["status", "--sort", "expires_at", "--standing", "archived"],
            "is of no use with --standing archived",
        ),
        (["status", "--watch", "--json"], "--watch: does not go with --json"),
        (["status", "--limit", "0"], "--limit"),
        (["verify", "--older-than", "long"], "--older-than: is not a span such as 30d"),
        (["verify", "a.json", "--sample", "3"], "MANIFEST: goes without --sample and --older-than"),
        (["verify", "--sample", "0"], "--sample"),
        (["retry"], "Missing argument 'ID"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("target", ["nothing", "", "a\udcffb", "x" * 2000, "a\nb"])
@pytest.mark.parametrize("command", ["show", "retry"])
def test_an_id_that_is_none_says_how_ids_are_found(command: str, target: str) -> None:
    done = run(command, target)
    assert done.exit_code == 1
    if isinstance(done.exception, ArchiverError):
        assert isinstance(done.exception, NotInLedger)
        assert "dyte-archiver status --text WORDS finds ids" in done.exception.mend
    else:
        assert "dyte-archiver status --text WORDS finds ids" in done.stderr


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_what_stops_work_is_not_done_without_a_word(command: str) -> None:
    refused, done = run(command, "nothing"), run(command, "--yes", "nothing")
    assert isinstance(refused.exception, NotConfirmed)
    assert done.exit_code == 1
    assert "nothing by that id: nothing" in done.stderr


def test_workers_verify_every_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVER_ADMIN_URL", "http://127.0.0.1:1")
    done = run("verify", "--storage", "main")
    assert done.exit_code == 2
    assert "workers verify every copy" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["show", "one"], ["export"], ["verify"], ["retry", "one"], ["cancel", "-y", "x"]],
)
def test_with_an_address_the_service_is_asked(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("ARCHIVER_ADMIN_URL", f"http://127.0.0.1:{port}/below/")
    done = run(*arguments)
    assert isinstance(done.exception, ServiceUnavailable)
    assert f"http://127.0.0.1:{port}/below: " in str(done.exception)


def test_status_says_json_and_nothing_else() -> None:
    done = run("status", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["files"]["waiting"] == 0


def test_a_watch_that_is_ended_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_job: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(operators, "_at_desk", end)
    assert run("status", "--watch").exit_code == 0
    assert run("status").exit_code != 0


@pytest.mark.parametrize("where", ["terminal", "pipe", "terminal without colours"])
def test_colours_are_for_terminals_that_want_them(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if where == "terminal without colours":
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: where != "pipe")
    console = screen()
    with console.capture() as shown:
        console.print("[red]text[/]")
    assert ("\x1b[31m" in shown.get()) == (where == "terminal")
    assert where != "pipe" or console.width == 200


LIGHT = """
import sys
import service.__main__
heavy = {"service.settings", "sqlalchemy", "aiohttp", "prometheus_client", "structlog", "pydantic",
         "starlette", "uvloop", "awscrt"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_the_help_and_the_completion_load_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("dyte-archiver re", {"resume", "retry", "renew", "recording"}),
        ("dyte-archiver status --s", {"--standing", "--since", "--sort"}),
        ("dyte-archiver status --standing ex", {"expired", "expected"}),
        ("dyte-archiver webhook ", {"register", "list", "delete"}),
        ("dyte-archiver cancel --y", {"--yes"}),
    ],
)
def test_bash_completes_commands_and_options_whatever_the_settings(words: str, completed: set[str]) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "ARCHIVER_NONSENSE": "1",
        "_DYTE_ARCHIVER_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "import sys; sys.argv = ['dyte-archiver']; from service.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == completed, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion(shell: str) -> None:
    environ = {"PATH": os.environ["PATH"], "_DYTE_ARCHIVER_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv = ['dyte-archiver']; from service.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert "_DYTE_ARCHIVER_COMPLETE=complete_" in done.stdout, done.stderr
