"""Whose API a command asks, and what may be seen of its answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.apps import App, parse_app
from service.commands.access import asked, chosen
from service.commands.masking import shown, without_secrets
from service.errors import ArchiverError, ProviderMissing, ProviderRejected, SettingsError
from service.provider import ProviderApi
from service.settings import load_settings
from tests.unit.at_the_provider import AWS, begun, telling
from tests.unit.scripted_api import DYTE, KEY, ScriptedApi, bad


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


def named(*names: str, **more: Any) -> list[App]:
    return [parse_app(name, {**DYTE, **more}) for name in names]


def test_an_app_has_to_be_said_only_where_there_are_several() -> None:
    mute = parse_app("mute", {"provider": "dyte", "org_id": "org-2"})
    assert chosen([*named("one"), mute], None).name == "one"
    assert chosen(named("one", "two"), "two").name == "two"
    with pytest.raises(SettingsError) as several:
        chosen(named("one", "two"), None)
    assert several.value.mend == "say --app, one of one, two"
    with pytest.raises(SettingsError, match="there is no app 'three'"):
        chosen(named("one", "two"), "three")
    with pytest.raises(SettingsError, match="mute has no credentials"):
        chosen([*named("one"), mute], "mute")


def test_without_credentials_it_is_said_what_to_set() -> None:
    with pytest.raises(SettingsError) as told:
        chosen(load_settings({}).apps, None)
    for name in ("PROVIDER", "ORG_ID", "API_KEY", "ACCOUNT_ID", "APP_ID", "API_TOKEN"):
        assert f"ARCHIVER_{name}" in told.value.mend


async def test_an_error_of_the_api_repeats_no_secret_that_it_was_sent(
    server: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCY"
    environ = {
        "ARCHIVER_PROVIDER": "dyte", "ARCHIVER_ORG_ID": "o", "ARCHIVER_API_KEY": KEY,
        "ARCHIVER_API_URL": server.url, "ARCHIVER_STORAGE_CONFIG": json.dumps({**AWS, "secret": secret}),
    }  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    server.answers(bad(400, "x" * 270 + f" bad secret {secret}"), bad(404, f"no {KEY}"))

    async def ask(api: ProviderApi) -> None:
        await begun(api, telling(), storage=settings.storages["default"])

    with pytest.raises(ProviderRejected) as cut:
        await asked(settings, None, ask)
    assert "bad secret ***" in str(cut.value)
    assert secret[:8] not in str(cut.value)
    with pytest.raises(ProviderMissing) as whole:
        await asked(settings, None, ask)
    assert KEY not in str(whole.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("it answered 400: line one\\nline two is bad", "it answered 400: *** is bad"),
        ("line oneline two", "***"),
        ("got line one", "got ***"),
        ("pin 12345 pin", "pin *** pin"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_no_piece_of_a_secret_is_left_in_a_message(text: str, left: str) -> None:
    assert without_secrets(text, ["line one\nline two", "12345", "is"]) == left


def test_a_document_is_shown_without_what_is_secret_by_its_name() -> None:
    config = {"type": "sftp", "password": "pw", "private_key": "pk", "secret": "", "access_key": None}
    assert shown({"storage_config": [config]}, links=True, secrets=()) == {
        "storage_config": [config | {"password": "***", "private_key": "***"}]
    }


@pytest.mark.parametrize("error", [ArchiverError, ProviderMissing])
async def test_an_error_of_another_kind_passes_as_it_is(
    server: ScriptedApi, error: type[ArchiverError], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PROVIDER": "dyte", "ORG_ID": "o", "API_KEY": KEY}.items():
        monkeypatch.setenv(f"ARCHIVER_{name}", value)

    async def ask(_: ProviderApi) -> None:
        raise error("why", mend="how", retry_after_s=3.0)

    with pytest.raises(error) as told:
        await asked(load_settings(), None, ask)
    assert (told.value.detail, told.value.mend, told.value.retry_after_s) == ("why", "how", 3.0)
