"""A copy that is stored already, read as the source of another when the provider has no file any more."""

from collections.abc import AsyncGenerator

from service.errors import SourceUnavailable, StorageError
from service.source import Identity
from service.storage import Storage


class StoredCopy:
    """An object, as one stream; it stands where :class:`~service.source.Opened` does."""

    ranged = False
    end_is_certain = True
    given_bytes = 0
    """Of the source."""

    def __init__(self, storage: Storage, key: str, size: int | None) -> None:
        self._storage = storage
        self._key = key
        self.identity = Identity(size, None)

    async def stream(self, size: int) -> AsyncGenerator[memoryview, None]:
        """The whole object in pieces of at most ``size`` bytes. Raises :class:`SourceUnavailable`."""
        try:
            async for chunk in self._storage.read(self._key):
                view = memoryview(chunk)
                for start in range(0, len(view), size):
                    yield view[start : start + size]
        except StorageError as error:
            raise SourceUnavailable(f"nor does the copy stored already: {error}", mend=error.mend) from error

    def close(self) -> None:
        """There is nothing to close before the stream, and the stream closes itself."""
