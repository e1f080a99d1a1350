"""``webhook``, ``meeting`` and ``recording``: setting the provider up, and recording, from the command line.

Only the options stand here; what a command does is loaded when it runs.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.commands.telling import Telling
    from service.provider import ProviderApi

__all__ = ["meeting_app", "recording_app", "webhook_app"]

webhook_app = typer.Typer(
    no_args_is_help=True, help="The provider's webhooks: where it delivers, and which events."
)
meeting_app = typer.Typer(no_args_is_help=True, help="Meetings at the provider.")
recording_app = typer.Typer(no_args_is_help=True, help="Recordings at the provider: start, stop, look.")

_AppName = Annotated[
    str | None, typer.Option("--app", metavar="NAME", help="Whose API to ask, where a file names several.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the API's document as JSON, nothing else.")]
_Links = Annotated[bool, typer.Option("--links", help="Show links whole: whoever has them has the files.")]
_RecordingId = Annotated[str, typer.Argument(metavar="ID", help="The recording's id.")]


# ---- webhook


@webhook_app.command()
def register(
    url: Annotated[str, typer.Argument(metavar="URL", help="Such as https://archiver.example.com/webhook.")],
    name: Annotated[str | None, typer.Option(help="What the provider's dashboard calls it.")] = None,
    app: _AppName = None,
    as_json: _AsJson = False,
) -> None:
    """Have the provider deliver to URL exactly the events that are archived; never twice."""
    from service.commands.webhooks import register as run

    _run(
        lambda api, telling: run(api, telling, url=url, name=name),
        app=app,
        as_json=as_json,
        links=True,
    )


@webhook_app.command("list")
def list_webhooks(app: _AppName = None, as_json: _AsJson = False) -> None:
    """Show all webhooks."""
    from service.commands.webhooks import show as run

    _run(run, app=app, as_json=as_json, links=True)


@webhook_app.command("delete")
def delete_webhook(
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")],
    app: _AppName = None,
    as_json: _AsJson = False,
) -> None:
    """Delete a webhook: nothing is delivered by it any more."""
    from service.commands.webhooks import delete as run

    _run(
        lambda api, telling: run(api, telling, webhook_id=webhook_id),
        app=app,
        as_json=as_json,
        links=True,
    )


# ---- meeting


@meeting_app.command()
def create(
    title: Annotated[str | None, typer.Option(help="The meeting's title.")] = None,
    record_on_start: Annotated[
        bool, typer.Option("--record-on-start", help="Record as soon as somebody joins.")
    ] = False,
    region: Annotated[
        str | None, typer.Option(help="Where its media is handled, such as eu-central-1, us-east-1.")
    ] = None,
    app: _AppName = None,
    as_json: _AsJson = False,
) -> None:
    """Create a meeting."""
    from service.commands.recordings import create_meeting as run

    _run(
        lambda api, telling: run(api, telling, title=title, record_on_start=record_on_start, region=region),
        app=app,
        as_json=as_json,
    )


# ---- recording


@recording_app.command()
def start(
    meeting_id: Annotated[str, typer.Argument(metavar="MEETING_ID", help="A meeting that is going on.")],
    max_seconds: Annotated[
        int | None, typer.Option(min=60, max=86_400, help="Stop it after so many seconds.")
    ] = None,
    allow_multiple: Annotated[
        bool, typer.Option("--allow-multiple", help="Also beside another recording of the meeting.")
    ] = False,
    file_name_prefix: Annotated[str | None, typer.Option(help="How its file's name begins.")] = None,
    with_storage_config: Annotated[
        bool,
        typer.Option(
            "--with-storage-config",
            help="Have the provider itself put a copy into the configured storage: sends its storage_config, "
            "secrets included.",
        ),
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which of several storages; means --with-storage-config."),
    ] = None,
    app: _AppName = None,
    as_json: _AsJson = False,
) -> None:
    """Start recording a meeting, with the storage settings that it has at the provider or with one's own."""
    from service.commands.recordings import start as run
    from service.commands.running import quiet_settings
    from service.commands.storages import storage_named

    config = None
    if with_storage_config or storage:
        config = storage_named(quiet_settings().storages, storage)
    _run(
        lambda api, telling: run(
            api,
            telling,
            meeting_id=meeting_id,
            max_seconds=max_seconds,
            allow_multiple=allow_multiple,
            file_name_prefix=file_name_prefix,
            storage=config,
        ),
        app=app,
        as_json=as_json,
    )


@recording_app.command()
def stop(recording_id: _RecordingId, app: _AppName = None, as_json: _AsJson = False) -> None:
    """Stop a recording; its file follows."""
    from service.commands.recordings import stop as run

    _run(
        lambda api, telling: run(api, telling, recording_id=recording_id),
        app=app,
        as_json=as_json,
    )


@recording_app.command()
def show(
    recording_id: _RecordingId, app: _AppName = None, links: _Links = False, as_json: _AsJson = False
) -> None:
    """Show all that the provider says of a recording."""
    from service.commands.recordings import show as run

    _run(
        lambda api, telling: run(api, telling, recording_id=recording_id),
        app=app,
        as_json=as_json,
        links=links,
    )


@recording_app.command("list")
def list_recordings(
    meeting: Annotated[str | None, typer.Option(metavar="ID", help="Only this meeting's.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only with this status, or one of several with commas between.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 30,
    app: _AppName = None,
    links: _Links = False,
    as_json: _AsJson = False,
) -> None:
    """Show recordings, the one begun last first."""
    from service.commands.recordings import show_all as run

    _run(
        lambda api, telling: run(api, telling, meeting_id=meeting, status=status, limit=limit),
        app=app,
        as_json=as_json,
        links=links,
    )


def _run(
    command: Callable[["ProviderApi", "Telling"], Awaitable[None]],
    *,
    app: str | None,
    as_json: bool,
    links: bool = False,
) -> None:
    from service.commands.access import asked
    from service.commands.running import quiet_settings, run
    from service.commands.telling import Telling

    settings = quiet_settings()
    telling = Telling(as_json=as_json, links=links, secrets=settings.secrets)
    run(asked(settings, app, lambda api: command(api, telling)))
