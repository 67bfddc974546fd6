"""What the bus in memory has beyond the contract (see tests/bus/contract)."""

from __future__ import annotations

import asyncio

import pytest

from bus.errors import BusDown, NoResponders
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.heard import SOON, Heard


async def test_links_are_cut_one_by_one_and_at_once() -> None:
    broker = MemoryBroker()
    a, b, c = (MemoryBus(broker, name) for name in "abc")
    heard_b, heard_c = Heard(), Heard()
    await b.subscribe("t", heard_b)
    await c.subscribe("t", heard_c)
    broker.cut(b)
    await a.publish("t", b"1")
    await heard_c.at_least(1)
    broker.heal(b)
    await a.publish("t", b"2")
    await heard_b.at_least(1)
    assert [message.data for message in heard_b] == [b"2"]
    for bus in (a, b, c):
        await bus.close()


async def test_an_answer_to_somebody_who_is_cut_off_is_lost() -> None:
    broker = MemoryBroker()
    a, b = MemoryBus(broker, "a"), MemoryBus(broker, "b")
    asked = Heard()
    await b.subscribe("t", asked)
    task = asyncio.create_task(a.request("t", b"", timeout=SOON))
    await asked.at_least(1)
    broker.cut(a)
    with pytest.raises(BusDown):
        await task
    await b.publish(asked[0].reply, b"too late")
    broker.heal(a)
    broker.cut(b)
    with pytest.raises(NoResponders):
        await a.request("t", b"", timeout=SOON)
    await a.close()
    await b.close()


async def test_cutting_and_healing_twice_is_told_once() -> None:
    broker = MemoryBroker()
    bus = MemoryBus(broker, "a")
    links: list[bool] = []
    bus.on_link(links.append)
    broker.cut(bus)
    broker.cut(bus)
    broker.heal(bus)
    broker.heal(bus)
    assert links == [False, True]
    await bus.close()
    broker.heal(bus)
    assert not bus.is_up
