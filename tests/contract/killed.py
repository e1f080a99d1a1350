"""A process of its own that stores a file in parts until it is killed: `python -m tests.contract.killed`."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service.model import Checksum, Part, Upload
from service.storage import open_storage, parse_storage_config
from tests.contract.places import PART, File

ROOT = Path(__file__).resolve().parents[2]


async def killed_while_sending(config: Mapping[str, Any], file: File) -> tuple[Upload, list[Part]]:
    """Have another process store parts of `file`, and kill it while it sends the third.

    Returns its upload, and the parts that it knew to be stored.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        given = {"config": dict(config), "file": asdict(file)}
        process.stdin.write(json.dumps(given, default=str).encode() + b"\n")
        upload_id = json.loads(await process.stdout.readline())
        told = [json.loads(await process.stdout.readline()) for _ in range(2)]
    finally:
        process.kill()
        await process.communicate()
    parts = [Part(**fields | {"checksum": Checksum(**fields["checksum"])}) for fields in told]
    return Upload(upload_id, file.key, PART, file.size, file.attributes), parts


async def _store_parts(given: Any) -> None:
    storage, file = await open_storage(parse_storage_config(given["config"])), File(**given["file"])
    upload = await file.begin(storage)
    print(json.dumps(upload.id), flush=True)  # noqa: T201 - told to the process that kills this one
    while True:
        for number in file.numbers:
            part = await file.send(storage, upload, number)
            print(json.dumps(asdict(part)), flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    asyncio.run(_store_parts(json.loads(sys.stdin.readline())))
