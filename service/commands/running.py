"""How a command begins: its settings, and a loop; loaded only when one runs."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
from rich.console import Console

from service.choices import Role
from service.settings import Settings, load_settings
from service.telemetry import configure_logging

_WIDTH = 200
"""Columns where there is no terminal: an id is then never folded."""
_T = TypeVar("_T")


def screen() -> Console:
    """Where people read: in colours on a terminal alone, and without any if ``NO_COLOR`` is set."""
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else _WIDTH, highlight=False)


def quiet_settings(*, role: Role | None = None) -> Settings:
    """The settings, of which logs come in warnings alone. Raises :class:`~service.errors.SettingsError`."""
    settings = load_settings(role=role)
    configure_logging(level="warning", form=settings.log_format, secrets=settings.secrets)
    return settings


def run(job: Coroutine[Any, Any, _T]) -> _T:
    """What comes of it; ctrl+c cancels it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)
