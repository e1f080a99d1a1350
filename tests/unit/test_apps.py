"""An app is read whole or every fault of it is told by its field; no value of it is ever repeated."""

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.apps import API_URLS, FIELDS, App, parse_app, parse_apps
from service.model import ONLY, Provider
from tests.doubles.sender import Sender
from tests.unit.announcements import json_values

T = TypeVar("T")
MARK = "s3cr3tmark"
DYTE = {"provider": "dyte", "org_id": "o1", "api_key": "k1"}
REALTIMEKIT = {"provider": "realtimekit", "account_id": "a1", "app_id": "p1", "api_token": "t1"}
USELESS = "is of no use with provider"
NO_NAME = "an app's name is blank, too long, or cannot be printed"
BOTH_KEYS = "webhook_key_url: is of no use beside webhook_public_key"


def faults_of(given: dict[str, Any]) -> list[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_app("app", given)
    assert type(caught.value) is ValueError
    return str(caught.value).splitlines()


def faults_of_file(given: object) -> list[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_apps(given if isinstance(given, str) else json.dumps(given))
    assert type(caught.value) is ValueError
    return str(caught.value).splitlines()


def read(parse: Callable[[], T]) -> T | ValueError:
    """What is read, or why it is not; any other error is a fault of the reading."""
    try:
        return parse()
    except ValueError as error:
        return error


# ---- one


def test_without_any_setting_an_app_takes_every_delivery_and_asks_nobody() -> None:
    assert parse_app(ONLY, {}) == App()
    assert parse_app("x", dict.fromkeys(FIELDS)) == App(name="x")
    assert parse_app("x", dict.fromkeys(FIELDS, "") | {"webhook_ids": ()}) == App(name="x")


def test_dyte_is_asked_with_its_organisation_and_key() -> None:
    app = parse_app("app", DYTE)

    assert (app.provider, app.organization_id) == (Provider.DYTE, "o1")
    assert app.api_url == "https://api.dyte.io/v2"
    assert app.authorization == f"Basic {base64.b64encode(b'o1:k1').decode()}"


def test_realtimekit_is_asked_below_its_account_and_app_with_a_token() -> None:
    app = parse_app("app", REALTIMEKIT)

    assert (app.provider, app.organization_id) == (Provider.REALTIMEKIT, None)
    assert app.api_url == "https://api.cloudflare.com/client/v4/accounts/a1/realtime/kit/p1"
    assert app.authorization == "Bearer t1"


@pytest.mark.parametrize("given", [DYTE, REALTIMEKIT], ids=["dyte", "realtimekit"])
@pytest.mark.parametrize("end", ["", "/", "//"])
def test_another_address_takes_the_place_of_the_providers_own(given: dict[str, Any], end: str) -> None:
    own, other = (parse_app("app", given | told).api_url for told in ({}, {"api_url": f"http://h:1/x{end}"}))

    assert own is not None
    assert other == own.replace(API_URLS[Provider(given["provider"])], "http://h:1/x")


def test_the_organisation_alone_tells_whose_a_delivery_is_and_asks_nobody() -> None:
    app = parse_app("app", {"provider": "dyte", "org_id": "o1"})

    assert (app.organization_id, app.api_url, app.authorization) == ("o1", None, None)


def test_how_deliveries_are_recognised_is_kept_as_it_is_given(sender: Sender) -> None:
    pinned = parse_app("app", {"webhook_public_key": sender.public_pem, "webhook_ids": ["w1", "w2"]})
    fetched = parse_app("app", {"webhook_key_url": "https://h/keys?token=1"})

    assert (pinned.public_key, pinned.webhook_ids) == (sender.public_pem, ("w1", "w2"))
    assert fetched.key_url == "https://h/keys?token=1"


# ---- what is wrong with one


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"org_id": "o"}, ["provider: is missing: dyte or realtimekit"]),
        ({"api_token": "t", "api_url": "https://h"}, ["provider: is missing: dyte or realtimekit"]),
        ({"provider": "zoom"}, ["provider: is neither dyte nor realtimekit"]),
        ({"provider": "Dyte"}, ["provider: is neither dyte nor realtimekit"]),
        ({"provider": ["dyte"]}, ["provider: is neither dyte nor realtimekit"]),
        ({"provider": {}}, ["provider: is neither dyte nor realtimekit"]),
        ({"provider": 1}, ["provider: is neither dyte nor realtimekit"]),
        ({"provider": "dyte", "api_key": "k"}, ["org_id: is missing"]),
        ({"provider": "dyte", "api_url": "https://h"}, ["org_id: is missing", "api_key: is missing"]),
        ({"provider": "dyte", "org_id": "o", "api_url": "https://h"}, ["api_key: is missing"]),
        (DYTE | {"app_id": "p"}, [f"app_id: {USELESS} dyte"]),
        ({"provider": "realtimekit", "api_token": "t"}, ["account_id: is missing", "app_id: is missing"]),
        ({"provider": "realtimekit", "org_id": "o"},
         [f"org_id: {USELESS} realtimekit"]),
        (REALTIMEKIT | {"org_id": "o", "api_key": "k"},
         [f"org_id: {USELESS} realtimekit", f"api_key: {USELESS} realtimekit"]),
        (DYTE | {"api_key": 5}, ["api_key: is not a text"]),
        (DYTE | {"api_key": ["k"]}, ["api_key: is not a text"]),
        (DYTE | {"api_key": "k\n"}, ["api_key: is not a text"]),
        (DYTE | {"org_id": "\ud800"}, ["org_id: is not a text"]),
        (DYTE | {"api_url": 5}, ["api_url: is not a text"]),
        (DYTE | {"api_url": "h/v2"}, ["api_url: is not an http or https address"]),
        (DYTE | {"api_url": "ftp://h"}, ["api_url: is not an http or https address"]),
        (DYTE | {"api_url": "https://"}, ["api_url: is not an http or https address"]),
        (DYTE | {"api_url": "https://[::1"}, ["api_url: is not an http or https address"]),
        (DYTE | {"api_url": "https://h?key=1"}, ["api_url: is not an http or https address"]),
        ({"webhook_key_url": "h/keys"}, ["webhook_key_url: is not an http or https address"]),
        ({"webhook_key_url": []}, ["webhook_key_url: is not a text"]),
        ({"webhook_public_key": "PEM"}, ["webhook_public_key: holds no PEM public key"]),
        ({"webhook_public_key": 5}, ["webhook_public_key: is not a text"]),
        ({"webhook_ids": "w1"}, ["webhook_ids: is not a list of texts"]),
        ({"webhook_ids": ["w1", 2]}, ["webhook_ids: is not a list of texts"]),
        ({"webhook_ids": {"w1": 1}}, ["webhook_ids: is not a list of texts"]),
        ({"colour": "red"}, ["colour: is not a field"]),
        ({"colour": None}, []),
        ({"colour": "red", "api_url": 1, "webhook_ids": 1, "webhook_key_url": "x", "provider": "zoom"},
         ["colour: is not a field", "api_url: is not a text", "webhook_ids: is not a list of texts",
          "webhook_key_url: is not an http or https address", "provider: is neither dyte nor realtimekit"]),
    ],
)  # fmt: skip
def test_every_fault_is_told_at_once_by_its_field(given: dict[str, Any], faults: list[str]) -> None:
    if faults:
        assert faults_of(given) == faults
    else:
        assert parse_app("app", given) == App(name="app")


def test_a_key_is_given_or_fetched_not_both(sender: Sender) -> None:
    given = {"webhook_public_key": sender.public_pem, "webhook_key_url": "https://h/keys"}
    assert faults_of(given) == [BOTH_KEYS]


@given(
    st.dictionaries(st.sampled_from(FIELDS), json_values | st.lists(st.just(MARK)) | st.just(MARK)),
    st.sampled_from([{}, {"provider": "dyte"}, {"provider": "realtimekit"}]),
)
def test_any_values_are_an_app_or_faults_and_are_never_repeated(
    odd: dict[str, Any], provider: dict[str, Any]
) -> None:
    found = read(lambda: parse_app("app", odd | provider))

    if isinstance(found, App):
        assert (found.api_url is None) == (found.authorization is None)
    else:
        assert MARK not in str(found)
        assert {line.partition(": ")[0] for line in str(found).splitlines()} <= set(FIELDS)


# ---- secrets


def test_the_secrets_are_the_headers_value_and_what_it_was_made_of() -> None:
    encoded = base64.b64encode(f"o1:{MARK}".encode()).decode()
    assert parse_app("a", DYTE | {"api_key": MARK}).secrets == (encoded, MARK)
    assert parse_app("a", REALTIMEKIT | {"api_token": MARK}).secrets == (MARK,)
    assert App().secrets == ()


@pytest.mark.parametrize("given", [DYTE | {"api_key": MARK}, REALTIMEKIT | {"api_token": MARK}])
def test_no_secret_is_shown_with_the_app(given: dict[str, Any]) -> None:
    app = parse_app("app", given)

    assert app.authorization is not None
    for secret in app.secrets:
        assert secret not in repr(app)
        assert secret not in str(app)


# ---- several


def test_a_file_names_several_each_with_what_is_its_own() -> None:
    apps = parse_apps(json.dumps({"production": REALTIMEKIT | {"webhook_ids": ["w1"]}, "staging": DYTE}))

    assert apps == (
        parse_app("production", REALTIMEKIT | {"webhook_ids": ["w1"]}),
        parse_app("staging", DYTE),
    )


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ("", ["is not JSON"]),
        ("{", ["is not JSON"]),
        ("[" * 100_000, ["is not JSON"]),
        ("[]", ["is not a JSON object that names at least one app"]),
        ("{}", ["is not a JSON object that names at least one app"]),
        ("null", ["is not a JSON object that names at least one app"]),
        ({"": DYTE}, [NO_NAME]),
        ({" ": DYTE, "a\nb": {}, "x" * 61: {}}, [NO_NAME] * 3),
        ({"a": 1, "b": None, "c": []}, [f"{name}: is not an object" for name in "abc"]),
        ({"a": {"colour": 1}, "b": DYTE, "c": {"provider": ["dyte"], "api_key": 5}},
         ["a.colour: is not a field", "c.api_key: is not a text",
          "c.provider: is neither dyte nor realtimekit"]),
    ],
)  # fmt: skip
def test_every_fault_of_every_app_is_told_at_once(given: object, faults: list[str]) -> None:
    assert faults_of_file(given) == faults


KEY_URL = {"webhook_key_url": "https://h/keys"}
UNKNOWN = "b.webhook_ids: is missing, so its deliveries are not told from those of a"
OTHER = REALTIMEKIT | {"app_id": "p2"}


@pytest.mark.parametrize(
    ("first", "second", "faults"),
    [
        ({}, {}, [UNKNOWN]),
        (REALTIMEKIT, OTHER, [UNKNOWN]),
        (KEY_URL, KEY_URL, [UNKNOWN]),
        (REALTIMEKIT | {"webhook_ids": ["w"]}, OTHER, []),
        (REALTIMEKIT, OTHER | {"webhook_ids": ["w"]}, []),
        (REALTIMEKIT, OTHER | KEY_URL, []),
        (REALTIMEKIT, DYTE, []),
        (DYTE, DYTE | {"org_id": "o2"}, []),
        ({"provider": "dyte"}, DYTE, []),
        ({"provider": "dyte"}, {"provider": "dyte"}, [UNKNOWN]),
        (DYTE, DYTE, ["b: is the same organization or app as a"]),
        (DYTE, DYTE | {"api_url": "https://staging.example.com/v2"}, []),
        ({"provider": "dyte", "org_id": "o1"}, {"provider": "dyte", "org_id": "o1"},
         ["b: is the same organization or app as a"]),
        (REALTIMEKIT | {"webhook_ids": ["w1"]}, REALTIMEKIT | {"webhook_ids": ["w2"]},
         ["b: is the same organization or app as a"]),
        (REALTIMEKIT | {"webhook_ids": ["w1", "w2"]}, OTHER | {"webhook_ids": ["w3", "w2"]},
         ["b.webhook_ids: has one that a has"]),
        (REALTIMEKIT | {"webhook_ids": ["w1", "w1"]}, OTHER | {"webhook_ids": ["w2"]}, []),
    ],
)  # fmt: skip
def test_apps_that_could_not_be_told_apart_are_told(
    first: dict[str, Any], second: dict[str, Any], faults: list[str]
) -> None:
    given = {"a": first, "b": second}
    if faults:
        assert faults_of_file(given) == faults
    else:
        assert [app.name for app in parse_apps(json.dumps(given))] == ["a", "b"]


@given(json_values | st.dictionaries(st.text(), json_values | st.just({"api_key": MARK, "provider": [MARK]})))
def test_any_file_is_apps_or_faults(given: object) -> None:
    found = read(lambda: parse_apps(json.dumps(given)))

    if isinstance(found, tuple):
        assert isinstance(given, dict)
        assert [app.name for app in found] == list(given)
    else:
        assert MARK not in str(found)
