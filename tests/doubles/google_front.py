"""Google Cloud Storage as it documents itself where `fake-gcs-server` behind it is more lenient.

Tokens are verified, CRC-32C is compared, preconditions, generations, storage classes, retentions and holds
are heeded, errors are said in Google's own words. And it fails on request.
"""

import asyncio
import base64
import io
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp import web
from awscrt.checksums import crc32c
from yarl import URL

from tests.doubles.google_calls import call_of, error, missing, parts_of, target
from tests.doubles.google_tokens import EMAIL, Tokens, private_key_pem

__all__ = ["Fault", "GoogleFront", "How"]

_PERMISSIONS = {
    "objects.insert": "create", "objects.compose": "create", "objects.rewrite": "create",
    "objects.get": "get", "objects.list": "list", "objects.delete": "delete", "objects.patch": "update",
}  # fmt: skip


class How(Enum):
    """What happens to a request, and whether the store has done what was asked when it does."""

    REFUSE = "not forwarded; an error answer"
    DROP = "not forwarded; the connection is closed"
    DROP_AFTER = "done; the connection is closed without an answer"
    STALL = "not forwarded; no answer, the connection stays open"
    WAIT = "forwarded after a moment, in which others are"


@dataclass
class Fault:
    """One fault put before a call, after `skip` of them have passed; it strikes `times` times."""

    call: str
    how: How = How.REFUSE
    status: int = 503
    reason: str = "backendError"
    message: str = "injected"
    retry_after: str | None = None
    times: int = 1
    skip: int = 0
    is_of: Callable[[str], bool] = lambda _name: True


class GoogleFront:
    """The front. Use it as `async with`, or through `threaded()`.

    `denied` are permissions that the account does not have; `default_class` is the bucket's;
    `keeps_everything` is a retention policy of the bucket; what `damages` picks is damaged after it was
    checked. A rewrite is done once it has told all of `rewritten`, bytes so far. `calls` are the API's names
    of all that came, and of what.
    """

    def __init__(self, upstream: str) -> None:
        self.endpoint_url = ""
        self.tokens = Tokens()
        self.denied: set[str] = set()
        self.default_class = "STANDARD"
        self.keeps_everything = False
        self.damages: Callable[[str], bool] = lambda _name: False
        self.rewritten: list[int] = []
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        self.told: dict[tuple[str, str], dict[str, Any]] = {}
        self._upstream = upstream
        self._is_over = asyncio.Event()
        self._generations: dict[tuple[str, str], str] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def token_uri(self) -> str:
        """Where the service account's key gets its tokens."""
        return f"{self.endpoint_url}/token"

    def credential(self, **changed: Any) -> dict[str, Any]:
        """The service account's key file."""
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key",
            "private_key": private_key_pem(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": self.token_uri,
        } | changed

    def storage_config(self, bucket: str, **fields: Any) -> dict[str, Any]:
        """Return the provider's `storage_config` for `bucket`."""
        return {
            "type": "gcs",
            "secret": json.dumps(self.credential()),
            "bucket": bucket,
            "endpoint_url": self.endpoint_url,
        } | fields

    def count(self, call: str) -> int:
        """How many such calls came."""
        return sum(1 for name, _ in self.calls if name == call)

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/token", self.tokens.grant)
        app.router.add_post("/sts", self.tokens.exchange)
        app.router.add_get("/", self.tokens.metadata)
        app.router.add_get("/computeMetadata/v1/{path:.*}", self.tokens.metadata)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        _, port = self._runner.addresses[0][:2]
        self.endpoint_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        await self._client.close()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call, bucket, name, source = call_of(request)
        body = await request.read()
        if call == "objects.insert":
            name = parts_of(request, body)[0]["name"]
        self.calls.append((call, name))
        fault = self._fault(call, name)
        if fault is not None and fault.how is How.WAIT:
            await asyncio.sleep(0.3)
            fault = None
        if fault is not None and fault.how is not How.DROP_AFTER:
            return await self._broken(request, fault)
        if not self.tokens.knows(request.headers.get("Authorization", "")):
            return error(401, "authError", "Invalid Credentials")
        if (permission := self._missing_permission(call, body)) is not None:
            words = f"{EMAIL} does not have {permission} access to the Google Cloud Storage object."
            return error(403, "forbidden", f"{words} Permission '{permission}' denied on resource.")
        async with self._locks[f"{bucket}/{name}"]:
            refusal = await self._refusal(request, call, bucket, name, source, body)
            answer = refusal or await self._forwarded(request, call, bucket, name, body)
        if fault is not None and answer.status < 300:
            return await self._broken(request, fault)
        return answer

    def _fault(self, call: str, name: str) -> Fault | None:
        for fault in self.faults:
            if fault.call == call and fault.times and fault.is_of(name):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    async def _broken(self, request: web.Request, fault: Fault) -> web.Response:
        if fault.how is How.STALL:
            await self._is_over.wait()
        if fault.how is not How.REFUSE:
            assert request.transport is not None
            request.transport.abort()
        answer = error(fault.status, fault.reason, fault.message)
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = fault.retry_after
        return answer

    def _missing_permission(self, call: str, body: bytes) -> str | None:
        needed = {f"storage.objects.{_PERMISSIONS.get(call, 'get')}"}
        if call in ("objects.insert", "objects.patch") and b'"retention"' in body[:4096]:
            needed.add("storage.objects.setRetention")
        return next(iter(needed & self.denied), None)

    async def _refusal(
        self, request: web.Request, call: str, bucket: str, name: str, source: str, body: bytes
    ) -> web.Response | None:
        condition = request.query.get("ifGenerationMatch")
        there = (
            await self._there(bucket, name) if name and call not in ("objects.get", "objects.list") else None
        )
        if condition is not None and condition != (there or {}).get("generation", "0"):
            if condition != "0" and there is None:
                return missing(bucket, name)
            return error(
                412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
            )
        if there is not None and call in ("objects.insert", "objects.delete", "objects.compose"):
            if self.keeps_everything or there.get("retention"):
                words = (
                    f"Object '{bucket}/{name}' is subject to bucket's retention policy or object retention"
                )
                return error(403, "retentionPolicyNotMet", words)
            if there.get("temporaryHold"):
                return error(403, "objectUnderActiveHold", f"Object '{bucket}/{name}' is under active hold")
        if call == "objects.insert":
            told, media = parts_of(request, body)
            computed = base64.b64encode(crc32c(media).to_bytes(4)).decode()
            if told.get("crc32c") not in (None, computed):
                words = f'Provided CRC32C "{told["crc32c"]}" doesn\'t match calculated CRC32C "{computed}".'
                return error(400, "invalid", words)
        if call == "objects.compose":
            return await self._compose_refusal(bucket, json.loads(body))
        if call == "objects.rewrite" and await self._there(bucket, source) is None:
            return missing(bucket, source)
        if call == "objects.rewrite" and self.rewritten:
            told = {"done": False, "totalBytesRewritten": str(self.rewritten.pop(0)), "rewriteToken": "t"}
            return web.json_response(told)
        return None

    async def _compose_refusal(self, bucket: str, asked: dict[str, Any]) -> web.Response | None:
        wanted = asked["destination"].get("storageClass", self.default_class)
        sources = asked["sourceObjects"]
        if not 1 <= len(sources) <= 32:
            return error(400, "invalid", "The number of source components is not between 1 and 32")
        for each in sources:
            found = await self._there(bucket, each["name"])
            if found is None or each.get("generation") not in (None, found["generation"]):
                return missing(bucket, each["name"])
            if found["storageClass"] != wanted:
                return error(
                    400,
                    "invalid",
                    f"Cannot compose object with destination storage class {wanted} from source components"
                    f" that have different storage classes ({found['storageClass']})",
                )
        return None

    async def _forwarded(
        self, request: web.Request, call: str, bucket: str, name: str, body: bytes
    ) -> web.Response:
        if call == "objects.insert" and self.damages(name):
            body = body[:-100] + bytes([body[-100] ^ 1]) + body[-99:]
        url = URL(self._upstream + target(request).raw_path_qs, encoded=True)
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        async with self._client.request(
            request.method, url, data=io.BytesIO(body), headers=headers
        ) as answer:
            content, status = await answer.read(), answer.status
        if status == 404:
            return await self._not_found(bucket, name)
        if status == 500 and call == "objects.compose":
            return missing(bucket, "one of the sources")
        if "alt" in request.query or status >= 300:
            return web.Response(status=status, body=content)
        told = json.loads(content) or {}
        if call == "objects.delete":
            self.told.pop((bucket, name), None)
            self._generations.pop((bucket, name), None)
        elif call in ("objects.insert", "objects.compose", "objects.rewrite", "objects.patch"):
            self._remember(request, call, bucket, name, body)
            self._generations[bucket, name] = told.get("resource", told)["generation"]
        if call == "objects.list":
            told["items"] = [self._as_told(bucket, each) for each in told.get("items", [])]
        elif call == "objects.rewrite":
            told["resource"] = self._as_told(bucket, told["resource"])
        elif told:
            told = self._as_told(bucket, told)
        return web.json_response(told)

    def _remember(self, request: web.Request, call: str, bucket: str, name: str, body: bytes) -> None:
        asked = parts_of(request, body)[0] if call == "objects.insert" else json.loads(body)
        asked = asked.get("destination", asked) if call == "objects.compose" else asked
        kept = {each: asked[each] for each in ("storageClass", "temporaryHold", "retention") if each in asked}
        for parameter in ("kmsKeyName", "destinationKmsKeyName"):
            if parameter in request.query:
                kept["kmsKeyName"] = request.query[parameter]
        former = self.told.get((bucket, name), {}) if call == "objects.patch" else {}
        self.told[bucket, name] = {"storageClass": self.default_class} | former | kept

    def _as_told(self, bucket: str, resource: dict[str, Any]) -> dict[str, Any]:
        return resource | self.told.get((bucket, resource["name"]), {})

    async def _there(self, bucket: str, name: str) -> dict[str, Any] | None:
        if (bucket, name) in self._generations:
            return {"generation": self._generations[bucket, name], **self.told[bucket, name]}
        url = URL(f"{self._upstream}/storage/v1/b/{bucket}/o/{quote(name, safe='')}", encoded=True)
        async with self._client.get(url) as answer:
            if answer.status != 200:
                return None
            return self._as_told(bucket, await answer.json())

    async def _not_found(self, bucket: str, name: str) -> web.Response:
        async with self._client.get(f"{self._upstream}/storage/v1/b/{bucket}") as answer:
            if answer.status == 404:
                return error(404, "notFound", "The specified bucket does not exist.")
        return missing(bucket, name)
