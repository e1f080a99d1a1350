"""Settings from exactly the variables that a test gives."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from service.errors import SettingsError
from service.settings import PREFIX, Settings, load_settings

Load = Callable[..., Settings]
"""Loads settings from exactly the variables given, ``port="80"`` being ``ARCHIVER_PORT``."""


def loading(monkeypatch: pytest.MonkeyPatch) -> Load:
    def load(options: dict[str, Any] | None = None, **variables: str) -> Settings:
        for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(PREFIX + name.upper(), value)
        return load_settings(**(options or {}))

    return load


def faults_of(load: Load, **variables: str) -> dict[str, str]:
    """What is said of each variable."""
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    lines = caught.value.detail.split("\n")
    assert lines[0] == ""
    return {name: fault for name, _, fault in (line.strip().partition(": ") for line in lines[1:])}
