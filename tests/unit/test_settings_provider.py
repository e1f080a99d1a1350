"""Whose recordings are archived, of one app or several, which kinds and where to; and no secret is shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.apps import App, parse_app, parse_apps
from service.errors import SettingsError
from service.model import ONLY, Kind, Provider
from service.settings import PREFIX
from tests.doubles.sender import Sender
from tests.unit.environment import Load, faults_of

MARK = "s3cr3tmark"
DYTE = {"provider": "dyte", "org_id": "o1", "api_key": "k1"}
REALTIMEKIT = {"provider": "realtimekit", "account_id": "a1", "app_id": "p1", "api_token": "t1"}
AWS = {"type": "aws", "access_key": "AKIAEX", "secret": "wJalrXU", "bucket": "calls", "region": "eu-west-1"}


def file(folder: Path, document: object) -> str:
    path = folder / "given.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def lines_of(load: Load, **variables: str) -> set[str]:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    return {line.strip() for line in caught.value.detail.splitlines() if line}


# ---- a single app


def test_without_credentials_there_is_one_app_that_asks_nobody(load: Load) -> None:
    assert load().apps == (App(),)


@pytest.mark.parametrize("given", [DYTE, REALTIMEKIT], ids=["dyte", "realtimekit"])
def test_the_single_apps_settings_are_those_of_an_app(load: Load, given: dict[str, str]) -> None:
    more = {"webhook_key_url": "https://h/keys", "api_url": "https://h/api"}

    (app,) = load(**given, **more, webhook_ids="w1, w2").apps

    assert app == parse_app(ONLY, given | more | {"webhook_ids": ["w1", "w2"]})
    assert app.authorization is not None


def test_the_single_apps_key_and_subscriptions_are_known_to_it(load: Load, sender: Sender) -> None:
    (app,) = load(webhook_public_key=sender.public_pem, webhook_ids="w1").apps

    assert (app.name, app.public_key, app.webhook_ids) == (ONLY, sender.public_pem, ("w1",))


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"api_key": "k"}, {"PROVIDER: is missing: dyte or realtimekit"}),
        ({"provider": "dyte", "api_key": "k"}, {"ORG_ID: is missing"}),
        ({"provider": "realtimekit", "api_token": "t"}, {"ACCOUNT_ID: is missing", "APP_ID: is missing"}),
        (DYTE | {"api_token": "t"}, {"API_TOKEN: is of no use with provider dyte"}),
        (DYTE | {"api_url": "h"}, {"API_URL: is not an http or https address"}),
        (DYTE | {"api_key": "a\tb"}, {"API_KEY: is not a text"}),
        (DYTE | {"org_id": "", "memory_budget_mib": "8", "part_size_mib": "9"},
         {"ORG_ID: is missing", "MEMORY_BUDGET_MIB: is smaller than one part (ARCHIVER_PART_SIZE_MIB)"}),
    ],
)  # fmt: skip
def test_every_fault_of_the_single_app_is_told_by_its_variable(
    load: Load, given: dict[str, str], faults: set[str]
) -> None:
    assert lines_of(load, **given) == {PREFIX + fault for fault in faults}


def test_a_provider_that_is_not_known_is_told(load: Load) -> None:
    assert faults_of(load, provider="zoom", api_key=MARK).keys() == {"ARCHIVER_PROVIDER"}


# ---- several


def test_a_file_names_several_apps(load: Load, tmp_path: Path) -> None:
    apps = {"production": REALTIMEKIT, "staging": DYTE}

    settings = load(apps_file=file(tmp_path, apps))

    assert settings.apps == parse_apps(json.dumps(apps))
    assert [app.name for app in settings.apps] == ["production", "staging"]
    assert settings.provider is None


def test_beside_the_file_every_setting_of_a_single_app_is_of_no_use(
    load: Load, tmp_path: Path, sender: Sender
) -> None:
    single = REALTIMEKIT | {
        "api_url": "https://h",
        "org_id": "o",
        "api_key": "k",
        "webhook_public_key": sender.public_pem,
        "webhook_key_url": "https://h/keys",
        "webhook_ids": "w1",
    }

    told = faults_of(load, apps_file=file(tmp_path, {"staging": DYTE}), **single)

    assert told == {PREFIX + name.upper(): "is of no use beside ARCHIVER_APPS_FILE" for name in single}


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ("{", {"is not JSON"}),
        ({}, {"is not a JSON object that names at least one app"}),
        ({"a": {"provider": [MARK]}, "b": {"colour": MARK}},
         {"a.provider: is neither dyte nor realtimekit", "b.colour: is not a field"}),
        ({"a": REALTIMEKIT, "b": REALTIMEKIT | {"app_id": "p2"}},
         {"b.webhook_ids: is missing, so its deliveries are not told from those of a"}),
    ],
)  # fmt: skip
def test_every_fault_of_the_file_is_told_with_the_variables_name(
    load: Load, tmp_path: Path, document: object, faults: set[str]
) -> None:
    told = lines_of(load, apps_file=file(tmp_path, document))

    assert told == {f"ARCHIVER_APPS_FILE: {fault}" for fault in faults}


def test_a_file_that_cannot_be_read_is_told(load: Load, tmp_path: Path) -> None:
    missing = faults_of(load, apps_file=str(tmp_path / MARK))

    assert missing == {"ARCHIVER_APPS_FILE": "cannot be read (FileNotFoundError)"}
    assert "cannot be read" in faults_of(load, apps_file=str(tmp_path))["ARCHIVER_APPS_FILE"]


# ---- what is archived, and where to


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, tuple(Kind)),
        ("", tuple(Kind)),
        (",", tuple(Kind)),
        ("video", (Kind.VIDEO,)),
        (" chat , summary,", (Kind.CHAT, Kind.SUMMARY)),
    ],
)
def test_every_kind_is_wanted_unless_some_are_named(
    load: Load, given: str | None, wanted: tuple[Kind, ...]
) -> None:
    assert load(**({} if given is None else {"kinds": given})).wanted == wanted


@pytest.mark.parametrize("given", ["film", "Video", "video,chats", "video;chat", '["video"]'])
def test_a_kind_that_is_not_known_is_told(load: Load, given: str) -> None:
    fault = faults_of(load, kinds=given)["ARCHIVER_KINDS"]

    assert fault == "has one that is not among video, audio, track, chat, transcript, summary"


def several(folder: Path, *rules: dict[str, Any]) -> str:
    storages = {"main": AWS, "copy": AWS | {"bucket": "copies"}}
    return file(folder, {"storages": storages} | ({"rules": list(rules)} if rules else {}))


def test_several_storages_need_rules_unless_each_recording_says_where_it_goes(
    load: Load, tmp_path: Path
) -> None:
    missing = {"ARCHIVER_ROUTING_FILE": "rules: is missing: there are several storages"}
    for off in ({}, {"storage_from_provider": "false"}):
        assert faults_of(load, routing_file=several(tmp_path), **off) == missing

    settings = load(routing_file=several(tmp_path), storage_from_provider="true")
    assert (list(settings.storages), settings.routing.rules) == (["main", "copy"], ())

    ruled = load(routing_file=several(tmp_path, {"to": "main"}), storage_from_provider="true")
    assert len(ruled.routing.rules) == 1


def test_a_single_storage_is_where_everything_goes_that_says_nothing_else(load: Load) -> None:
    settings = load(storage_config=json.dumps(AWS), storage_from_provider="true")

    assert settings.storage_from_provider
    assert settings.routing.rules[0].to == (ONLY,)
    assert not load().storage_from_provider


@pytest.mark.parametrize(("given", "every"), [(None, 15.0), ("0", 0.0), ("0.5", 0.5)])
def test_the_provider_is_asked_as_often_as_is_said(load: Load, given: str | None, every: float) -> None:
    assert load(**({} if given is None else {"reconcile_minutes": given})).reconcile_minutes == every


@pytest.mark.parametrize("given", ["-1", "often", "nan"])
def test_a_schedule_that_is_none_is_told(load: Load, given: str) -> None:
    assert faults_of(load, reconcile_minutes=given).keys() == {"ARCHIVER_RECONCILE_MINUTES"}


# ---- secrets


@pytest.mark.parametrize(
    ("given", "name"), [(DYTE, "api_key"), (REALTIMEKIT, "api_token")], ids=["dyte", "realtimekit"]
)
@pytest.mark.parametrize("in_file", [False, True], ids=["variables", "file"])
def test_no_credential_is_shown_and_each_is_known_to_the_log(
    load: Load, tmp_path: Path, given: dict[str, str], name: str, *, in_file: bool
) -> None:
    told = given | {name: MARK}
    settings = load(apps_file=file(tmp_path, {"a": told})) if in_file else load(**told)

    (app,) = settings.apps
    assert app.authorization is not None
    encoded = app.authorization.partition(" ")[2]
    assert set(settings.secrets) == {MARK, encoded}
    for shown in (str(settings), repr(settings), settings.model_dump_json(), repr(settings.apps)):
        assert MARK not in shown
        assert encoded not in shown


def test_every_apps_and_every_storages_secrets_are_known_to_the_log(load: Load, tmp_path: Path) -> None:
    apps = {"a": REALTIMEKIT, "b": DYTE}

    settings = load(
        apps_file=file(tmp_path, apps),
        storage_config=json.dumps(AWS),
        database_url="postgresql://u:pass%20word@h/n",
    )

    assert {"t1", "k1", "AKIAEX", "wJalrXU", "pass word", "pass%20word"} < set(settings.secrets)
    assert settings.apps[1].provider is Provider.DYTE
