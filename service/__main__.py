"""The command line. One clear line for every error, and an exit code that is not 0."""

import sys
from typing import Annotated

import typer

from service import __version__
from service.choices import Role
from service.commands import meeting_app, recording_app, webhook_app
from service.commands.operators import looking_app, ordering_app
from service.errors import ArchiverError
from service.model import Provider

RUNNING = "Run"
PROVIDER = "The provider's side"
"""Headings of the help."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Archives the recordings of Dyte and Cloudflare RealtimeKit in your own storage, whole and checked.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dyte-archiver {__version__}")
        raise typer.Exit


app.add_typer(looking_app)
app.add_typer(ordering_app)
app.add_typer(webhook_app, name="webhook", rich_help_panel=PROVIDER)
app.add_typer(meeting_app, name="meeting", rich_help_panel=PROVIDER)
app.add_typer(recording_app, name="recording", rich_help_panel=PROVIDER)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command(rich_help_panel=RUNNING)
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
    from service.commands.running import run as run_job
    from service.logs import configure_logging
    from service.settings import load_settings

    settings = load_settings(host=host, port=port, admin_port=admin_port, role=role)
    configure_logging(level=settings.log_level, form=settings.log_format, secrets=settings.secrets)
    if check:
        from service.check import check_and_log

        if run_job(check_and_log(settings)):
            raise typer.Exit(1)
    from service.serve import serve as run

    run_job(run(settings))


@app.command(rich_help_panel=RUNNING)
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    role: Annotated[Role | None, typer.Option(help="Check what this role needs.")] = None,
) -> None:
    """Try the storages, the database and the webhook's key, and say what to mend."""
    from rich.console import Console

    from service.check import check as run
    from service.commands.running import quiet_settings
    from service.commands.running import run as run_job

    if run_job(run(quiet_settings(role=role), Console(), as_json=as_json)):
        raise typer.Exit(1)


@app.command(rich_help_panel=RUNNING)
def demo(
    size: Annotated[str, typer.Option(help="The sample recording's size, such as 300MB or 2GB.")] = "300MB",
    provider: Annotated[
        Provider | None,
        typer.Option(help="Show the whole life of a recording, at a stand-in of this provider."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False,
) -> None:
    """Run the whole service once on a sample recording, in a temporary folder."""
    from rich.console import Console

    from service.commands.running import run as run_job
    from service.demo import run

    run_job(run(size, keep=keep, console=Console(), provider=provider))


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
