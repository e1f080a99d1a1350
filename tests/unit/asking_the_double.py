"""What the tests of the provider double have in common: a client without any sense of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from tests.doubles.provider import Account


@dataclass(frozen=True)
class Told:
    """What was answered: `document` is JSON, or text that is none."""

    status: int
    document: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        """What is in the envelope."""
        return self.document["data"]

    @property
    def ids(self) -> list[str]:
        """Of the items of a list."""
        items = self.data["sessions"] if isinstance(self.data, dict) else self.data
        return [item["id"] for item in items]


@dataclass(frozen=True)
class Client:
    """Asks the API of an account, with its credentials unless others are given, and follows links."""

    http: aiohttp.ClientSession
    account: Account

    async def ask(
        self, method: str, path: str, json: Any = None, *, authorization: str | None = None, **query: str
    ) -> Told:
        """Make one request below the account's base."""
        base = self.account.api_url.removesuffix("/v2").removesuffix("/client/v4") + self.account.base_path
        headers = {"Authorization": authorization or self.account.authorization}
        async with self.http.request(method, base + path, json=json, params=query, headers=headers) as answer:
            is_json = answer.content_type == "application/json"
            return Told(answer.status, await (answer.json() if is_json else answer.text()), answer.headers)

    async def get(self, path: str, **query: str) -> Told:
        """Make a GET."""
        return await self.ask("GET", path, **query)

    async def download(self, link: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of what a link leads to."""
        async with self.http.get(URL(link, encoded=True), headers=headers) as answer:
            return answer.status, await answer.read()
