"""Every run of the protocol's model, within limits; and what each protection is there for."""

from dataclasses import replace

import pytest

from tests.model.protocol import FOR_EVER, Protocol
from tests.model.search import MANIFEST, STORED, TIDY, Broken, search
from tests.model.states import AUDIO, VIDEO, Limits, Rules
from tests.model.steps import WRONG_WRITE
from tests.model.store import WRONG_ABORT

LATE_AUDIO = Limits(crashes=0, audio=True)
CHANGED_AUDIO = Limits(audio=True, changes=(AUDIO,), late=0)


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(Limits(steals=2, late=0), id="lease-lost-twice-and-a-crash"),
        pytest.param(Limits(losses=1), id="lost-answer"),
        pytest.param(Limits(steals=0, orders=2, late=0), id="paused-twice-and-a-crash"),
        pytest.param(Limits(steals=0, orders=1, audio=True), id="paused-late-audio"),
        pytest.param(Limits(changes=(VIDEO,)), id="changed-video"),
        pytest.param(Limits(changes=(VIDEO,), guards_names=False), id="changed-video-names-unguarded"),
        pytest.param(Limits(audio=True), id="late-audio"),
        pytest.param(CHANGED_AUDIO, id="changed-audio"),
    ],
)
def test_whatever_happens_in_whatever_order_every_invariant_holds(limits: Limits) -> None:
    found = search(Protocol(limits=limits))
    assert not isinstance(found, Broken), f"\n{found}"
    assert found > 3_000, "the model has lost most of its runs"


@pytest.mark.parametrize(
    ("left_out", "limits", "invariant"),
    [
        pytest.param("fence", Limits(), WRONG_WRITE, id="fence"),
        pytest.param("renews_before_abort", Limits(), WRONG_ABORT, id="renews-before-abort"),
        pytest.param(
            "forgets_before_abort", Limits(changes=(VIDEO,)), WRONG_ABORT, id="forgets-before-abort"
        ),
        pytest.param("makes_good", LATE_AUDIO, MANIFEST, id="makes-good"),
        pytest.param("ends_its_beginning", Limits(), TIDY, id="ends-its-beginning"),
        pytest.param("ends_its_manifest", LATE_AUDIO, MANIFEST, id="ends-its-manifest"),
        pytest.param("looks_again", replace(LATE_AUDIO, crashes=1, steals=0), MANIFEST, id="looks-again"),
        pytest.param("lists_again", Limits(losses=1), TIDY, id="lists-again"),
        pytest.param("leaves_names", CHANGED_AUDIO, FOR_EVER, id="leaves-names"),
    ],
)
def test_without_this_protection_there_is_a_run_that_breaks_an_invariant(
    left_out: str, limits: Limits, invariant: str
) -> None:
    found = search(Protocol(Rules(**{left_out: False}), limits))
    assert isinstance(found, Broken), f"{left_out} protects from nothing that the model knows"
    assert found.invariant == invariant, f"\n{found}"


def test_a_counterexample_can_be_read() -> None:
    rules = Rules(forgets_before_abort=False)
    told = str(search(Protocol(rules, Limits(changes=(VIDEO,)))))
    assert told == (
        "NOT TRUE: an abort spares what the ledger or its holder has\n"
        "  1  claim 1 of video\n"
        "  2  claim 1 of video: load\n"
        "  3  claim 1 of video: reserve\n"
        "  4  claim 1 of video: open\n"
        "  5  claim 1 of video: begin\n"
        "  6  claim 1 of video: note begun\n"
        "  7  claim 2 of video, the lease of the one before has run out\n"
        "  8  claim 2 of video: load\n"
        "  9  the video is another file at the source\n"
        " 10  claim 2 of video: open\n"
        " 11  claim 2 of video: abort"
    )


def test_the_longest_stop_of_a_writer_that_nothing_fences_harms_the_new_owners_upload() -> None:
    found = search(Protocol(Rules(fence=False)), but=frozenset({WRONG_WRITE}))
    assert isinstance(found, Broken)
    assert found.invariant == WRONG_ABORT, f"\n{found}"


# ---- what no protocol can mend: it is told in `service.ledger.fence`

DYING = Limits(zombies_die=True)
DYING_LATE_AUDIO = replace(DYING, audio=True)


@pytest.mark.parametrize(
    ("limits", "invariant"), [(DYING, TIDY), (DYING_LATE_AUDIO, MANIFEST)], ids=["upload", "manifest"]
)
def test_a_zombie_that_dies_in_its_last_request_may_leave_an_upload_or_an_old_manifest(
    limits: Limits, invariant: str
) -> None:
    found = search(Protocol(limits=limits), but=frozenset({TIDY, MANIFEST} - {invariant}))
    assert isinstance(found, Broken)
    assert found.invariant == invariant, f"\n{found}"


def test_a_zombie_that_dies_leaves_nothing_worse() -> None:
    found = search(Protocol(limits=DYING_LATE_AUDIO), but=frozenset({TIDY, MANIFEST}))
    assert not isinstance(found, Broken), f"\n{found}"


@pytest.mark.parametrize("lack", ["guards_names", "tells_checksum"])
def test_a_small_file_that_changes_needs_a_store_that_guards_names_and_tells_checksums(lack: str) -> None:
    found = search(Protocol(limits=replace(CHANGED_AUDIO, **{lack: False})))  # type: ignore[arg-type]
    assert isinstance(found, Broken)
    assert found.invariant == STORED, f"\n{found}"
