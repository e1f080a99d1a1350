"""A list that the API gives a page at a time, read to its end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from service.provider.answers import Page, item_id


async def pages(read: Callable[[int], Awaitable[Page]]) -> AsyncIterator[list[Any]]:
    """The items of page after page, each once; ``read`` gives the page of a number.

    It goes by what came and not by what was asked for, since a server may give smaller pages: it ends with a
    page that is the last by its own word, or that brings nothing new. What is added at the top meanwhile
    shifts items to a later page, where they come again and are left out. Items without an id are handed on.
    """
    seen: set[str] = set()
    page = await read(1)
    if _is_second(page) and (items := _unseen((await read(0)).items, seen)):
        yield items
    number = 1
    while True:
        known = len(seen)
        if items := _unseen(page.items, seen):
            yield items
        if page.is_last or len(seen) == known:
            return
        number += 1
        page = await read(number)


def _is_second(page: Page) -> bool:
    """Whether page 1 is the second one: the documentation does not tell where the numbers begin."""
    return page.start is not None and page.start > 1 if page.items else bool(page.total)


def _unseen(items: list[Any], seen: set[str]) -> list[Any]:
    found = []
    for item in items:
        known = item_id(item)
        if known is None or known not in seen:
            found.append(item)
        if known is not None:
            seen.add(known)
    return found
