"""What the API is asked, as it may be."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.choices import Order, Sort, Standing
from service.ledger.browse import MOST


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("is not a text")
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


_Moment = Annotated[
    float, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


_TEXT = r"^[^\x00-\x1f\x7f]*$"
"""Without controls: PostgreSQL takes no NUL, and nothing is called so."""


class Asked(BaseModel):
    """The parameters of the list of recordings."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=_TEXT,
        description="An id of the recording, its meeting or session, or part of its title or file's name",
    )
    standing: Standing | None = Field(None, description="Only those of which a file stands there")
    app: str | None = Field(None, min_length=1, max_length=200, pattern=_TEXT)
    since: _Moment | None = Field(None, description="First heard of then or later")
    until: _Moment | None = Field(None, description="First heard of before")
    sort: Sort | None = Field(
        None,
        description="`-received_at` (newest first, the default), `received_at`, or `expires_at`: by the "
        "provider's deadline, of what is open, `stored`, `expired` or `cancelled`",
    )
    cursor: str | None = Field(None, min_length=1, max_length=2000)
    limit: int = Field(50, ge=1, le=MOST)


class Nothing(BaseModel):
    """The parameters of what has none."""

    model_config = ConfigDict(extra="forbid")


class Given(BaseModel):
    """An order."""

    model_config = ConfigDict(extra="forbid")

    order: Order
    target: str = Field(
        min_length=1,
        max_length=700,
        pattern=_TEXT,
        description="The id of a recording or session, or of one file",
    )
