"""Where commands show what people read."""

import os
import sys

from rich.console import Console

_WIDTH = 200
"""Columns where there is no terminal: an id is then never folded."""


def screen() -> Console:
    """Where people read: in colours on a terminal alone, and without any if ``NO_COLOR`` is set."""
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else _WIDTH, highlight=False)
