"""How a command begins: its settings, and a loop; loaded only when one runs."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from service.choices import Role
from service.logs import configure_logging
from service.settings import Settings, load_settings

_T = TypeVar("_T")


def quiet_settings(*, role: Role | None = None) -> Settings:
    """The settings, of which logs come in warnings alone. Raises :class:`~service.errors.SettingsError`."""
    settings = load_settings(role=role)
    configure_logging(level="warning", form=settings.log_format, secrets=settings.secrets)
    return settings


def run(job: Coroutine[Any, Any, _T]) -> _T:
    """What comes of it; ctrl+c cancels it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)
