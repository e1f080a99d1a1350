"""Google Cloud Storage's JSON API, as far as it is used: one bucket, one attempt a call.

Source: https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from service.errors import ObjectMissing, StorageError, StorageMismatch, StorageRefused, StorageUnavailable
from service.storage.body import PartBody
from service.storage.config import GcsConfig
from service.storage.gcs_errors import BUCKET, translate, translated
from service.storage.gcs_link import signed_link
from service.storage.gcs_token import Answer, Bearer

_CONNECTIONS = 64
_READ_SIZE = 256 * 1024
_CALL_S = 60.0
_SLOWEST_BYTES_PER_S = 64 * 1024


@dataclass(frozen=True, slots=True)
class GcsObject:
    """What the bucket tells of an object. ``crc32c`` is Google's own, of the bytes that it holds."""

    name: str
    size: int
    crc32c: int
    generation: str
    etag: str = ""
    storage_class: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_retained: bool = False
    is_held: bool = False

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """Read an object resource."""
        try:
            return cls(
                name=str(told["name"]),
                size=int(told.get("size", 0)),
                crc32c=int.from_bytes(base64.b64decode(told["crc32c"])),
                generation=str(told["generation"]),
                etag=str(told.get("etag", "")),
                storage_class=str(told.get("storageClass", "")),
                metadata=dict(told.get("metadata") or {}),
                is_retained=bool(told.get("retention")),
                is_held=bool(told.get("temporaryHold")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _strange("an object") from error


class GcsApi:
    """The calls. All raise the families of :class:`~service.errors.StorageError`."""

    def __init__(self, config: GcsConfig) -> None:
        """Raises ``SettingsError`` if the service account's key cannot be read. Nothing is asked yet."""
        self._bearer = Bearer(config.credential, self._ask)
        self._bucket = quote(config.bucket, safe="")
        self._endpoint = config.endpoint
        self._objects = f"{config.endpoint}/storage/v1/b/{self._bucket}/o"
        self._uploads = f"{config.endpoint}/upload/storage/v1/b/{self._bucket}/o"
        self._kms_key = config.kms_key_id
        self._ways: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_CALL_S, sock_connect=10, sock_read=_CALL_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "dyte-archiver"},
            auto_decompress=False,
        )

    async def insert(
        self, name: str, body: memoryview, crc32c: int, *, replace: bool = False, **resource: Any
    ) -> GcsObject:
        """Store an object whose bytes Google compares with ``crc32c``. Raises ``NameTaken``."""
        described = {"name": name, "crc32c": _base64(crc32c), **resource}
        content_type = resource.get("contentType", "application/octet-stream")
        with aiohttp.MultipartWriter("related") as parts:
            parts.append_json(described)
            parts.append_payload(PartBody(body)).headers["Content-Type"] = content_type
        # However slow the way is, it ends.
        total_s = _CALL_S + len(body) / _SLOWEST_BYTES_PER_S
        with _bucket_missing():
            told = await self._called(
                "objects.insert",
                "POST",
                self._uploads,
                params={"uploadType": "multipart", **self._encrypted(), **({} if replace else _NEW)},
                data=parts,
                timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=10, sock_read=_CALL_S),
            )
        return GcsObject.parse(told)

    async def compose(self, name: str, sources: Sequence[GcsObject], **resource: Any) -> GcsObject:
        """Make an object of up to 32 others of its class, without moving a byte.

        Raises ``NameTaken``, and ``ObjectMissing`` if a source is.
        """
        described = {
            "sourceObjects": [{"name": each.name, "generation": each.generation} for each in sources],
            "destination": resource,
        }
        return GcsObject.parse(
            await self._called(
                "objects.compose",
                "POST",
                f"{self._at(name)}/compose",
                params={**_NEW, **self._encrypted()},
                json=described,
            )
        )

    async def rewrite(self, name: str, source: GcsObject, **resource: Any) -> GcsObject:
        """Copy an object within the bucket, into another storage class. Raises ``NameTaken``.

        Google answers after a while whether it is done or not, and goes on where it is asked to.
        """
        params = {**_NEW, **self._encrypted("destinationKmsKeyName"), "sourceGeneration": source.generation}
        url = f"{self._at(source.name)}/rewriteTo/b/{self._bucket}/o/{quote(name, safe='')}"
        done = -1
        while True:
            told = await self._called("objects.rewrite", "POST", url, params=params, json=resource)
            if told.get("done"):
                return GcsObject.parse(told.get("resource") or {})
            further, token = int(told.get("totalBytesRewritten") or 0), told.get("rewriteToken")
            if further <= done or not token:
                raise StorageUnavailable("a copy within the bucket does not get on")
            done, params["rewriteToken"] = further, str(token)

    async def patch(self, found: GcsObject, **resource: Any) -> GcsObject:
        """Change what an object carries."""
        params = {"ifGenerationMatch": found.generation}
        return GcsObject.parse(
            await self._called("objects.patch", "PATCH", self._at(found.name), params=params, json=resource)
        )

    def link(self, name: str, *, valid_s: float, at: datetime) -> str | None:
        """An address of an object that is signed from ``at`` on; None without a service account's key."""
        account = self._bearer.account
        if account is None:
            return None
        return signed_link(
            account, f"{self._endpoint}/{self._bucket}/{quote(name, safe='/~')}", valid_s=valid_s, at=at
        )

    async def find(self, name: str) -> GcsObject | None:
        """What lies under a name."""
        with contextlib.suppress(ObjectMissing):
            return GcsObject.parse(await self._called("objects.get", "GET", self._at(name)))
        return None

    async def below(self, prefix: str) -> list[GcsObject]:
        """Every object whose name begins so."""
        found: list[GcsObject] = []
        params = {
            "prefix": prefix,
            "maxResults": "1000",
            "fields": "nextPageToken,items(name,size,crc32c,generation)",
        }
        while True:
            with _bucket_missing():
                page = await self._called("objects.list", "GET", self._objects, params=params)
            found += [GcsObject.parse(each) for each in page.get("items", [])]
            if not page.get("nextPageToken"):
                return found
            params["pageToken"] = page["nextPageToken"]

    async def delete(self, name: str, *, generation: str = "") -> None:
        """Delete an object, or only this generation of it. One that is gone is fine."""
        params = {"ifGenerationMatch": generation} if generation else {}
        with contextlib.suppress(ObjectMissing):
            await self._called("objects.delete", "DELETE", self._at(name), params=params)

    async def check(self, made: GcsObject, size: int, crc32c: int) -> None:
        """Delete exactly this object if it is not what was sent, and raise ``StorageMismatch``."""
        if (made.size, made.crc32c) == (size, crc32c):
            return
        with contextlib.suppress(StorageError):  # what is wrong is told in any case
            await self.delete(made.name, generation=made.generation)
        raise StorageMismatch(
            f"{made.size} bytes with CRC-32C {made.crc32c:08x} stored, {size} with {crc32c:08x} sent"
        )

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """An object's bytes. Raises ``ObjectMissing``."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_CALL_S)
        with translated():
            async with self._asked(
                "objects.get", "GET", self._at(name), params={"alt": "media"}, timeout=timeout
            ) as answer:
                async for chunk in answer.content.iter_chunked(_READ_SIZE):
                    yield chunk

    async def close(self) -> None:
        """Close every connection."""
        await self._bearer.close()
        await self._session.close()

    def _at(self, name: str) -> str:
        return f"{self._objects}/{quote(name, safe='')}"

    def _way(self, address: URL) -> Mapping[str, Any]:
        origin = address.scheme, address.host or ""
        if origin not in self._ways:
            self._ways[origin] = _proxied(*origin)
        return self._ways[origin]

    def _encrypted(self, parameter: str = "kmsKeyName") -> dict[str, str]:
        return {parameter: self._kms_key} if self._kms_key else {}

    async def _called(self, call: str, method: str, url: str, **options: Any) -> dict[str, Any]:
        with translated():
            async with self._asked(call, method, url, **options) as answer:
                body = await answer.read()
        try:
            told = json.loads(body or b"{}")
        except ValueError as error:
            raise _strange(call) from error
        if told is not None and not isinstance(told, dict):
            raise _strange(call)
        return told or {}

    @contextlib.asynccontextmanager
    async def _asked(
        self, call: str, method: str, url: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request, if it is a success; else its family is raised."""
        headers = await self._bearer.headers()
        address = URL(url, encoded=True).extend_query(options.pop("params", {}))
        async with self._session.request(
            method, address, headers=headers, allow_redirects=False, **self._way(address), **options
        ) as answer:
            if not answer.ok or answer.status >= 300:
                if answer.status == 401:
                    self._bearer.forget(headers)
                raise translate(call, answer.status, answer.headers, await answer.read())
            yield answer

    async def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """What the token's server is asked goes the same way, without a token."""
        address = URL(url)
        with translated():
            async with self._session.request(
                method, address, data=body, headers=headers, allow_redirects=False, **self._way(address)
            ) as answer:
                return Answer(answer.status, answer.headers, await answer.read())


_NEW = {"ifGenerationMatch": "0"}
"""Only where nothing lies under the name (https://cloud.google.com/storage/docs/request-preconditions)."""


@contextlib.contextmanager
def _bucket_missing() -> Iterator[None]:
    """Where no object is asked for, what is missing is the bucket."""
    try:
        yield
    except ObjectMissing as error:
        raise StorageRefused(error.detail, mend=BUCKET) from error


def _strange(call: str) -> StorageRefused:
    return StorageRefused(
        f"{call} was not told as Google tells it", mend="correct `endpoint_url` in the storage config"
    )


def _proxied(scheme: str, host: str) -> Mapping[str, Any]:
    """The proxy that the environment names, as other clients read it.

    aiohttp's own ``trust_env`` would look for a netrc file too, and refuse our header if that names Google.
    """
    given = getproxies().get(scheme)
    if not given or proxy_bypass(host):
        return {}
    proxy = URL(given)
    told: dict[str, Any] = {"proxy": proxy.with_user(None)}
    if proxy.user:
        login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
        told["proxy_headers"] = {"Proxy-Authorization": login}
    return told


def _base64(crc32c: int) -> str:
    return base64.b64encode(crc32c.to_bytes(4)).decode()
