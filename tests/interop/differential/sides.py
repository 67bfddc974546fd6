"""Plays all steps at both sides, and says where their answers differ."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from tests.interop.differential.compare import Difference, View, differences
from tests.interop.differential.play import LONGEST, Player
from tests.interop.differential.steps import OWN, Step
from tests.interop.samples import namespace
from tests.interop.target import Access

SIDES = ("api", "hub")
AT_ONCE = 24  # sessions; most of them wait for a watch to end
_LINE = 1 << 23


@dataclass(frozen=True)
class Found:
    """One difference in the answers to one step."""

    step: Step
    difference: Difference

    def __str__(self) -> str:
        where, api_server, hub = self.difference
        return f"{self.step}\n    {where}: {api_server!r:.300} != {hub!r:.300}"


class Sides:
    """The API server and a hub over it."""

    def __init__(self, api_server: Access, hub: Access) -> None:
        self._urls = (api_server.url, hub.url)
        self._writes = api_server
        self._free = asyncio.Semaphore(AT_ONCE)

    async def play(self, steps: Sequence[Step]) -> list[Found]:
        """Sessions that read see the same objects; those that write come after them."""
        found: list[Found] = []
        for writes in (False, True):
            sessions = _sessions(step for step in steps if step.writes is writes)
            results = await asyncio.gather(
                *(self._session(number, each) for number, each in enumerate(sessions))
            )
            found += itertools.chain.from_iterable(results)
        return found

    async def _session(self, number: int, steps: Sequence[Step]) -> list[Found]:
        async with self._free, AsyncExitStack() as stack:
            names = [OWN.replace("00-rec", f"{number:02}-{side}") for side in SIDES]
            if steps[0].writes:
                api = await stack.enter_async_context(self._writes.open())
                for name in names:
                    await api.create(namespace(name))
                    stack.push_async_callback(api.delete, "Namespace", "", name)
            players = [
                await self._player(stack, *each) for each in zip(self._urls, names, strict=True)
            ]
            views = [View(name, is_shared=not steps[0].writes) for name in names]
            found: list[Found] = []
            for step in steps:
                answers = await asyncio.gather(*(player.play(step) for player in players))
                shown = [view.of(answer) for view, answer in zip(views, answers, strict=True)]
                found += (Found(step, each) for each in differences(shown[0], shown[1]))
            return found

    async def _player(self, stack: AsyncExitStack, url: str, name: str) -> Player:
        timeout = aiohttp.ClientTimeout(total=LONGEST, sock_connect=5)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, read_bufsize=_LINE)
        )
        player = Player(http, url, name)
        stack.callback(player.close)
        return player


def _sessions(steps: Iterable[Step]) -> list[list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.session, []).append(step)
    return list(found.values())
