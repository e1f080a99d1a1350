"""The command line. One clear line for every error, and an exit code that is not 0."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from service import __version__
from service.commands import meeting_app, recording_app, webhook_app
from service.errors import ArchiverError
from service.model import Provider
from service.settings import Role, load_settings
from service.telemetry import configure_logging

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Archives the recordings of Dyte and Cloudflare RealtimeKit in your own storage, whole and checked.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dyte-archiver {__version__}")
        raise typer.Exit


app.add_typer(webhook_app, name="webhook")
app.add_typer(meeting_app, name="meeting")
app.add_typer(recording_app, name="recording")


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address that both ports listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The public port.")] = None,
    admin_port: Annotated[int | None, typer.Option(help="The admin port; keep it private.")] = None,
    role: Annotated[Role | None, typer.Option(help="What this process does.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check everything first, and do not start with a fault.")
    ] = False,
) -> None:
    """Receive deliveries and archive what they announce. Settings come from ARCHIVER_ variables."""
    settings = load_settings(host=host, port=port, admin_port=admin_port, role=role)
    configure_logging(level=settings.log_level, form=settings.log_format, secrets=settings.secrets)
    if check:
        from service.check import check_and_log

        if _run(check_and_log(settings)):
            raise typer.Exit(1)
    from service.serve import serve as run

    _run(run(settings))


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    role: Annotated[Role | None, typer.Option(help="Check what this role needs.")] = None,
) -> None:
    """Try the storages, the database and the webhook's key, and say what to mend."""
    settings = load_settings(role=role)
    configure_logging(level="warning", form=settings.log_format, secrets=settings.secrets)
    from service.check import check as run

    if _run(run(settings, Console(), as_json=as_json)):
        raise typer.Exit(1)


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on, with live progress.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="How many open and how many finished files to show.")
    ] = 30,
) -> None:
    """Show what waits, moves, fails and is archived, from the ledger."""
    from service.status import show

    _run(show(load_settings(), watch=watch, limit=limit, console=Console()))


@app.command()
def backfill(
    since: Annotated[
        str | None, typer.Option(help="Only what was recorded since this day or time (ISO 8601).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what was recorded until then.")] = None,
    meeting: Annotated[str | None, typer.Option(help="Only this meeting's, by its id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is new, and change nothing.")] = False,
) -> None:
    """Ask the provider for every recording that it still keeps, and have them archived."""
    settings = load_settings()
    configure_logging(level="warning", form=settings.log_format, secrets=settings.secrets)
    from service.backfill import backfill as run

    _run(run(settings, Console(), since=since, until=until, meeting_id=meeting, dry_run=dry_run))


@app.command()
def verify(
    manifests: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of manifests in the storage; without any, every one that the ledger names."
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Look in this storage alone, by its name in the routing file.")
    ] = None,
) -> None:
    """Read archived files back from the storage and compare them with their manifests."""
    from service.verify import verify as run

    faults = _run(run(load_settings(), manifests or [], Console(), storage_name=storage))
    if faults:
        raise typer.Exit(1)


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="The sample recording's size, such as 300MB or 2GB.")] = "300MB",
    provider: Annotated[
        Provider | None,
        typer.Option(help="Show the whole life of a recording, at a stand-in of this provider."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False,
) -> None:
    """Run the whole service once on a sample recording, in a temporary folder."""
    from service.demo import run

    _run(run(size, keep=keep, console=Console(), provider=provider))


def _run(job: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


def main() -> None:
    """The entry point of the command."""
    try:
        app()
    except ArchiverError as error:
        print(f"dyte-archiver: {error}", file=sys.stderr)
        if error.mend:
            print(f"  to mend: {error.mend}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
