"""How fast copies move, from how far the ledger had them at each look."""

from collections import deque

_WINDOW_S = 30.0
_AT_LEAST_S = 0.9


class Rates:
    """Bytes a second of each copy, over the last half minute, as often as somebody looked.

    Parts are noted when they are whole: over a shorter time slow copies would seem to stand still.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None], deque[tuple[float, int]]] = {}

    def see(self, copy: tuple[str, str | None], moved: int, *, at: float) -> float | None:
        """It has ``moved`` so many bytes ``at`` a moment; returns its rate, None at the first look."""
        looks = self._seen.setdefault(copy, deque())
        if looks and (looks[-1][1] > moved or at - looks[-1][0] > _WINDOW_S):
            looks.clear()  # begun anew, or nobody looked meanwhile
        if not looks or at - looks[-1][0] >= _AT_LEAST_S:
            looks.append((at, moved))
        while len(looks) > 2 and at - looks[1][0] >= _WINDOW_S:
            looks.popleft()
        elapsed = at - looks[0][0]
        return (moved - looks[0][1]) / elapsed if elapsed >= _AT_LEAST_S else None

    def forget(self, *, before: float) -> None:
        """Drop what was last seen before a moment."""
        for copy in [copy for copy, looks in self._seen.items() if looks[-1][0] < before]:
            del self._seen[copy]
