"""Which resources there are besides the feeds': the built-in ones, and what the API server says.

What was once known stays known: a CRD that is gone is the API server's to tell (404).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube import builtin
from actors.kube.discovered import ACCEPT, parse_aggregated
from actors.kube.resource import Resource

if TYPE_CHECKING:
    from loguru import Logger

Ask = Callable[[str, str], Awaitable[bytes | None]]
"""(path, Accept) -> the API server's 200 answer, or what was kept of it; None: cannot be had."""

ASK_AGAIN = 10.0  # seconds; a client that insists on what there is not must not cost the WAN more
_Key = tuple[str, str, str]


class Kinds:
    """`find` asks the API server at most once in `ASK_AGAIN` seconds."""

    def __init__(self, ask: Ask, clock: Callable[[], float], log: Logger) -> None:
        self._ask = ask
        self._clock = clock
        self._log = log
        self._known = {_key(each): each for each in builtin.BUILTIN}
        self._asked = float("-inf")
        self._lock = asyncio.Lock()

    def known(self, group: str, version: str, plural: str) -> Resource | None:
        return self._known.get((group, version, plural))

    async def find(self, group: str, version: str, plural: str) -> Resource | None:
        key = (group, version, plural)
        if key in self._known or not group:
            return self._known.get(key)
        async with self._lock:
            if key not in self._known and self._clock() - self._asked >= ASK_AGAIN:
                self._asked = self._clock()
                await self._learn()
        return self._known.get(key)

    async def _learn(self) -> None:
        body = await self._ask("/apis", ACCEPT)
        if body is None:
            return
        for resource in self._parsed(body):
            self._known.setdefault(_key(resource), resource)

    def _parsed(self, body: bytes) -> list[Resource]:
        try:
            return parse_aggregated(msgspec.json.decode(body, type=dict[str, Any]))
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            self._log.warning("the API server's discovery cannot be read: {}", error)
            return []


def _key(resource: Resource) -> _Key:
    return resource.group, resource.version, resource.plural
