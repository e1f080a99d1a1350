"""A reverse proxy that has a port below a path of its own, and hides it: nginx's `proxy_pass` with an end."""

from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

_PLAIN = "/:@!$&'()*+,;=~"
_OWN = {"connection", "transfer-encoding", "content-length", "host"}


class SubPath:
    """Use it as `async with SubPath("/archiver/", url) as proxy`, or within `threaded`.

    As nginx does, it decodes a path, and encodes it again in its own way.
    """

    def __init__(self, path: str, behind: str) -> None:
        self._path = path
        self._behind = behind
        self._http: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{self._path}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        assert self._http is not None
        await self._http.close()
        await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        path = unquote(request.rel_url.raw_path)
        if not path.startswith(self._path):
            raise web.HTTPNotFound
        target = f"{self._behind}/{quote(path.removeprefix(self._path), safe=_PLAIN)}"
        if request.rel_url.raw_query_string:
            target += f"?{request.rel_url.raw_query_string}"
        fields = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _OWN
        )
        async with self._http.request(
            request.method,
            URL(target, encoded=True),
            headers=fields,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            kept = CIMultiDict(
                (name, value) for name, value in answer.headers.items() if name.lower() not in _OWN
            )
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
