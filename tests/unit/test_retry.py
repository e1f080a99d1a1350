"""Proves that what may help is tried again, at a decent pace, and nothing that can be had is given up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import errors
from service.errors import (
    ArchiverError,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
)
from service.retry import (
    NOTICE_KEPT_S,
    PART_ATTEMPTS,
    artifact_delay_s,
    notice_delay_s,
    part_delay_s,
    range_delay_s,
)

FAMILIES = [
    family
    for family in vars(errors).values()
    if isinstance(family, type)
    and issubclass(family, ArchiverError)
    and family is not errors.DeliveryMalformed
]
FINAL = [SourceGone, SourceRefused]

jitters = st.floats(0, 1, exclude_max=True)
every_attempt = st.one_of(st.integers(1, 100), st.integers(1, 10**9))
odd_seconds = st.one_of(st.none(), st.floats())


@pytest.mark.parametrize("family", [*FAMILIES, KeyError])
@given(attempts=every_attempt, jitter=jitters, retry_after_s=odd_seconds)
def test_nothing_is_given_up_while_the_provider_still_has_it(
    family: type[Exception], attempts: int, jitter: float, retry_after_s: float | None
) -> None:
    error = family()
    if isinstance(error, ArchiverError):
        error.retry_after_s = retry_after_s

    delay_s = artifact_delay_s(error, attempts, expired=False, jitter=jitter)

    assert delay_s is not None
    assert 0 < delay_s <= 3600


@pytest.mark.parametrize("family", [*FAMILIES, KeyError])
@given(attempts=every_attempt, jitter=jitters)
def test_only_what_the_source_itself_denies_is_given_up_when_its_time_is_over(
    family: type[Exception], attempts: int, jitter: float
) -> None:
    given_up = artifact_delay_s(family(), attempts, expired=True, jitter=jitter) is None

    assert given_up is (family in FINAL)


@pytest.mark.parametrize("family", FAMILIES)
def test_pauses_double_up_to_a_cap(family: type[ArchiverError]) -> None:
    delays = [artifact_delay_s(family(), attempts, expired=False, jitter=0.5) for attempts in range(1, 40)]

    known = [delay_s for delay_s in delays if delay_s is not None]
    assert known == sorted(known)
    assert known[0] < known[-1] <= 900
    assert all(later in {2 * earlier, known[-1]} for earlier, later in pairwise(known))


@given(attempts=every_attempt, one=jitters, other=jitters)
def test_pauses_of_what_failed_together_differ_by_up_to_half(attempts: int, one: float, other: float) -> None:
    first, second = (
        artifact_delay_s(StorageUnavailable(), attempts, expired=False, jitter=jitter)
        for jitter in (one, other)
    )

    assert first is not None
    assert second is not None
    assert 0.5 <= first / second <= 2
    assert (first < second) == (one < other) or first == pytest.approx(second)


@pytest.mark.parametrize("family", [SourceUnavailable, StorageThrottled])
def test_an_artifact_waits_for_as_long_as_it_is_asked_to(family: type[ArchiverError]) -> None:
    error = family(retry_after_s=1234)

    assert artifact_delay_s(error, 1, expired=False, jitter=0.5) == 1234


@given(attempts=st.integers(1, PART_ATTEMPTS - 1), jitter=jitters, retry_after_s=odd_seconds)
def test_a_request_is_sent_again_soon(attempts: int, jitter: float, retry_after_s: float | None) -> None:
    error = StorageThrottled(retry_after_s=retry_after_s)

    for delay_s in (
        part_delay_s(error, attempts, jitter=jitter),
        range_delay_s(attempts, jitter=jitter, retry_after_s=retry_after_s),
    ):
        assert delay_s is not None
        assert 0 < delay_s <= 60


def test_a_request_waits_for_as_long_as_it_is_asked_to() -> None:
    assert part_delay_s(StorageThrottled(retry_after_s=30), 1, jitter=0.5) == 30
    assert range_delay_s(1, jitter=0.5, retry_after_s=30) == 30


@given(attempts=st.integers(PART_ATTEMPTS, 10**9), jitter=jitters)
def test_a_request_that_failed_often_enough_fails_its_artifact(attempts: int, jitter: float) -> None:
    assert part_delay_s(StorageUnavailable(), attempts, jitter=jitter) is None
    assert range_delay_s(attempts, jitter=jitter) is None


@pytest.mark.parametrize("family", [*FAMILIES, KeyError])
def test_only_a_storage_that_is_unavailable_is_asked_again(family: type[Exception]) -> None:
    again = part_delay_s(family(), 1, jitter=0.5) is not None

    assert again is issubclass(family, StorageUnavailable)


def test_a_refusal_waits_longer_than_an_outage() -> None:
    refused = artifact_delay_s(StorageRefused(), 1, expired=False, jitter=0.0)
    outage = artifact_delay_s(StorageUnavailable(), 1, expired=False, jitter=0.9)

    assert refused is not None
    assert outage is not None
    assert refused > outage


def test_a_notice_is_tried_at_once_a_few_times_and_then_once_an_hour() -> None:
    error = errors.NoticeNotTaken()
    delays = [notice_delay_s(error, attempts, age_s=0, jitter=0.999) or 0 for attempts in range(1, 20)]
    assert [round(delay) for delay in delays[:4]] == [5, 10, 20, 40]
    assert delays[-1] == pytest.approx(3600, abs=5)


@given(
    attempts=every_attempt,
    jitter=jitters,
    age_s=st.floats(0, 2 * NOTICE_KEPT_S),
    retry_after_s=st.one_of(st.none(), st.floats(0, 10**9)),
)
def test_a_notice_is_tried_again_for_three_days_whatever_is_asked_for(
    attempts: int, jitter: float, age_s: float, retry_after_s: float | None
) -> None:
    error = errors.NoticeNotTaken(retry_after_s=retry_after_s)
    delay_s = notice_delay_s(error, attempts, age_s=age_s, jitter=jitter)
    assert (delay_s is None) == (age_s >= NOTICE_KEPT_S)
    if delay_s is not None:
        # Each has a last try within an hour of the end.
        assert delay_s > 0
        assert age_s + delay_s <= NOTICE_KEPT_S + 3600
        assert delay_s >= min(retry_after_s or 0, NOTICE_KEPT_S - age_s)


@given(attempts=every_attempt, jitter=jitters)
def test_a_notice_that_is_not_wanted_is_not_sent_again(attempts: int, jitter: float) -> None:
    assert notice_delay_s(errors.NoticeUnwanted(), attempts, age_s=0, jitter=jitter) is None
