"""``export``: what the archive has, for a spreadsheet or a program, however much that is."""

import contextlib
import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from service.admin.asked import Asked
from service.admin.documents import CopyLine, Recording
from service.choices import Format
from service.desk import Desk, walk
from service.errors import OutputUnwritable

_OF_RECORDINGS: Final = tuple(name for name in Recording.model_fields if name not in ("id", "copies"))
_OF_COPIES: Final = tuple(
    name for name in CopyLine.model_fields if name not in ("title", "next_try_in_seconds")
)
COLUMNS: Final = ("recording_id", *_OF_RECORDINGS, *_OF_COPIES)
"""Of the CSV, one row a copy of a file; a recording without a file has one row, with these left empty."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


async def export(desk: Desk, asked: Asked, *, form: Format, output: Path | None) -> int:
    """Write every recording that is ``asked`` for, to standard output or to a file; returns how many.

    The file has its name only when all is in it. Raises :class:`~service.errors.OutputUnwritable`, and what
    the desk does.
    """
    count = 0
    with _opened(output) as file:
        write = _WRITERS[form](file)
        async for recording in walk(desk, asked):
            write(recording)
            count += 1
    return count


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    is_plain = not output.exists() or output.is_file()
    part = output.with_name(f"{output.name}.part") if is_plain else output
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        if is_plain:
            part.replace(output)
    except BaseException as error:
        if is_plain:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputUnwritable(f"{output}: {error.strerror}") from error
        raise


def _as_csv(file: IO[str]) -> Callable[[Recording], None]:
    rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    rows.writeheader()

    def write(recording: Recording) -> None:
        told = recording.model_dump(mode="json")
        own = {"recording_id": told["id"]} | {name: told[name] for name in _OF_RECORDINGS}
        copies: Sequence[Mapping[str, Any]] = told["copies"] or [{}]
        for copy in copies:
            row = own | {name: copy.get(name) for name in _OF_COPIES}
            rows.writerow({name: _cell(value) for name, value in row.items()})

    return write


def _as_lines(file: IO[str]) -> Callable[[Recording], None]:
    return lambda recording: print(recording.model_dump_json(), file=file)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        # Whoever named a meeting shall not have a spreadsheet compute something.
        return f"'{value}"
    return value


_WRITERS: Final[Mapping[Format, Callable[[IO[str]], Callable[[Recording], None]]]] = {
    Format.CSV: _as_csv,
    Format.JSONL: _as_lines,
}
