"""What every type of ``storage_config`` shares: how blanks, unknown fields and the folder are taken."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_DOCUMENTED = {
    "type", "access_key", "secret", "secret_key", "bucket", "region", "path", "host", "port", "username",
    "password", "private_key", "auth_method", "account_id",
}  # fmt: skip


class Config(BaseModel):
    """A ``storage_config``, frozen. A blank field is a missing one; a field of another type is let pass.

    An unknown field is a fault: most often it is a slip of the pen, and what it should do is not done.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_does_not_apply(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = set(cls.model_fields) | {"secret_key"}
        return {
            name: value
            for name, value in given.items()
            if not (isinstance(value, str) and not value.strip()) and value is not None
            if name in known or name not in _DOCUMENTED
        }


class ObjectLock(BaseModel):
    """How long what was archived can be neither changed nor deleted: ``days`` from its storing, or ``until``.

    Under ``COMPLIANCE`` nobody can shorten it, under ``GOVERNANCE`` those whom the store lets. The most that
    S3 takes for a default retention is 36,500 days; more is a slip of the pen elsewhere too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int | None = Field(None, ge=1, le=36_500, strict=True)
    until: datetime | None = None

    @field_validator("mode", mode="before")
    @classmethod
    def _any_case(cls, given: object) -> object:
        return given.upper() if isinstance(given, str) else given

    @field_validator("until", mode="before")
    @classmethod
    def _in_utc(cls, given: object) -> object:
        if given is None:
            return None
        try:
            until = datetime.fromisoformat(str(given))
            return until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("is not an ISO 8601 time such as 2030-01-31T00:00:00Z") from None

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        if (self.days is None) == (self.until is None):
            raise ValueError("needs either days or until")
        return self

    def until_at(self, now: datetime) -> datetime:
        """When the retention of something stored ``now`` ends."""
        if self.until is not None:
            return self.until
        return now + timedelta(days=self.days or 0)


def folder(path: str) -> str:
    """A folder in a bucket without outer slashes: the root (``""``, ``"/"``) is the empty text."""
    return path.strip().strip("/")


def web_address(url: str) -> str:
    """An http or https address without a slash at its end. Raises ValueError."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("is not an http or https address")
    return url.rstrip("/")
