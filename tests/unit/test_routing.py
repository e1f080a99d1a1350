"""Proves that the first rule that fits says where a file goes, and that a routing file is read or refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model import ONLY, Artifact, Kind, Provider, Recording
from service.routing import Routing
from service.storage.config import LocalConfig
from tests.unit.announcements import json_values

STORAGES = {name: {"type": "local", "path": f"/data/{name}"} for name in ("main", "legal", "music")}
MARK = "s3cr3tmark"
NO_TYPE = "type: is not one of aws, digitalocean, cloudflare, azure, gcs, sftp, local"
CONFIGS: list[dict[str, object]] = [
    {"type": "aws", "bucket": "calls", "access_key": MARK, "secret": MARK, "region": "eu-west-1"},
    {"type": "cloudflare", "bucket": "calls", "access_key": MARK, "secret": MARK, "account_id": "0" * 32},
    {"type": "digitalocean", "bucket": "calls", "access_key": MARK, "secret": MARK, "region": "ams3"},
    {"type": "azure", "bucket": "calls",
     "access_key": f"AccountName=calls;AccountKey={base64.b64encode(MARK.encode()).decode()}"},
    {"type": "gcs", "bucket": "calls"},
    {"type": "sftp", "host": "h", "username": "u", "password": MARK, "path": "/calls",
     "trust_host_key": "first_use"},
    {"type": "local", "path": "/calls"},
]  # fmt: skip


def routing(*rules: dict[str, Any], **storages: object) -> Routing:
    return Routing.parse(json.dumps({"storages": storages or STORAGES, "rules": rules}))


def places(of: Routing, kind: Kind = Kind.VIDEO, **told: Any) -> tuple[str, ...]:
    recording = Recording("r1", Provider.DYTE, "UPLOADED", **told)
    return of.storages_for(Artifact("r1", kind, "https://h/f", "f.mp4"), recording)


def faults_of(text: str) -> list[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        Routing.parse(text)
    return str(caught.value).splitlines()


def test_one_storage_gets_everything() -> None:
    assert places(Routing.only(LocalConfig(type="local", path="/data"))) == (ONLY,)  # type: ignore[arg-type]
    one = Routing.parse(json.dumps({"storages": {"main": STORAGES["main"]}}))
    assert places(one, Kind.AUDIO) == ("main",)


def test_the_first_rule_that_fits_decides() -> None:
    of = routing(
        {"kind": "audio", "to": "music"},
        {"title": ["Board *", "*audit*"], "to": ["main", "legal"]},
        {"organization_id": ["o1", "o2"], "meeting_id": "m1", "to": "legal"},
        {"to": "main"},
    )
    assert places(of, Kind.AUDIO, title="Board meeting") == ("music",)
    assert places(of, title="Board meeting") == ("main", "legal")
    assert places(of, title="BOARD meeting") == ("main", "legal")
    assert places(of, title="Boardroom") == ("main",)
    assert places(of, title="The Audit of May") == ("main", "legal")
    assert places(of, organization_id="o2", meeting_id="m1") == ("legal",)
    assert places(of, organization_id="o2", meeting_id="m2") == ("main",)
    assert places(of, organization_id="o3", meeting_id="m1") == ("main",)


def test_what_the_provider_did_not_tell_fits_no_condition() -> None:
    of = routing({"title": "x*", "to": "legal"}, {"meeting_id": "m", "to": "legal"}, {"to": "main"})
    assert places(of) == ("main",)


@pytest.mark.parametrize("title", [None, "", "Board"])
def test_any_title_is_one_that_was_told(title: str | None) -> None:
    of = routing({"title": "*", "to": "legal"}, {"to": "main"})
    assert places(of, title=title) == (("main",) if title is None else ("legal",))


@pytest.mark.parametrize(
    ("pattern", "title", "fits"),
    [
        ("STRASSE", "straße", True),
        ("board ?", "Board 7", True),
        ("board ?", "Board 77", False),
        ("[bc]all", "CALL", True),
        ("[!b]*", "Board", False),
        ("board", "board meeting", False),
        ("*\n*", "two\nlines", True),
        ("*", "two\nlines", True),
        (".*", "anything", False),
    ],
)
def test_a_title_fits_a_pattern_as_a_whole_and_without_case(pattern: str, title: str, *, fits: bool) -> None:
    of = routing({"title": pattern, "to": "legal"}, {"to": "main"})
    assert places(of, title=title) == (("legal",) if fits else ("main",))


@given(pattern=st.text(min_size=1), title=st.none() | st.text())
def test_any_pattern_is_compared_with_any_title(pattern: str, title: str | None) -> None:
    of = routing({"title": pattern, "to": "legal"}, {"to": "main"})
    assert places(of, title=title) in {("legal",), ("main",)}


@pytest.mark.parametrize("fact", ["organization_id", "meeting_id"])
@pytest.mark.parametrize(
    ("told", "fits"), [("o1", True), ("O1", False), ("o", False), ("*", False), (None, False)]
)
def test_an_id_fits_exactly(fact: str, told: str | None, *, fits: bool) -> None:
    of = routing({fact: ["o1", "o2"], "to": "legal"}, {"to": "main"})
    facts: dict[str, Any] = {fact: told}
    assert places(of, **facts) == (("legal",) if fits else ("main",))


def test_the_order_of_the_storages_is_the_rules_own() -> None:
    assert places(routing({"to": ["music", "main", "legal"]})) == ("music", "main", "legal")


def test_a_storage_named_twice_gets_one_copy() -> None:
    assert places(routing({"to": ["main", "main"]})) == ("main",)


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ("{", ["is not JSON"]),
        ("[]", ["is not a JSON object of storages and rules"]),
        ("{}", ["storages: is not an object that names at least one storage_config"]),
        ({"storages": STORAGES, "rules": {}, "x": 1},
         ["x: is not a field", "rules: is not a list"]),
        ({"storages": STORAGES, "rules": [{"title": "a", "to": "main"}]},
         ["rules: the last one must have no conditions, so that every recording has a place"]),
        ({"storages": STORAGES, "rules": [{"to": "main"}, {"to": "legal"}]},
         ["rules[0]: has no conditions, so the rules after it are never reached"]),
        ({"storages": STORAGES, "rules": [{"kind": ["film"], "titel": "a", "to": "nowhere"}, 1, {"to": []}]},
         ["rules[0].titel: is not a field", f"rules[0].kind: is not one of {', '.join(Kind)}",
          "rules[1]: is not an object", "rules[2].to: is neither a text nor a list of texts",
          "rules[0].to: names a storage that is not among storages"]),
        ({"storages": STORAGES, "rules": [{"kind": 5, "to": "main"},
                                           {"title": [], "to": "main"}, {"to": ["main"]}]},
         ["rules[0].kind: is neither a text nor a list of texts",
          "rules[1].title: is neither a text nor a list of texts"]),
        ({"storages": {"": STORAGES["main"], "a\nb": {"type": "ftp"}, "c\0": STORAGES["main"], "\ud800": 1},
          "rules": [{"to": ""}]},
         ["storages[0]: its name is blank, has //, or cannot be printed",
          "storages[1]: its name is blank, has //, or cannot be printed",
          f"storages[1].{NO_TYPE}",
          "storages[2]: its name is blank, has //, or cannot be printed",
          "storages[2]: is the same place as storages[0]",
          "storages[3]: its name is blank, has //, or cannot be printed",
          "storages[3].type: is missing",
          "rules[0].to: is neither a text nor a list of texts"]),
        ({"storages": {"a": STORAGES["main"], "b": STORAGES["main"], "c": {"type": "local"}},
          "rules": [{"kind": "video"}, {"to": "a"}]},
         ["storages.b: is the same place as storages.a", "storages.c.path: is missing",
          "rules[0].to: is missing"]),
    ],
)  # fmt: skip
def test_every_fault_is_told_at_once_by_its_field(given: object, faults: list[str]) -> None:
    assert faults_of(given if isinstance(given, str) else json.dumps(given)) == faults


@given(json_values, json_values)
def test_anything_else_is_refused_and_nothing_worse(storages: object, rules: object) -> None:
    assert faults_of(json.dumps({"storages": storages, "rules": rules}))


@given(st.sampled_from(["storages", "rules"]), json_values)
def test_no_value_is_repeated(field: str, odd: object) -> None:
    document = {"storages": STORAGES, "rules": [{"to": "main"}]}
    document |= {field: {"a": [odd, MARK]} if field == "storages" else [{"to": [odd, MARK], "title": MARK}]}
    assert not any(MARK in fault for fault in faults_of(json.dumps(document)))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["type"])
def test_one_place_is_not_two_whatever_the_credentials(config: dict[str, object]) -> None:
    other = config | ({"password": "another"} if "password" in config else {})
    other |= {"secret": "another", "access_key": "another"} if "secret" in config else {}
    faults = faults_of(json.dumps({"storages": {"a": config, "b": other}, "rules": [{"to": ["a", "b"]}]}))
    assert faults == ["storages.b: is the same place as storages.a"]


@pytest.mark.parametrize(
    ("config", "elsewhere"),
    [
        (CONFIGS[0], {"endpoint_url": "https://s3.example.com"}),
        (CONFIGS[0], {"path": "b"}),
        (CONFIGS[1], {"account_id": "1" * 32}),
        (CONFIGS[2], {"region": "fra1"}),
        (CONFIGS[3], {"access_key": "AccountName=other;AccountKey=c2VjcmV0"}),
        (CONFIGS[3], {"path": "b"}),
        (CONFIGS[4], {"endpoint_url": "https://gcs.example.com"}),
        (CONFIGS[5], {"host": "other"}),
        (CONFIGS[5], {"port": 2222}),
        (CONFIGS[6], {"path": "/other"}),
    ],
)
def test_a_bucket_of_the_same_name_elsewhere_is_another_place(
    config: dict[str, object], elsewhere: dict[str, object]
) -> None:
    of = Routing.parse(
        json.dumps({"storages": {"a": config, "b": config | elsewhere}, "rules": [{"to": ["a", "b"]}]})
    )
    assert places(of) == ("a", "b")


@given(st.text())
def test_any_text_is_a_routing_or_told_to_be_none(text: str) -> None:
    assert faults_of(text)


rules = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "to": st.sampled_from([*STORAGES, "nowhere", ["main", "legal"], [], 1]),
            "kind": st.sampled_from(["video", ["audio", "video"], "film", None]),
            "title": st.sampled_from(["Board *", "", ["a", 1]]),
            "meeting_id": st.sampled_from(["m", ["m", "n"]]),
            "tilte": st.just("x"),
        },
    ),
    max_size=4,
)


@given(rules=rules, storages=st.sets(st.sampled_from(sorted(STORAGES)), min_size=1))
def test_what_is_read_has_a_place_for_every_file(rules: list[dict[str, object]], storages: set[str]) -> None:
    known = {name: STORAGES[name] for name in storages}
    try:
        of = Routing.parse(json.dumps({"storages": known, "rules": rules}))
    except ValueError as error:
        faults = str(error).splitlines()
        assert len(faults) == len(set(faults))
        assert all(fault.startswith("rules") for fault in faults)
    else:
        for kind in Kind:
            for told in ({}, {"title": "Board 1", "meeting_id": "m"}):
                found = places(of, kind, **told)
                assert found or not rules
                assert set(found) <= storages
        assert not of.rules or of.rules[-1].is_unconditional
        assert not any(rule.is_unconditional for rule in of.rules[:-1])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["type"])
@pytest.mark.parametrize(
    "wrong",
    [{"colour": "red"}, {"path": {"a": MARK}}, {"bucket": MARK + "/:"}, {"type": MARK}, {MARK.upper(): MARK}],
)
def test_no_secret_of_a_storage_is_repeated(config: dict[str, object], wrong: dict[str, object]) -> None:
    document = {"storages": {"a": config | wrong, "b": {"type": "ftp"}}, "rules": [{"to": "a"}]}
    told = "\n".join(faults_of(json.dumps(document)))
    assert f"storages.b.{NO_TYPE}" in told
    for value in (MARK, base64.b64encode(MARK.encode()).decode()):
        assert value not in told
