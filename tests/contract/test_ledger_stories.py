"""Proves that however tries go and wherever workers stop, all ends archived or expired, on both databases."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Claim, Kind, State
from tests.contract.ledgers import FAR, HERE, NOW, THERE, Ledger, emptied, news, store

KINDS = (Kind.VIDEO, Kind.AUDIO)
END = object()


@dataclass(frozen=True)
class Fate:
    """How one try goes: which storages take the file, if the source gives it, and when the worker stops."""

    taken_by: frozenset[str]
    source: Literal["gives it", "fails", "has none"]
    steps: int


@dataclass(frozen=True)
class Round:
    """A fate for each kind, whose link may be renewed before, and whose turns at going on."""

    fates: tuple[Fate, Fate]
    renewed: tuple[bool, bool]
    turns: tuple[int, ...]


WELL = Fate(frozenset({HERE, THERE}), "gives it", 99)
ALL_WELL = Round((WELL, WELL), (False, False), ())

fates = st.builds(
    Fate,
    st.frozensets(st.sampled_from([HERE, THERE])),
    st.sampled_from(["gives it", "gives it", "fails", "has none"]),
    st.integers(1, 9) | st.just(99),
)
rounds = st.builds(
    Round,
    st.tuples(fates, fates),
    st.tuples(st.booleans(), st.booleans()),
    st.lists(st.integers(0, 1), max_size=20).map(tuple),
)
routes = st.sampled_from([(HERE,), (THERE,), (HERE, THERE)])


@dataclass
class Story:
    """A recording whose artifacts go to `routes`, and what the manifests in the storages say.

    By storage: the ids of what is stored, and the kinds that expired.
    """

    ledger: Ledger
    routes: Mapping[Kind, tuple[str, ...]]
    written: dict[str, tuple[set[str], set[Kind]]] = field(default_factory=dict)

    async def go_on(self, round_: Round, number: int) -> bool:
        """Let all workers stop, and others claim what is due and try it; False if nothing was due."""
        for kind, renewed in zip(KINDS, round_.renewed, strict=True):
            if renewed:
                link = f"https://provider.example/{number}"
                await self.ledger.hear(news(kind, link=link, expires_at=FAR + number))
        await self.ledger.lapse()
        claims = await self.ledger.work().claim(9)
        fates = dict(zip(KINDS, round_.fates, strict=True))
        tries = [
            (self.tried(claim, fates[claim.artifact.kind]), iter(range(fates[claim.artifact.kind].steps)))
            for claim in claims
        ]
        turns = iter(round_.turns)
        while tries:
            tried, steps = going_on = tries[next(turns, 0) % len(tries)]
            if next(steps, None) is None or await anext(tried, END) is END:
                await tried.aclose()
                tries.remove(going_on)
        return bool(claims)

    async def tried(self, claim: Claim, fate: Fate) -> AsyncGenerator[None]:
        """A try as a worker makes it, a step at a time."""
        work = self.ledger.work()
        stored, troubles = {copy for copy in claim.copies if copy.state is not State.WAITING}, {}
        if claim.state is not State.EXPIRED:
            if not claim.copies:
                await work.route(claim, self.routes[claim.artifact.kind])
                claim = await work.current(claim)
                yield
            for copy in claim.copies if fate.source == "gives it" else ():
                if copy.state is State.WAITING and copy.storage in fate.taken_by:
                    await store(self.ledger, claim, copy.storage)
                    stored.add(copy)
                    yield
                elif copy.state is State.WAITING:
                    troubles[copy.storage] = NOW
        is_gone = claim.state is State.EXPIRED or (fate.source == "has none" and not stored)
        ready = await work.settle(claim, troubles, expired=is_gone)
        yield
        for storage in ready:
            async for _ in self.manifest(claim, storage):
                yield
        if fate.source == "fails" and not is_gone:
            await work.try_later(claim, NOW)
        else:
            await work.finish(claim)

    async def manifest(self, claim: Claim, storage: str) -> AsyncGenerator[None]:
        """Write a manifest, a step at a time."""
        for _ in range(9):
            holding = await self.ledger.view.recording(claim.artifact.recording_id, storage)
            archived, expired = holding.archived, {Kind(name) for name in holding.expired}
            ids = {found.artifact_id for found in archived}
            yield
            self.written[storage] = ids, expired
            yield
            if await self.ledger.work().manifest_written(
                claim, storage, key="manifest.json", artifact_ids=ids
            ):
                return
            yield
        raise AssertionError("the manifest never names all that is there")


@given(drawn_routes=st.tuples(routes, routes), drawn=st.lists(rounds, max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_story_ends_with_manifests_that_name_all_that_is_stored(
    ledger: Ledger, drawn_routes: tuple[tuple[str, ...], tuple[str, ...]], drawn: list[Round]
) -> None:
    await emptied(ledger)
    await ledger.hear(news(*KINDS))
    story = Story(ledger, dict(zip(KINDS, drawn_routes, strict=True)))

    for number, round_ in enumerate([*drawn, ALL_WELL, ALL_WELL], 1):
        await story.go_on(round_, number)
    assert not await story.go_on(ALL_WELL, 99), "something is still due"

    copies = await ledger.rows("copies")
    for row in await ledger.rows("artifacts"):
        its = {copy["storage"]: copy["state"] for copy in copies if copy["artifact_id"] == row["id"]}
        assert (row["owner"], row["due_at"]) == (None, None)
        if row["state"] == "archived":
            assert its == dict.fromkeys(story.routes[row["kind"]], "archived")
        else:
            assert row["state"] == "expired"
            assert set(its.values()) <= {"waiting"}
    there = {(copy["storage"], copy["artifact_id"]) for copy in copies if copy["state"] == "archived"}
    assert there == {(storage, found) for storage, (ids, _) in story.written.items() for found in ids}
    assert {row["storage"] for row in await ledger.rows("manifests")} == set(story.written)
    if drawn_routes[0] == drawn_routes[1]:
        expired = {row["kind"] for row in await ledger.rows("artifacts") if row["state"] == "expired"}
        assert [told for _, told in story.written.values()] == [expired] * len(story.written)
