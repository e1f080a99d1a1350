"""A contestant: stream a link into S3 with aiohttp and aioboto3's `upload_fileobj`, as its pages suggest.

Run as a program of its own: link, endpoint, bucket, key, part size in MiB, parts in flight.
"""

import sys
from typing import Any

import aioboto3
import aiohttp
import uvloop
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]  # boto3 ships no types


async def upload(
    link: str, endpoint_url: str, bucket: str, key: str, part_size_mib: str, in_flight: str
) -> None:
    """Credentials, region and trust come from the environment."""
    config = TransferConfig(multipart_chunksize=int(part_size_mib) << 20, max_concurrency=int(in_flight))
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as source,
        source.get(link, raise_for_status=True) as response,
        aioboto3.Session().client("s3", endpoint_url=endpoint_url) as storage,
    ):
        body: Any = response.content  # its read() is awaited: more than the stubs know
        await storage.upload_fileobj(body, bucket, key, Config=config)


if __name__ == "__main__":
    uvloop.run(upload(*sys.argv[1:]))
