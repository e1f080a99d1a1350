"""What a person chooses from, on the command line as in the API: enums alone, which cost nothing to load."""

from enum import StrEnum


class Role(StrEnum):
    """What a process does: receive deliveries, archive, or both."""

    ALL = "all"
    RECEIVER = "receiver"
    WORKER = "worker"


class Standing(StrEnum):
    """Where a recording stands, all its files together; the first of these that holds."""

    FAILING = "failing"
    """A file's last try failed, and it is tried again."""
    MOVING = "moving"
    WAITING = "waiting"
    PAUSED = "paused"
    """Somebody said to leave a file alone."""
    STORED = "stored"
    """All is in its storage, a manifest is not."""
    EXPIRED = "expired"
    """A file is gone at the provider, and was never stored."""
    CANCELLED = "cancelled"
    """Somebody gave a file up."""
    ARCHIVED = "archived"
    ERRORED = "errored"
    """The provider could not record it: there is no file."""
    EXPECTED = "expected"
    """Its files are still to come."""


class Sort(StrEnum):
    """The order of a list."""

    NEWEST = "-received_at"
    OLDEST = "received_at"
    DEADLINE = "expires_at"
    """The soonest first, of what a file is open or was lost of."""


class Order(StrEnum):
    """What can be asked for; each is told of a recording's or session's files, or of one of them."""

    RETRY = "retry"
    """Try now what waits, failed, expired, or was paused or cancelled."""
    RENEW = "renew"
    """Ask the provider for another link, and try now."""
    PAUSE = "pause"
    """Leave it alone until it is resumed; what was moved is kept. The provider's time goes on."""
    RESUME = "resume"
    """Go on with what was paused."""
    CANCEL = "cancel"
    """Give up what is not stored: it is not archived, unless it is retried."""
    VERIFY = "verify"
    """Have a worker read back what is stored, and compare it with what was archived."""


class Format(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"
    """A JSON document a line."""
