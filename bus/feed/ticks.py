"""One subscription to a site's tick for all followers of its feeds: it crosses the link once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bus.api import Bus, Message, Subscription
from bus.errors import DecodeError
from bus.feed.tick import TickEntry, decode_tick

_LOG = logging.getLogger(__name__)
OnEntry = Callable[[TickEntry], None]


class Ticks:
    """Shared by the followers that are given it; each hears of its own feed only."""

    def __init__(self) -> None:
        self.undecodable = 0
        self._lines: dict[tuple[int, str], _Line] = {}
        self._changing = asyncio.Lock()

    async def listen(self, bus: Bus, subject: str, name: str, on_entry: OnEntry) -> Subscription:
        async with self._changing:
            key = (id(bus), subject)  # a line holds its bus, so the id stays its own
            line = self._lines.get(key)
            if line is None:
                line = _Line(bus, self._on_undecodable)
                line.subscription = await bus.subscribe(subject, line.on_tick)
                self._lines[key] = line
            listener = _Listener(self, key, name, on_entry)
            line.listeners[listener] = None
            return listener

    async def forget(self, key: tuple[int, str], listener: _Listener) -> None:
        async with self._changing:
            line = self._lines.get(key)
            if line is None or listener not in line.listeners:
                return
            del line.listeners[listener]
            if not line.listeners:
                del self._lines[key]
                if line.subscription is not None:
                    await line.subscription.unsubscribe()

    def _on_undecodable(self, error: DecodeError) -> None:
        if not self.undecodable:
            _LOG.warning("tick: %s (further ones are counted only)", error)
        self.undecodable += 1


class _Line:
    def __init__(self, bus: Bus, on_undecodable: Callable[[DecodeError], None]) -> None:
        self.bus = bus
        self.listeners: dict[_Listener, None] = {}
        self.subscription: Subscription | None = None
        self._on_undecodable = on_undecodable

    def on_tick(self, message: Message) -> None:
        try:
            entries = {entry.name: entry for entry in decode_tick(message.data)}
        except DecodeError as error:
            self._on_undecodable(error)
            return
        for listener in list(self.listeners):
            if (entry := entries.get(listener.name)) is not None:
                listener.on_entry(entry)


class _Listener:
    """A Subscription."""

    def __init__(self, ticks: Ticks, key: tuple[int, str], name: str, on_entry: OnEntry) -> None:
        self.name = name
        self.on_entry = on_entry
        self._ticks = ticks
        self._key = key

    async def unsubscribe(self) -> None:
        await self._ticks.forget(self._key, self)
