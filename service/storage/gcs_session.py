"""The temporary objects of one upload to Google Cloud Storage: their names, their tree, their end.

A session is a folder with a marker and the parts in it. Names are made of what the objects hold, so a call
that is repeated finds its own work and nothing else. All of them are of the class STANDARD, which has no
least time of storing.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self, TypeVar

from awscrt.checksums import combine_crc32c

from service.enduring import all_of
from service.errors import NameTaken, StorageUnavailable, UploadLost
from service.model import Checksum, Part
from service.storage.gcs_api import GcsApi, GcsObject
from service.storage.gcs_errors import Kept

PARTS_FOLDER = ".dyte-archiver-parts"
STANDARD = "STANDARD"

_MARKER = "/session"
_COMPOSED = 32  # the most that one call takes
_AT_ONCE = 8

_T = TypeVar("_T")
_U = TypeVar("_U")


class GcsSession:
    """The folder of one upload. Methods raise the families of :class:`~service.errors.StorageError`."""

    def __init__(self, api: GcsApi, folder: str) -> None:
        self._api = api
        self._folder = folder

    @classmethod
    def of(cls, api: GcsApi, prefix: str, key: str, upload_id: str) -> Self:
        """The session ``upload_id`` for ``key`` in the storage's folder ``prefix``."""
        return cls(api, _sessions(prefix, key) + upload_id)

    @staticmethod
    async def all_of(api: GcsApi, prefix: str, key: str) -> list[str]:
        """The ids of all sessions for exactly this key, also of those whose marker is gone."""
        sessions = _sessions(prefix, key)
        found = await api.below(sessions)
        return list(dict.fromkeys(each.name.removeprefix(sessions).partition("/")[0] for each in found))

    async def begin(self, metadata: Mapping[str, str]) -> None:
        """Put the marker there. It gets no class, and so the one that is the bucket's default."""
        await self._api.insert(self._folder + _MARKER, memoryview(b""), 0, metadata=dict(metadata))

    async def marker(self) -> GcsObject:
        """The marker. Raises ``UploadLost``."""
        found = await self._api.find(self._folder + _MARKER)
        if found is None:
            raise UploadLost("its session is gone")
        return found

    async def store(self, number: int, body: memoryview, checksum: Checksum) -> str:
        """Store a part, if a former try has not; returns its receipt, the object's generation."""
        name = self._name(number, checksum)
        try:
            made = await self._api.insert(name, body, checksum.crc32c, storageClass=STANDARD)
        except NameTaken:
            made = await self._former(name)
        await self._api.check(made, len(body), checksum.crc32c)
        return made.generation

    async def confirm(self, parts: Sequence[Part]) -> frozenset[int]:
        """The numbers of those parts that the folder lists as their receipts say. Raises ``UploadLost``."""
        found = {each.name: each for each in await self._api.below(self._folder + "/")}
        if self._folder + _MARKER not in found:
            raise UploadLost("its session is gone")

        def is_there(source: GcsObject) -> bool:
            there = found.get(source.name)
            return there is not None and (there.size, there.crc32c, there.generation) == (
                source.size,
                source.crc32c,
                source.generation,
            )

        return frozenset(part.number for part in parts if is_there(self._source(part)))

    async def joined(self, parts: Sequence[Part]) -> list[GcsObject]:
        """The parts as so few objects that one call takes them; no more of them joined than that needs.

        Raises ``ObjectMissing`` if a part is gone.
        """
        nodes = [self._source(part) for part in parts]
        level = 0
        while len(nodes) > _COMPOSED:
            level += 1
            named = [(f"{level}-{index:03}", group) for index, group in enumerate(_groups(nodes), 1)]
            nodes = await _each(named, lambda each: self._join(*each))
        return nodes

    async def whole(self, nodes: Sequence[GcsObject]) -> GcsObject:
        """What :meth:`joined` gave, as one temporary object."""
        return await self._join("whole", nodes)

    async def sweep(self) -> None:
        """Delete everything in the folder."""
        await _sweep(self._api, await self._api.below(self._folder + "/"))

    def _name(self, number: int, checksum: Checksum) -> str:
        return f"{self._folder}/part-{number:05}-{checksum.crc64nvme:016x}-{checksum.crc32c:08x}"

    def _source(self, part: Part) -> GcsObject:
        """The part as the bucket lists it, if it is there as its receipt says."""
        name = self._name(part.number, part.checksum)
        return GcsObject(name, part.size, part.checksum.crc32c, generation=part.receipt)

    async def _join(self, label: str, sources: Sequence[GcsObject]) -> GcsObject:
        if len(sources) == 1:
            return sources[0]
        size, crc32c = 0, 0
        for source in sources:
            crc32c = combine_crc32c(crc32c, source.crc32c, source.size)
            size += source.size
        name = f"{self._folder}/join-{label}-{crc32c:08x}"
        try:
            made = await self._api.compose(name, sources, storageClass=STANDARD)
        except NameTaken:
            made = await self._former(name)
        await self._api.check(made, size, crc32c)
        return made

    async def _former(self, name: str) -> GcsObject:
        found = await self._api.find(name)
        if found is None:
            raise StorageUnavailable("an object was there and is not there")
        return found


def _groups(nodes: Sequence[GcsObject]) -> Iterator[Sequence[GcsObject]]:
    """Runs of up to 32, and single ones as soon as no more than 32 are left."""
    surplus, at = len(nodes) - _COMPOSED, 0
    while at < len(nodes):
        group = nodes[at : at + min(_COMPOSED, surplus + 1)]
        yield group
        surplus, at = surplus - (len(group) - 1), at + len(group)


def _sessions(prefix: str, key: str) -> str:
    """What the folders of exactly this key's sessions begin with."""
    return f"{prefix}{PARTS_FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:32]}-"


async def _sweep(api: GcsApi, found: Sequence[GcsObject]) -> None:
    """Delete temporary objects, the markers last: by them the rest is found again.

    What a retention policy or a hold of the bucket keeps is left: it hides nothing.
    """

    async def delete(name: str) -> None:
        with contextlib.suppress(Kept):
            await api.delete(name)

    names = [each.name for each in found]
    await _each([name for name in names if not name.endswith(_MARKER)], delete)
    await _each([name for name in names if name.endswith(_MARKER)], delete)


async def _each(items: Iterable[_T], work: Callable[[_T], Awaitable[_U]]) -> list[_U]:
    """The results of ``work`` for each item, several at once. The first failure ends the others."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: _T) -> _U:
        async with gate:
            return await work(item)

    return await all_of(one(item) for item in items)
