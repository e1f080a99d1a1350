"""Asking the API of the app that a command means; what fails is told without any secret."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from service.apps import App
from service.commands.masking import without_secrets
from service.errors import ProviderError, SettingsError
from service.provider import Pace, ProviderApi, api_session
from service.settings import NO_ACCESS, PREFIX, Settings


async def asked(
    settings: Settings, app_name: str | None, command: Callable[[ProviderApi], Awaitable[None]]
) -> None:
    """Run ``command`` with the API of the app of that name; without a name, of the only one.

    Raises :class:`SettingsError` if that says no app, and what the API's client raises: its detail may repeat
    what the API was sent, so every secret is masked in it.
    """
    app = chosen(settings.apps, app_name)
    try:
        async with api_session() as session:
            pace = Pace(clock=time.monotonic, sleep=asyncio.sleep)
            await command(ProviderApi(app, session, pace=pace, jitter=random.random))
    except ProviderError as error:
        detail = without_secrets(error.detail, settings.secrets)
        raise type(error)(detail, mend=error.mend, retry_after_s=error.retry_after_s) from error


def chosen(apps: Sequence[App], name: str | None) -> App:
    """The app of that name, or the only one that has credentials. Raises :class:`SettingsError`."""
    able = {app.name: app for app in apps if app.authorization is not None}
    if name is not None:
        if name in able:
            return able[name]
        if any(app.name == name for app in apps):
            raise SettingsError(
                f"{name} has no credentials for the provider's API",
                mend=f"give them to it in the file that {PREFIX}APPS_FILE names",
            )
        raise SettingsError(f"there is no app {name!r}", mend=f"--app is one of {_listed(apps)}")
    if not able:
        raise SettingsError("there are no credentials for the provider's API", mend=NO_ACCESS)
    if len(able) > 1:
        raise SettingsError("there are several apps", mend=f"say --app, one of {_listed(able.values())}")
    return next(iter(able.values()))


def _listed(apps: Iterable[App]) -> str:
    return ", ".join(app.name for app in apps)
