"""What a command prints: JSON for programs, tables for people, warnings apart from both."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.commands.masking import shown
from service.fields import clean

_WIDTH = 200
"""Columns where there is no terminal: an id is then never folded."""


class Telling:
    """Prints documents to standard output, without secrets; with ``as_json`` nothing else goes there.

    ``links``: signed links are shown whole.
    """

    def __init__(self, *, as_json: bool, links: bool, secrets: Sequence[str]) -> None:
        self.as_json = as_json
        self._links = links
        self._secrets = secrets
        self._console = Console(width=None if sys.stdout.isatty() else _WIDTH)

    def document(self, document: Mapping[str, Any]) -> None:
        """Print one document; for people a line a field."""
        if self.as_json:
            self._json(document)
            return
        table = Table(box=None, show_header=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in self._shown(document).items():
            if value is not None:
                table.add_row(Text(clean(name)), Text(_cell(value)))
        self._console.print(table)

    def documents(
        self, documents: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, str]], *, none: str
    ) -> None:
        """Print a list: its ``documents`` as JSON, or for people ``rows``, by column; ``none``: if empty."""
        if self.as_json:
            self._json(documents)
        elif not rows:
            self.line(none)
        else:
            table = Table(box=None, header_style="bold")
            for name in rows[0]:
                table.add_column(name, overflow="fold")
            for row in rows:
                table.add_row(*(Text(_cell(self._shown(value))) for value in row.values()))
            self._console.print(table)

    def line(self, text: str) -> None:
        """Say something to people."""
        if not self.as_json:
            self._console.print(Text(clean(text)), soft_wrap=True)

    def warning(self, text: str) -> None:
        """Say something that should be looked at, on standard error."""
        sys.stderr.write(f"dyte-archiver: {clean(text)}\n")

    def _json(self, value: object) -> None:
        sys.stdout.write(json.dumps(self._shown(value), indent=2) + "\n")

    def _shown(self, value: Any) -> Any:
        return shown(value, links=self._links, secrets=self._secrets)


def _cell(value: object) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
