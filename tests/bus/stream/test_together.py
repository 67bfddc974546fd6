"""What is said at once travels at once, and nothing waits for what may not come."""

from __future__ import annotations

import asyncio

import pytest

from bus.envelope import pack
from bus.errors import DecodeError, StreamBroken
from bus.stream import Exchange, Request, frames
from tests.bus.stream.test_coding import Wire

SOON = 5.0
GET = Request("GET", "/api/v1/pods")
BODY = b'{"kind":"Pod"}'


def told(length: int = len(BODY)) -> tuple[tuple[str, str], ...]:
    return (("Content-Length", str(length)),)


async def test_a_small_answer_is_one_message() -> None:
    async def small(exchange: Exchange) -> None:
        await exchange.start(200, told())
        await exchange.write(BODY)

    async with Wire(small) as wire:
        assert await wire.ask(GET) == (told(), BODY)
        assert wire.answers == 1


@pytest.mark.parametrize("length", [0, len(BODY)])
async def test_an_answer_to_head_says_a_length_and_has_no_body(length: int) -> None:
    async def nothing(exchange: Exchange) -> None:
        await exchange.start(200, told(length))

    async with Wire(nothing) as wire:
        assert await wire.ask(Request("HEAD", "/")) == (told(length), b"")


async def test_a_body_in_pieces_ends_where_its_head_says() -> None:
    async def pieces(exchange: Exchange) -> None:
        await exchange.start(200, told())
        await exchange.write(BODY[:5])
        await exchange.write(b"")
        await exchange.write(BODY[5:])

    async with Wire(pieces) as wire:
        assert await wire.ask(GET) == (told(), BODY)
        assert wire.answers == 2


async def test_a_body_longer_than_its_head_says_is_a_broken_stream() -> None:
    async def long(exchange: Exchange) -> None:
        await exchange.start(200, told(len(BODY) - 1))
        await exchange.write(BODY)

    async with Wire(long) as wire:
        with pytest.raises(StreamBroken, match="longer"):
            await wire.ask(GET)


async def test_a_beginning_does_not_wait_for_what_follows() -> None:
    """A watch without events: its client has to know that it is open."""
    asked, may_begin, is_open = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def quiet(exchange: Exchange) -> None:
        asked.set()
        await may_begin.wait()
        await exchange.start(200, ())
        await is_open.wait()

    async with Wire(quiet) as wire, asyncio.timeout(SOON):
        opening = asyncio.create_task(wire.ask(GET), name="ask")
        await asked.wait()
        await wire.until_answers(1)
        may_begin.set()
        await wire.until_answers(2)
        is_open.set()
        assert await opening == ((), b"")


async def test_counts_that_are_compared_were_sent() -> None:
    """A ping in the moment of a beginning: what is held must not look lost."""

    async def slow(exchange: Exchange) -> None:
        await exchange.flush()
        await exchange.start(200, told())
        await pinged.wait()
        await exchange.write(BODY)

    pinged = asyncio.Event()
    async with Wire(slow) as wire, asyncio.timeout(SOON):
        opening = asyncio.create_task(wire.ask(GET), name="ask")
        await wire.until_answers(1)
        await wire.client.say("g", 0, frames.PING, [[1, 0, 0]])
        await wire.until_answers(2)
        pinged.set()
        assert await opening == (told(), BODY)


@pytest.mark.parametrize(
    "parts", [None, [1], [b"x"], [frames.plain(frames.CANCEL)], [frames.together([b"", b""])]]
)
def test_parts_that_are_no_frames_of_a_server_are_refused(parts: object) -> None:
    with pytest.raises(DecodeError):
        frames.decode_all(pack(frames.MANY, parts), frames.TO_CLIENT)
