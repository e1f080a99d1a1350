"""Google's JSON API on the wire: which call a request is, what an upload holds, how an error reads."""

import json
import re
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from yarl import URL

__all__ = ["call_of", "error", "missing", "parts_of", "target"]

_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)(?:/(compose)|/(rewriteTo)/b/[^/]+/o/([^/]+))?")


def call_of(request: web.Request) -> tuple[str, str, str, str]:
    """Return the API's name of a call, the bucket, the object, and what a rewrite copies.

    The object of an insert stands in its body.
    """
    path = target(request).raw_path
    if upload := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
        return "objects.insert", upload[1], "", ""
    if listing := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
        return "objects.list", listing[1], "", ""
    match = _OBJECT.fullmatch(path)
    if match is None:
        return "other", "", "", ""
    bucket, name = match[1], unquote(match[2])
    if match[3]:
        return "objects.compose", bucket, name, ""
    if match[4]:
        return "objects.rewrite", bucket, unquote(match[5]), name
    call = {"GET": "objects.get", "PATCH": "objects.patch", "DELETE": "objects.delete"}[request.method]
    return call, bucket, name, ""


def target(request: web.Request) -> URL:
    """Return what is asked for; a client that takes this for its proxy names the host too."""
    return URL(request.raw_path, encoded=True)


def parts_of(request: web.Request, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the resource and the media of a multipart upload."""
    boundary = b"\r\n--" + request.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
    _, described, media, _ = (b"\r\n" + body).split(boundary)
    return json.loads(described.partition(b"\r\n\r\n")[2]), media.partition(b"\r\n\r\n")[2]


def missing(bucket: str, name: str) -> web.Response:
    """An object that is not there."""
    return error(404, "notFound", f"No such object: {bucket}/{name}")


def error(status: int, reason: str, message: str) -> web.Response:
    """An error as the API tells it."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return web.json_response({"error": {"code": status, "message": message, "errors": errors}}, status=status)
