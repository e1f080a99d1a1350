"""No more requests than the provider allows, whoever in the process makes them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class Pace:
    """At most ``limit`` requests in any ``window_s``, for all users of one provider in the process.

    The recordings API is limited to about 1,000 requests in 50 s (the recording guides of both providers);
    the default leaves the rest to whoever else uses the same credentials.
    """

    def __init__(
        self,
        *,
        limit: int = 900,
        window_s: float = 50.0,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``clock`` gives seconds that never go back; ``sleep`` waits for so many of them."""
        self._window_s = window_s
        self._clock = clock
        self._sleep = sleep
        self._queue = asyncio.Lock()
        # The moments of the last requests: when the oldest has left the window, one more may go.
        self._turns: deque[float] = deque(maxlen=limit)

    async def turn(self) -> None:
        """Return when one more request may be made; first come, first served."""
        async with self._queue:
            while len(self._turns) == self._turns.maxlen:
                wait_s = self._turns[0] + self._window_s - self._clock()
                if wait_s <= 0:
                    break
                await self._sleep(wait_s)
            self._turns.append(self._clock())
