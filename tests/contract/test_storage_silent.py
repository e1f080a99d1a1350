"""A store that takes no more of a body and says nothing: it hangs, or the line to it is cut."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.errors import StorageUnavailable
from service.model import Upload
from service.storage import Storage, open_storage, parse_storage_config, s3
from tests.contract.places import File
from tests.doubles.object_store import S3Endpoint
from tests.doubles.store_proxy import CONTINUE
from tests.doubles.wire import Listener, read_head

LARGE = File(32 * 1024 * 1024)
"""More than both ends' systems take for a process that does not read."""
UPLOAD = Upload("id", LARGE.key, LARGE.size, LARGE.size, LARGE.attributes)
WITHIN_S = 1.0


class Hanging(Listener):
    """Reads what is asked, and not what comes with it; `lets_send`: but says that it may come."""

    lets_send = False

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request's head, and wait."""
        await read_head(reader)
        if self.lets_send:
            writer.write(CONTINUE)
        await asyncio.Event().wait()


@pytest.mark.parametrize("lets_send", [True, False], ids=["the body is let come", "nothing is answered"])
@pytest.mark.parametrize(
    "sending",
    [
        lambda storage: storage.put_part(UPLOAD, 1, LARGE.body, LARGE.checksum),
        lambda storage: LARGE.put(storage, replace=True),
    ],
    ids=["put_part", "put"],
)
async def test_what_the_store_does_not_take_fails_in_time(
    monkeypatch: pytest.MonkeyPatch, sending: Callable[[Storage], Awaitable[Any]], *, lets_send: bool
) -> None:
    monkeypatch.setattr(s3, "_PATIENCE_S", WITHIN_S)
    monkeypatch.setattr(s3, "_SLOWEST", LARGE.size / WITHIN_S)
    async with Hanging() as hanging:
        hanging.lets_send = lets_send
        config = S3Endpoint().storage_config("bucket", endpoint_url=hanging.base_url)
        storage = await open_storage(parse_storage_config(config))
        try:
            began_at = time.monotonic()
            async with asyncio.timeout(30):
                with pytest.raises(StorageUnavailable):
                    await sending(storage)
            assert time.monotonic() - began_at >= WITHIN_S
        finally:
            await storage.close()
