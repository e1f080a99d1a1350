"""Proves that the first rule that fits says where a file goes, and that a routing file is read or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model import Artifact, Kind, Provider, Recording
from service.routing import ONLY, Routing
from service.storage.config import LocalConfig
from tests.unit.announcements import json_values

STORAGES = {name: {"type": "local", "path": f"/data/{name}"} for name in ("main", "legal", "music")}
MARK = "s3cr3tmark"


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


def test_a_storage_named_twice_gets_one_copy() -> None:
    assert places(routing({"to": ["main", "main"]})) == ("main",)


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ("{", ["is not JSON"]),
        ("[]", ["is not a JSON object of storages and rules"]),
        ("{}", ["storages: is not an object that names at least one storage_config"]),
        ({"storages": STORAGES}, ["rules: is missing: there are several storages"]),
        ({"storages": STORAGES, "rules": {}, "x": 1},
         ["x: is not a field", "rules: is not a list", "rules: is missing: there are several storages"]),
        ({"storages": STORAGES, "rules": [{"title": "a", "to": "main"}]},
         ["rules: the last one must have no conditions, so that every recording has a place"]),
        ({"storages": STORAGES, "rules": [{"to": "main"}, {"to": "legal"}]},
         ["rules[0]: has no conditions, so the rules after it are never reached"]),
        ({"storages": STORAGES, "rules": [{"kind": ["film"], "titel": "a", "to": "nowhere"}, 1, {"to": []}]},
         ["rules[0].titel: is not a field", "rules[0].kind: is not one of video, audio",
          "rules[1]: is not an object", "rules[2].to: is neither a text nor a list of texts",
          "rules[0].to: names a storage that is not among storages",
          "rules[1]: has no conditions, so the rules after it are never reached"]),
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
