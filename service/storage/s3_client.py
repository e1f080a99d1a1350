"""The client of the S3 API: how it asks, and whose credentials it signs with."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession

from service import __version__
from service.storage.config import S3Config
from service.storage.s3_errors import nobody, translated, translated_identity
from service.storage.s3_model import LeanFiles

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_CONNECTIONS = 64
_ONE_ATTEMPT = {"total_max_attempts": 1}


async def open_client(config: S3Config, resources: AsyncExitStack) -> "S3Client":
    """A client that ``resources`` closes. Nothing is asked yet, neither of the store nor of the environment.

    Without keys in ``config`` it signs as whoever the environment says it is, which is the SDK's own chain:
    variables, a web identity (IRSA), EKS Pod Identity, an instance's role; each renewed before it expires.
    """
    named = config.access_key is not None
    asking = AioSession() if named else _EnvironmentSession()
    # What the chain asks for credentials has finite time-outs and no retries of its own either.
    asking.set_default_client_config(_Config(connect_timeout=10, read_timeout=20, retries=_ONE_ATTEMPT))
    with translated():
        asking.get_component("data_loader").file_loader = LeanFiles()
        session = aioboto3.Session(
            aws_access_key_id=_text(config.access_key),
            aws_secret_access_key=_text(config.secret),
            aws_session_token=_text(config.session_token),
            region_name=config.signing_region,
            botocore_session=asking,
        )
        return await resources.enter_async_context(
            session.client("s3", endpoint_url=config.endpoint, config=_options(config))
        )


def _options(config: S3Config) -> "_Config":
    encrypted = (config.endpoint or "https").startswith("https")
    return _Config(
        # Given, it is not composed anew for each request, which took a tenth of a small one's time.
        user_agent=f"dyte-archiver/{__version__}",
        signature_version="s3v4",
        retries=_ONE_ATTEMPT,
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # botocore's own checksums, which some stores refuse, only where an operation insists on one.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": config.addressing_style,
            # SHA-256 of the payload is signed only where nothing else guards the bytes on their way.
            "payload_signing_enabled": not encrypted and config.check == "none",
        },
    )


class _Verified(AIOHTTPSession):
    """The SDK's connections, which alone take any host's certificate, and behind a proxy anybody's at all."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc]  # its stubs lack it
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        own: ssl.SSLContext | None = super()._setup_proxy_ssl_context(proxy_url)  # type: ignore[misc]  # likewise
        return own or self._get_ssl_context()


class _Config(AioConfig):
    """A config that keeps these connections, also when the SDK merges it with another."""

    def __init__(self, **options: Any) -> None:
        super().__init__(http_session_cls=_Verified, **options)

    def merge(self, other_config: Any) -> Any:
        """Both in one."""
        merged: Any = super().merge(other_config)
        merged.http_session_cls = _Verified
        return merged


class _EnvironmentSession(AioSession):
    """A session whose credentials are the environment's, looked for when something is signed."""

    def __init__(self) -> None:
        super().__init__()
        self._identity = _Identity(super().get_credentials)

    async def get_credentials(self) -> AioCredentials:  # type: ignore[override]  # botocore's does not wait
        return self._identity


class _Identity(AioCredentials):
    """Who the environment says this process is, as the signer asks for it.

    Looked for again where there was nobody: a pod may be there before what tells it who it is.
    """

    def __init__(self, look: Callable[[], Awaitable[Any]]) -> None:
        super().__init__("", "")
        self._look = look
        self._found: Any = None
        self._looking = asyncio.Lock()

    async def get_frozen_credentials(self) -> Any:  # type: ignore[override]  # likewise
        """The credentials of this moment."""
        with translated_identity():
            if self._found is None:
                async with self._looking:
                    self._found = self._found or await self._look()
            if self._found is None:
                raise nobody()
            return await self._found.get_frozen_credentials()


def _text(secret: Any) -> str | None:
    return secret.get_secret_value() if secret else None
