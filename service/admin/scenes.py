"""The parts of pages that change while one looks at them, rendered from the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from markupsafe import Markup

from service.admin.look import Look
from service.admin.offers import offered
from service.admin.rates import Rates
from service.admin.story import story
from service.errors import NotInLedger
from service.ledger import Database
from service.ledger.board import ARRIVING, board
from service.ledger.browse import Found, named
from service.ledger.life import Life, life
from service.ledger.overview import Line
from service.model import State

_LINES: Final = 10
_MOVING_LINES: Final = 50
_KEPT_S = 120.0


class Scene(StrEnum):
    """What is looked at."""

    OVERVIEW = "overview"
    ROWS = "rows"
    """Some recordings of the list."""
    RECORDING = "recording"


@dataclass(frozen=True, slots=True)
class Subject:
    """A scene, and whose it is."""

    scene: Scene
    ids: tuple[str, ...] = ()


class Scenes:
    """Renders the parts of each scene, by the ids of the elements that they fill."""

    def __init__(self, database: Database, look: Look, *, takes_orders: bool) -> None:
        self._database = database
        self._look = look
        self._takes_orders = takes_orders
        self._rates = Rates()

    async def parts(self, subject: Subject) -> dict[str, Markup]:
        """The parts of a scene now.

        Raises :class:`~service.errors.NotInLedger`, :class:`~service.errors.LedgerUnavailable`.
        """
        match subject.scene:
            case Scene.OVERVIEW:
                return await self._overview()
            case Scene.ROWS:
                return self.rows(await named(self._database, subject.ids))
            case Scene.RECORDING:
                return self.recording(await self.life(subject.ids[0]))

    async def life(self, recording_id: str) -> Life:
        """A recording's life. Raises as :meth:`parts` does."""
        if "\0" in recording_id:
            raise NotInLedger(recording_id)  # a database would not even be asked that
        return await life(self._database, recording_id)

    def rows(self, found: list[Found]) -> dict[str, Markup]:
        """The rows of a list."""
        return {"rows": self._look.part("rows", root="./", found=found)}

    def recording(self, shown: Life) -> dict[str, Markup]:
        """All of one recording."""
        rates = {
            (file.id, place.storage): self._rates.see((file.id, place.storage), place.moved, at=shown.now)
            for file in shown.files
            if file.state is State.MOVING
            for place in file.places
        }
        orders = {}
        if self._takes_orders:
            orders = {file.id: offered([file], now=shown.now) for file in shown.files}
        values = {
            "root": "../",
            "life": shown,
            "recording": shown.found.recording,
            "rates": rates,
            "offers": orders,
            "offers_of_all": offered(shown.files, now=shown.now) if self._takes_orders else [],
        }
        return {
            "head": self._look.part("head", **values),
            "files": self._look.part("files", **values),
            "story": self._look.part("story", entries=story(shown), now=shown.now),
        }

    async def _overview(self) -> dict[str, Markup]:
        shown = await board(self._database, limit=_LINES, moving_limit=_MOVING_LINES)
        moving = [line for line in shown.moving if line.state is State.MOVING]
        rates = self._rates_of(moving, at=shown.now)
        known = [rate for rate in rates.values() if rate is not None]
        lately = [line for line in shown.overview.lines if line.state is State.ARCHIVED]
        arriving = sum(shown.overview.statuses.get(status, 0) for status in ARRIVING)
        values: Mapping[str, Any] = {
            "root": "./",
            "board": shown,
            "overview": shown.overview,
            "backlog": shown.backlog,
            "arriving": arriving,
            "moving": moving,
            "rates": rates,
            "rate": sum(known) if known else None,
            "lately": lately[:5],
        }
        return {name: self._look.part(name, **values) for name in ("summary", "moving", "trouble", "lately")}

    def _rates_of(self, lines: list[Line], *, at: float) -> dict[tuple[str, str | None], float | None]:
        self._rates.forget(before=at - _KEPT_S)
        return {
            copy: self._rates.see(copy, line.moved, at=at)
            for line in lines
            for copy in [(line.artifact_id, line.storage)]
        }
