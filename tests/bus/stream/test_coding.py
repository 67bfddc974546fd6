"""Bodies on their way: compressed, and nobody sees it."""

from __future__ import annotations

import asyncio
import random

import pytest

from bus import zstd
from bus.envelope import pack
from bus.errors import DecodeError, StreamBroken
from bus.memory import MemoryBroker, MemoryBus
from bus.permissions import inbox_prefix
from bus.stream import Exchange, Request, StreamClient, StreamServer, StreamSettings, coding, frames
from bus.stream.core import Headers
from bus.stream.server import Handler

TEXT = b'{"kind":"Pod","metadata":{"name":"p"}}' * 1000


class Wire:
    """A client, a server, and how many bytes went each way."""

    def __init__(self, handler: Handler, settings: StreamSettings | None = None) -> None:
        broker = MemoryBroker()
        self._here = MemoryBus(broker, "cloud", inbox_prefix=inbox_prefix("p", "n1"))
        self._there = MemoryBus(broker, "cloud")
        self.client = StreamClient(self._here, "p", "n1", settings)
        self._server = StreamServer(self._there, "g", handler, settings)
        self.up = self.down = self.answers = 0
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Wire:
        await self._server.start()
        await self.client.start()
        await self._here.subscribe(f"{inbox_prefix('p', 'n1')}.>", self._on_down)
        await self._there.subscribe("api.>", self._on_up)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()
        await self._server.stop()
        await self._here.close()
        await self._there.close()

    def _on_down(self, message: object) -> None:
        self.answers += 1
        self._heard.set()
        self.down += len(message.data)  # type: ignore[attr-defined]

    def _on_up(self, message: object) -> None:
        self.up += len(message.data)  # type: ignore[attr-defined]

    async def until_answers(self, count: int) -> None:
        """So many messages came."""
        while self.answers < count:
            self._heard.clear()
            await self._heard.wait()

    async def ask(self, request: Request, body: bytes = b"") -> tuple[Headers, bytes]:
        async with self.client.open(request, body) as answer:
            return answer.headers, b"".join([chunk async for chunk in answer.chunks()])


async def echo(exchange: Exchange) -> None:
    body = await exchange.body()
    await exchange.start(200, exchange.request.headers)
    await exchange.write(body)


POST = Request("POST", "/x", (("Content-Type", "application/json"),))


async def test_both_bodies_travel_small_and_arrive_whole() -> None:
    async with Wire(echo) as wire:
        assert await wire.ask(POST, TEXT) == (POST.headers, TEXT)
        assert wire.up < len(TEXT) / 20
        assert wire.down < len(TEXT) / 20


@pytest.mark.parametrize("body", [b"", b"short", random.Random(1).randbytes(100_000)])
async def test_what_does_not_shrink_arrives_too(body: bytes) -> None:
    async with Wire(echo) as wire:
        assert (await wire.ask(POST, body))[1] == body


async def test_what_is_coded_already_is_left_alone() -> None:
    gzip = Request("POST", "/x", (("Content-Encoding", "gzip"),))
    async with Wire(echo) as wire:
        assert await wire.ask(gzip, TEXT) == (gzip.headers, TEXT)
        assert min(wire.up, wire.down) > len(TEXT)


async def test_an_event_is_not_held_back_for_the_next() -> None:
    read = asyncio.Event()

    async def events(exchange: Exchange) -> None:
        await exchange.start(200, ())
        for number in range(3):
            await exchange.write(b'{"number":%d}\n' % number)
            await read.wait()
            read.clear()

    async with Wire(events) as wire, asyncio.timeout(2.0), wire.client.open(POST) as answer:
        chunks = answer.chunks()
        for number in range(3):
            assert await anext(chunks) == b'{"number":%d}\n' % number
            read.set()


async def test_small_answers_are_not_worth_it() -> None:
    assert not coding.pays((("Content-Length", str(coding.SMALL - 1)),))
    assert coding.pays((("content-length", str(coding.SMALL)),))
    assert coding.pays(())
    assert not coding.pays((("content-encoding", "gzip"),))


async def test_a_bomb_comes_in_pieces() -> None:
    pieces = list(zstd.Unpacker().unpack(zstd.Packer().pack(bytes(10 << 20))))
    assert sum(map(len, pieces)) == 10 << 20
    assert max(map(len, pieces)) <= 256 << 10


async def test_a_body_that_unpacks_to_too_much_is_refused() -> None:
    bomb = bytes(StreamSettings().max_body + 1)
    async with Wire(echo) as wire:
        with pytest.raises(StreamBroken, match="request's body"):
            await wire.ask(POST, bomb)


async def test_damage_is_a_broken_stream() -> None:
    async def damaged(exchange: Exchange) -> None:
        await exchange.start(200, (coding.CODED,), compress=False)
        await exchange.write(b"no zstd at all")

    async with Wire(damaged) as wire:
        with pytest.raises(StreamBroken, match="bad zstd"):
            await wire.ask(POST)


def test_small_frames_are_squeezed_and_come_as_they_were() -> None:
    headers = [["Content-Type", "application/json"], ["Cache-Control", "no-cache, private"]]
    for body in ((7, 200, headers), (0, 404, [])):
        raw = frames.encode(frames.HEAD, *body)
        assert frames.decode(raw, frames.TO_CLIENT).body == list(body)
    assert len(frames.encode(frames.HEAD, 7, 200, headers)) < len(pack("head", [7, 200, headers]))


def test_a_squeezed_frame_that_was_damaged_is_refused() -> None:
    raw = frames.encode(frames.HEAD, 7, 200, [["Content-Type", "application/json"]] * 4)
    for broken in (raw[:-1], raw[:1], raw[:9] + b"x" + raw[10:], b"\xc1" + b"\0" * 40):
        with pytest.raises(DecodeError):
            frames.decode(broken, frames.TO_CLIENT)
