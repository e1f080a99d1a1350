"""Whether and when to try again: pure functions from an error to seconds, or None."""

from service.errors import (
    ArchiverError,
    NoticeUnwanted,
    SourceChanged,
    SourceGone,
    SourceRefused,
    SourceUntrusted,
    StorageRefused,
    StorageUnavailable,
    UploadLost,
)

PART_ATTEMPTS = 5
"""How often one request for one part is tried before the artifact goes back to the ledger."""

NOTICE_KEPT_S = 3 * 24 * 3600.0
"""How long a notice is tried: what nobody takes for so long is not waited for any more."""
_NOTICE_CAP_S = 3600.0


def artifact_delay_s(error: Exception, attempts: int, *, expired: bool, jitter: float) -> float | None:
    """Seconds until the artifact is tried again after ``attempts`` failures (1 or more), or None: give it up.

    None only if the source itself says that the file is gone or its link refused, and the provider's own
    time limit has passed (``expired``). ``jitter`` is random in [0, 1).
    """
    retry_after_s = error.retry_after_s if isinstance(error, ArchiverError) else None
    match error:
        case SourceGone() | SourceRefused():
            if expired:
                return None
            first_s, cap_s = 15.0, 900.0
        case StorageRefused() | SourceUntrusted():
            first_s, cap_s = 15.0, 300.0
        case SourceChanged() | UploadLost():
            first_s, cap_s = 1.0, 300.0
        case _:
            first_s, cap_s = 2.0, 300.0
    return max(_backoff_s(first_s, cap_s, attempts, jitter), min(retry_after_s or 0.0, 3600.0))


def part_delay_s(error: Exception, attempts: int, *, jitter: float) -> float | None:
    """Seconds until one request to the storage is sent again, or None: let the artifact fail."""
    if not isinstance(error, StorageUnavailable) or attempts >= PART_ATTEMPTS:
        return None
    return max(_backoff_s(0.25, 10.0, attempts, jitter), min(error.retry_after_s or 0.0, 60.0))


def storage_pause_s(failures: int) -> float:
    """How long a storage in which ``failures`` files failed in a row is not tried with others."""
    return float(min(30.0, 2.0 ** min(failures, 10)))


def range_delay_s(attempts: int, *, jitter: float, retry_after_s: float | None = None) -> float | None:
    """Seconds until a dropped range goes on at its byte, after ``attempts`` vain tries; or None."""
    if attempts >= PART_ATTEMPTS:
        return None
    return max(_backoff_s(0.25, 10.0, attempts, jitter), min(retry_after_s or 0.0, 60.0))


def notice_delay_s(error: ArchiverError, attempts: int, *, age_s: float, jitter: float) -> float | None:
    """Seconds until a notice of this age is sent again after ``attempts`` (1 or more), or None: give it up.

    Given up where the receiver wants it no more, and after :data:`NOTICE_KEPT_S`.
    """
    if isinstance(error, NoticeUnwanted) or age_s >= NOTICE_KEPT_S:
        return None
    delay_s = _backoff_s(5.0, _NOTICE_CAP_S, attempts, jitter)
    # However long it asks for, there is a last try in time.
    return min(max(delay_s, error.retry_after_s or 0.0), max(NOTICE_KEPT_S - age_s, _NOTICE_CAP_S))


def _backoff_s(first_s: float, cap_s: float, attempts: int, jitter: float) -> float:
    # Half of the delay is fixed, half random: pods that failed together do not come back together.
    delay_s: float = min(cap_s, first_s * 2.0 ** min(attempts - 1, 20))
    return delay_s * (0.5 + jitter / 2)
