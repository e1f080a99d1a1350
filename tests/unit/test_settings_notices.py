"""How notices are asked for: what is wrong is told by name and not by value; secrets are known as such."""

import base64

import pytest

from service.model import NoticeFormat, Topic
from tests.doubles.notice_receiver import OLD_SECRET, SECRET
from tests.unit.environment import Load, faults_of

URL = "https://hooks.example.com/services/T0K3Nofthereceiver"


def secret(size: int) -> str:
    return f"whsec_{base64.b64encode(bytes(range(size))).decode()}"


def test_without_a_receiver_nothing_is_told(load: Load) -> None:
    settings = load()
    assert (settings.notice_topics, settings.notice_secrets) == ((), ())
    assert load(notice_on="expired").notice_topics == ()


def test_with_one_everything_is_told_or_what_was_asked_for(load: Load) -> None:
    assert load(notice_url=URL, notice_secret=SECRET).notice_topics == tuple(Topic)
    some = load(notice_url=URL, notice_secret=SECRET, notice_on="expired, archived")
    assert some.notice_topics == (Topic.EXPIRED, Topic.ARCHIVED)
    assert some.notice_format is NoticeFormat.CLOUDEVENTS


@pytest.mark.parametrize("given", [f"{SECRET},{OLD_SECRET}", f" {SECRET} , {OLD_SECRET}, "])
def test_several_secrets_are_signed_with_while_one_replaces_the_other(load: Load, given: str) -> None:
    assert load(notice_url=URL, notice_secret=given).notice_secrets == (SECRET, OLD_SECRET)


@pytest.mark.parametrize("given", [secret(24), secret(32), secret(64), secret(32).rstrip("=")])
def test_secrets_of_standard_webhooks_are_taken(load: Load, given: str) -> None:
    assert load(notice_url=URL, notice_secret=given).notice_secrets == (given,)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (secret(23), "has 23 bytes, not 24 to 64"),
        (secret(65), "has 65 bytes, not 24 to 64"),
        (secret(32).removeprefix("whsec_"), "does not begin with whsec_"),
        (f"{secret(32)[:-3]}", "is not base64 after whsec_; it may be cut off"),
        ("whsec_&&&&", "is not base64 after whsec_; it may be cut off"),
        ("whsec_ümlaut", "is not base64 after whsec_; it may be cut off"),
        (f"{SECRET} {OLD_SECRET}", "is not base64 after whsec_; it may be cut off"),
        (f"{SECRET},short", "does not begin with whsec_"),
        (",", "is empty"),
    ],
)
def test_a_secret_that_receivers_would_not_take_is_a_fault(load: Load, given: str, fault: str) -> None:
    assert faults_of(load, notice_url=URL, notice_secret=given) == {"ARCHIVER_NOTICE_SECRET": fault}


@pytest.mark.parametrize(
    "given",
    ["hooks.example.com/x", "ftp://hooks.example.com/", "https://", "https://h.example:99999/", "https://[::1/x",
     "https://hooks.example.com/a b", "https://h.example:0/"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_fault(load: Load, given: str) -> None:
    told = faults_of(load, notice_url=given, notice_secret=SECRET)
    assert told == {"ARCHIVER_NOTICE_URL": "is not an http or https address"}


def test_a_receiver_of_events_needs_a_secret_and_slack_needs_none(load: Load) -> None:
    (fault,) = faults_of(load, notice_url=URL).items()
    assert fault[0] == "ARCHIVER_NOTICE_SECRET"
    assert fault[1].startswith("is missing")
    assert load(notice_url=URL, notice_format="slack").notice_secrets == ()
    told = faults_of(load, notice_url=URL, notice_format="slack", notice_secret=SECRET)
    assert told["ARCHIVER_NOTICE_SECRET"].startswith("is of no use")


def test_other_faults_are_told_by_name(load: Load) -> None:
    told = faults_of(load, notice_on="archived,deleted", notice_format="xml", notice_failed_minutes="0")
    assert set(told) == {
        "ARCHIVER_NOTICE_ON", "ARCHIVER_NOTICE_FORMAT", "ARCHIVER_NOTICE_FAILED_MINUTES",
    }  # fmt: skip
    assert set(faults_of(load, notice_link_hours="169")) == {"ARCHIVER_NOTICE_LINK_HOURS"}


def test_the_address_and_the_secrets_are_secret(load: Load) -> None:
    url = "https://me:p%40ssw0rd@hooks.example.com/services/T0K3Nofthereceiver?key=K3Y"
    settings = load(notice_url=url, notice_secret=f"{SECRET},{OLD_SECRET}")
    assert {url, "p@ssw0rd", "/services/T0K3Nofthereceiver", SECRET, OLD_SECRET} <= set(settings.secrets)
    shown = repr(settings) + str(settings.model_dump()) + settings.model_dump_json()
    for each in ("T0K3N", "ssw0rd", SECRET, OLD_SECRET):
        assert each not in shown
