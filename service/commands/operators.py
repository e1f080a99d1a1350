"""The commands of whoever is on call: looking, and giving orders.

Only the options stand here; what a command does, and what it needs of the settings, is loaded when it runs.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from service.choices import Format, Order, Sort, Standing
from service.errors import NotInLedger

if TYPE_CHECKING:
    from service.admin.asked import Asked
    from service.desk import Desk

__all__ = ["looking_app", "ordering_app"]

LOOKING = "Look"
ORDERING = "Give orders"
"""The headings of the help."""

_FIND = "dyte-archiver status --text WORDS finds ids, by title, file name, meeting or session"
_T = TypeVar("_T")

looking_app = typer.Typer()
ordering_app = typer.Typer()

_Id = Annotated[
    str, typer.Argument(metavar="ID", help="The id of a recording, of a session, or of one of their files.")
]
_Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids of recordings, of sessions, or of single files of them."),
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the API's document as JSON, nothing else.")]
_InStanding = Annotated[
    Standing | None, typer.Option("--standing", help="Only recordings of which a file stands there.")
]
_OfApp = Annotated[str | None, typer.Option("--app", metavar="NAME", help="Only of this app.")]
_WithText = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="WORDS",
        help="Only with this in the title or file name, or as id of the recording, meeting or session.",
    ),
]
_Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Only first heard of since: 2026-11-01, or 7d, 12h ago."),
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Only first heard of before then.")
]


# ---- looking


@looking_app.command(
    rich_help_panel=LOOKING,
    epilog="Examples: dyte-archiver status --standing failing  |  status --text weekly --since 7d --json",
)
def status(
    standing: _InStanding = None,
    app: _OfApp = None,
    text: _WithText = None,
    since: _Since = None,
    until: _Until = None,
    sort: Annotated[
        Sort | None,
        typer.Option(help="Newest first, oldest first, or by the provider's deadline, soonest first."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How many recordings; without a filter, how many open and finished files.",
        ),
    ] = 30,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, with live progress, until ctrl+c.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Show what waits, moves, fails and is archived; with a filter, the recordings that it finds."""
    if watch and as_json:
        raise typer.BadParameter("does not go with --json", param_hint="--watch")
    from service.commands.screen import screen
    from service.commands.status import show

    asked = None
    if any(given is not None for given in (standing, app, text, since, until, sort)):
        asked = _asked(standing=standing, app=app, text=text, since=since, until=until, sort=sort)
    try:
        _at_desk(lambda desk: show(desk, screen(), asked=asked, most=limit, watch=watch, as_json=as_json))
    except KeyboardInterrupt:
        if not watch:
            raise


@looking_app.command(
    rich_help_panel=LOOKING, epilog="Example: dyte-archiver show 8f34e9c4-5a21-4d21-9d0b-2f3f0d2c6b10"
)
def show(target: _Id, as_json: _AsJson = False) -> None:
    """Show all of one recording or session: its files, where they lie, what failed, what happened when."""
    from service.commands.life import show as run
    from service.commands.screen import screen

    known = _known(target)
    _at_desk(lambda desk: run(desk, screen(), target=known, as_json=as_json))


@looking_app.command(
    rich_help_panel=LOOKING,
    help="Write all recordings, or those that a filter finds, as CSV or JSON lines, the oldest first.\n\n"
    "Sizes are in bytes, spans in seconds, moments in UTC, as the columns' names say. In CSV, a text that a "
    "spreadsheet would compute has an apostrophe before it.",
    epilog="Example: dyte-archiver export --standing archived --since 2026-11-01 --output november.csv",
)
def export(
    form: Annotated[
        Format, typer.Option("--format", help="A row for each copy of a file, or a JSON line a recording.")
    ] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, not to the screen.")
    ] = None,
    standing: _InStanding = None,
    app: _OfApp = None,
    text: _WithText = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Write all recordings, or those that a filter finds, as CSV or JSON lines, the oldest first."""
    from service.commands.export import export as run

    asked = _asked(standing=standing, app=app, text=text, since=since, until=until, sort=Sort.OLDEST)
    count = _at_desk(lambda desk: run(desk, asked, form=form, output=output))
    if output is not None:
        sys.stderr.write(f"{count} recordings written to {output}\n")


@looking_app.command(
    rich_help_panel=LOOKING,
    help="Read archived files back from the storage, and compare their checksums; all, unless told otherwise."
    "\n\nWith ARCHIVER_ADMIN_URL the service's workers do it, and this shows what they find; else this "
    "process does. Exit code 1 if a file is not whole.",
    epilog="Examples: dyte-archiver verify --sample 100  |  verify --older-than 30d  |  verify weekly.json",
)
def verify(
    manifests: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MANIFEST",
            help="Manifests in the storage, by their names there: only what they name; needs no database.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Look in this storage alone, by its name in the routing file."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only so many files, taken at random.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="Only files that were not verified for so long, such as 30d: run it again to go on.",
        ),
    ] = None,
) -> None:
    """Read archived files back from the storage, and compare their checksums."""
    import time

    from service.commands.running import quiet_settings, run
    from service.commands.screen import screen
    from service.wording import span_of

    before = None
    if older_than is not None:
        span_s = span_of(older_than)
        if span_s is None:
            raise typer.BadParameter("is not a span such as 30d or 12h", param_hint="--older-than")
        before = time.time() - span_s
    if manifests and (sample is not None or before is not None):
        raise typer.BadParameter("goes without --sample and --older-than", param_hint="MANIFEST")
    settings = quiet_settings()
    if settings.admin_url and not manifests:
        from service.commands.verification import order_verification

        if storage is not None:
            raise typer.BadParameter(
                "does not go with ARCHIVER_ADMIN_URL: workers verify every copy", param_hint="--storage"
            )
        faults = _at_desk(lambda desk: order_verification(desk, screen(), sample=sample, before=before))
    else:
        from service.verify import verify as read

        job = read(settings, manifests or [], screen(), storage_name=storage, sample=sample, before=before)
        faults = run(job)
    if faults:
        raise typer.Exit(1)


# ---- orders


@ordering_app.command(rich_help_panel=ORDERING, epilog=f"{_FIND}.")
def retry(ids: _Ids) -> None:
    """Try now what waits, failed or expired, or was paused or cancelled."""
    _order(Order.RETRY, ids)


@ordering_app.command(rich_help_panel=ORDERING, epilog=f"{_FIND}.")
def renew(ids: _Ids) -> None:
    """Ask the provider for fresh links, and try now."""
    _order(Order.RENEW, ids)


@ordering_app.command(rich_help_panel=ORDERING, epilog=f"{_FIND}.")
def pause(ids: _Ids, yes: _Yes = False) -> None:
    """Leave files alone until they are resumed; what was moved is kept. The provider's time goes on."""
    _order(Order.PAUSE, ids, yes=yes)


@ordering_app.command(rich_help_panel=ORDERING, epilog=f"{_FIND}.")
def resume(ids: _Ids) -> None:
    """Go on with what was paused."""
    _order(Order.RESUME, ids)


@ordering_app.command(rich_help_panel=ORDERING, epilog=f"{_FIND}.")
def cancel(ids: _Ids, yes: _Yes = False) -> None:
    """Give up what is not stored yet: it is not archived, unless it is retried."""
    _order(Order.CANCEL, ids, yes=yes)


@ordering_app.command(
    rich_help_panel=ORDERING, epilog="Example: dyte-archiver backfill --since 2026-11-01 --dry-run"
)
def backfill(
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Only what was recorded since this day or time (ISO 8601)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="Only what was recorded until then.")
    ] = None,
    meeting: Annotated[str | None, typer.Option(metavar="ID", help="Only this meeting's, by its id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is new, and change nothing.")] = False,
) -> None:
    """Ask the provider for every recording that it still keeps, and have them archived."""
    from service.backfill import backfill as run
    from service.commands.running import quiet_settings
    from service.commands.running import run as run_job
    from service.commands.screen import screen

    run_job(run(quiet_settings(), screen(), since=since, until=until, meeting_id=meeting, dry_run=dry_run))


def _order(order: Order, ids: list[str], *, yes: bool = True) -> None:
    from service.commands.orders import confirm, give

    known = [_known(each) for each in dict.fromkeys(ids)]
    if not yes:
        is_asked = sys.stdin.isatty() and sys.stderr.isatty()
        confirm(order, known, ask=(lambda question: typer.confirm(question, err=True)) if is_asked else None)
    if _at_desk(lambda desk: give(desk, order, known, find=_FIND)):
        raise typer.Exit(1)


def _asked(**given: Any) -> "Asked":
    """The filters of a list. Raises :class:`typer.BadParameter`, by the option's name."""
    import time

    from pydantic import ValidationError

    from service.admin.asked import Asked
    from service.ledger.browse import sorts_of
    from service.wording import moment_of

    for name in ("since", "until"):
        if (text := given[name]) is not None:
            at = moment_of(text, now=time.time())
            if at is None:
                raise typer.BadParameter(
                    "is not a day or time such as 2026-11-01, nor a span such as 7d", param_hint=f"--{name}"
                )
            given[name] = at
    if given["sort"] is not None and given["sort"] not in sorts_of(given["standing"]):
        raise typer.BadParameter(
            f"{given['sort']} is of no use with --standing {given['standing']}", param_hint="--sort"
        )
    moments = {name: given.pop(name) for name in ("since", "until")}
    try:
        return Asked.model_validate(given).model_copy(update=moments)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise typer.BadParameter(
            f"is not fit: {fault['msg'].removeprefix('Value error, ')}", param_hint=f"--{fault['loc'][0]}"
        ) from None


def _known(target: str) -> str:
    """An id that there could be. Raises :class:`NotInLedger`."""
    from pydantic import ValidationError

    from service.admin.asked import Given

    try:
        return Given(order=Order.VERIFY, target=target).target
    except ValidationError:
        raise NotInLedger(ascii(target), mend=_FIND) from None


def _at_desk(job: "Callable[[Desk], Awaitable[_T]]") -> _T:
    from service.commands.running import quiet_settings, run
    from service.desk import open_desk

    settings = quiet_settings()

    async def at_desk() -> _T:
        async with open_desk(settings) as desk:
            return await job(desk)

    try:
        return run(at_desk())
    except NotInLedger as error:
        raise NotInLedger(error.detail, mend=_FIND) from error
