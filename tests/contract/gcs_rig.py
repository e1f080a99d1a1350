"""A storage before a Google of its own, for tests that change what Google does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from service.model import Part, Stored, Upload
from service.storage import Storage
from service.storage.gcs_session import PARTS_FOLDER
from service.transfer import checksum_of, whole_checksum
from tests.contract.place_gcs import gcs_place
from tests.contract.places import File, Place, read
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import GoogleFront

SMALL = File(10)
UPLOAD = Upload("0123456789abcdef", SMALL.key, 6, 18, SMALL.attributes)

ASKING: Mapping[str, Callable[[Storage], Awaitable[Any]]] = {
    "begin": SMALL.begin,
    "put_part": lambda storage: SMALL.send(storage, UPLOAD, 1),
    "put": SMALL.put,
    "confirm": lambda storage: storage.confirm(UPLOAD, []),
    "complete": lambda storage: storage.complete(UPLOAD, [], SMALL.checksum),
    "abort": lambda storage: storage.abort(UPLOAD),
    "uploads": lambda storage: storage.uploads(SMALL.key),
    "stat": lambda storage: storage.stat(SMALL.key),
    "read": lambda storage: read(storage, SMALL.key),
    "remove": lambda storage: storage.remove(SMALL.key),
}


@dataclass(frozen=True)
class Rig:
    """A storage before a Google of its own."""

    storage: Storage
    google: GoogleFront
    place: Place

    async def sent(self, count: int = 3, *, key: str = "call.mp4") -> tuple[Upload, list[Part]]:
        """A file in `count` parts of six bytes, all stored but not yet complete."""
        upload = Upload(await self.storage.begin(key, SMALL.attributes), key, 6, 6 * count, SMALL.attributes)
        gate = asyncio.Semaphore(32)

        async def send(number: int) -> Part:
            body = memoryview(f"{number:06}".encode())
            async with gate:
                receipt = await self.storage.put_part(upload, number, body, checksum_of(body))
            return Part(number, len(body), checksum_of(body), receipt)

        return upload, list(await asyncio.gather(*(send(number) for number in range(1, count + 1))))

    async def complete(self, upload: Upload, parts: list[Part]) -> Stored:
        """Make it one file."""
        return await self.storage.complete(upload, parts, whole_checksum(parts))

    async def reads(self, count: int, *, key: str = "call.mp4") -> bool:
        """Whether the file of so many parts is what lies there."""
        return await read(self.storage, key) == b"".join(b"%06d" % number for number in range(1, count + 1))

    def found(self, key: str = "call.mp4") -> dict[str, Any]:
        """What Google keeps of an object."""
        config = self.place.config
        return self.google.told[config["bucket"], f"{config['path']}/{key}"]


@asynccontextmanager
async def rig(server: FakeGcs, **fields: Any) -> AsyncIterator[Rig]:
    """A storage whose config has `fields` beside the usual ones."""
    async with GoogleFront(server.endpoint_url) as google:
        place = gcs_place(server, google, **fields)
        async with place.open() as storage:
            yield Rig(storage, google, place)


def final(name: str) -> bool:
    """Whether an object is a file, not something temporary."""
    return PARTS_FOLDER not in name
