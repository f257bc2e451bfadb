"""Overlap: the next of a stream is made while the last one is used, so that a device has work while its answers are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Ended(Generic[Item]):
    """No item: the stream has ended."""


async def ahead(items: AsyncGenerator[Item, None], discard: Callable[[Item], None]) -> AsyncGenerator[Item, None]:
    """The items in order, each begun when the one before is taken; closes `items`, and discards the one that nobody took.

    Errors come where the item would have. Whoever stops early must aclose this generator.
    """
    following: asyncio.Task[Item | Ended[Item]] | None = asyncio.create_task(_next(items))
    try:
        while following is not None:
            item = await following
            following = None
            if isinstance(item, Ended):
                return
            following = asyncio.create_task(_next(items))
            yield item
    finally:
        if following is not None:
            with suppress(Exception):  # whoever stopped knows why
                item = await following
                if not isinstance(item, Ended):
                    discard(item)
        await items.aclose()


async def _next(items: AsyncGenerator[Item, None]) -> Item | Ended[Item]:
    try:
        return await anext(items)
    except StopAsyncIteration:
        return Ended()
