"""Fencing: the words of a holder that was replaced do not count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.api import Message
from bus.errors import LeaseLost, RequestTimeout
from bus.fence import HEADER, Fenced, Guard, Guarded
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.heard import SOON, Heard


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    bus = MemoryBus(MemoryBroker(), "pool")
    yield bus
    await bus.close()


def marked(token: str | None) -> Message:
    return Message("x", b"", "", {} if token is None else {HEADER: token})


def test_a_guard_only_moves_on() -> None:
    guard = Guard()
    said = ["5", "5", "4", "7", "6", "5", "7"]
    assert [guard.admits(marked(token)) for token in said] == [
        True,
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert (guard.highest, guard.refused) == (7, 3)


@pytest.mark.parametrize("token", [None, "", "x", "-1", "1.0", "٣", "9" * 20, " 1"])
def test_what_has_no_token_is_refused(token: str | None) -> None:
    guard = Guard()
    assert not guard.admits(marked(token))
    assert (guard.highest, guard.refused) == (0, 1)


async def test_all_that_a_holder_says_is_marked(bus: MemoryBus) -> None:
    heard = Heard()
    tokens = iter([3, 4])
    fenced = Fenced(bus, lambda: next(tokens))
    await bus.subscribe("t.>", heard)
    await fenced.publish("t.said", b"1", headers={"K": "v"})
    with pytest.raises(RequestTimeout):
        await fenced.request("t.asked", b"2", timeout=0.01)
    assert [message.headers for message in heard] == [{"K": "v", HEADER: "3"}, {HEADER: "4"}]


async def test_a_lost_lease_silences(bus: MemoryBus) -> None:
    heard = Heard()

    def lost() -> int:
        raise LeaseLost("lease coordinator is not held")

    fenced = Fenced(bus, lost)
    await bus.subscribe("t.said", heard)
    with pytest.raises(LeaseLost):
        await fenced.publish("t.said", b"")
    with pytest.raises(LeaseLost):
        await fenced.request("t.said", b"", timeout=SOON)
    await fenced.subscribe("t.else", heard)  # listening needs no lease
    await asyncio.sleep(0)
    assert heard == []


async def test_a_replaced_holder_is_not_heard(bus: MemoryBus) -> None:
    heard, guard = Heard(), Guard()
    old, new = Fenced(bus, lambda: 1), Fenced(bus, lambda: 2)
    await Guarded(bus, guard).subscribe("t.said", heard)
    await old.publish("t.said", b"old")
    await new.publish("t.said", b"new")
    await old.publish("t.said", b"late")
    await bus.publish("t.said", b"unmarked")
    await new.publish("t.said", b"last")
    await heard.at_least(3)
    assert [message.data for message in heard] == [b"old", b"new", b"last"]
    assert guard.refused == 2


async def test_one_guard_for_several_subjects(bus: MemoryBus) -> None:
    heard, guard = Heard(), Guard()
    guarded = Guarded(bus, guard)
    await guarded.subscribe("t.a", heard)
    await guarded.subscribe("t.b", heard)
    await Fenced(bus, lambda: 2).publish("t.a", b"new")
    await heard.at_least(1)
    await Fenced(bus, lambda: 1).publish("t.b", b"old")
    await Fenced(bus, lambda: 2).publish("t.b", b"new")
    await heard.at_least(2)
    assert guard.refused == 1


async def test_a_replaced_holder_s_answer_does_not_count(bus: MemoryBus) -> None:
    guard = Guard()
    token = 5
    holder = Fenced(bus, lambda: token)

    async def answer(message: Message) -> None:
        await holder.publish(message.reply, b"answer")

    await bus.subscribe("t.ask", answer)
    guarded = Guarded(bus, guard)
    assert (await guarded.request("t.ask", b"", timeout=SOON)).data == b"answer"
    token = 4
    with pytest.raises(RequestTimeout, match="replaced"):
        await guarded.request("t.ask", b"", timeout=SOON)


async def test_async_handlers_and_the_rest_pass_through(bus: MemoryBus) -> None:
    heard, guard = Heard(), Guard()
    guarded = Guarded(bus, guard)

    async def handler(message: Message) -> None:
        await asyncio.sleep(0)
        heard(message)

    subscription = await guarded.subscribe("t.x", handler, queue="q")
    await Fenced(bus, lambda: 1).publish("t.x", b"")
    await heard.at_least(1)
    await subscription.unsubscribe()
    await guarded.flush(SOON)
    await guarded.wait_up(SOON)
    await guarded.close()
    assert bus.is_up  # it is somebody else's
    assert guarded.is_up
    assert guarded.name == "pool"
    assert guarded.stats() == bus.stats()
    forget = guarded.on_link(lambda up: None)
    forget()
