"""What `bus.api.Bus` promises, held against nats-server and against the bus in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from bus.api import Bus, Message
from bus.errors import BusDown, MessageTooLarge, NoResponders, RequestTimeout
from tests.bus.contract.worlds import PAYLOAD, PENDING, World, world_of
from tests.bus.heard import SOON, Heard
from tests.bus.rig import Rig


@pytest.fixture(params=["nats", "memory"])
async def world(request: pytest.FixtureRequest, rig: Rig) -> AsyncIterator[World]:
    async with world_of(request.param, rig) as world:
        yield world


async def settle(*buses: Bus) -> None:
    """All that was said so far has reached the server, and us."""
    for bus in buses:
        await bus.flush(SOON)


async def test_a_message_arrives_as_it_was_sent(world: World) -> None:
    a, b = await world.bus(), await world.bus()
    heard = Heard()
    await b.subscribe("t.>", heard)
    await settle(b)
    await a.publish("t.x.y", b"\x00\r\n1", reply="_INBOX.answer", headers={"K": "v w", "L": "é"})
    await heard.at_least(1)
    assert heard == [Message("t.x.y", b"\x00\r\n1", "_INBOX.answer", {"K": "v w", "L": "é"})]


async def test_order_is_kept(world: World) -> None:
    a, b = await world.bus(), await world.bus()
    heard = Heard()
    await b.subscribe("t.order", heard)
    await settle(b)
    for number in range(100):
        await a.publish("t.order", str(number).encode())
    await heard.at_least(100)
    assert [int(message.data) for message in heard] == list(range(100))


async def test_wildcards_and_own_messages(world: World) -> None:
    bus = await world.bus()
    one, rest, other = Heard(), Heard(), Heard()
    await bus.subscribe("t.*.z", one)
    await bus.subscribe("t.>", rest)
    await bus.subscribe("t", other)
    for subject in ("t.a.z", "t.a.b.z", "t.a", "u.a.z"):
        await bus.publish(subject, b"")
    await rest.at_least(3)
    await settle(bus)
    assert [message.subject for message in one] == ["t.a.z"]
    assert [message.subject for message in rest] == ["t.a.z", "t.a.b.z", "t.a"]
    assert other == []


async def test_a_queue_group_shares_the_work(world: World) -> None:
    a, b = await world.bus(), await world.bus()
    first, second, alone = Heard(), Heard(), Heard()
    await a.subscribe("t.work", first, queue="q")
    await b.subscribe("t.work", second, queue="q")
    await a.subscribe("t.work", alone)
    await settle(a, b)
    for _ in range(40):
        await b.publish("t.work", b"")
    await alone.at_least(40)
    await settle(a, b)
    await settle(a, b)
    assert len(first) + len(second) == 40
    assert len(alone) == 40


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_handlers_run_one_after_the_other(world: World, kind: str) -> None:
    bus = await world.bus()
    running = 0
    most = 0
    done = asyncio.Event()
    seen = 0

    async def slow(message: Message) -> None:
        nonlocal running, most, seen
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        seen += 1
        if seen == 20:
            done.set()

    async def plain(message: Message) -> None:
        await slow(message)

    await bus.subscribe("t.turn", slow if kind == "async" else lambda message: plain(message))
    for _ in range(20):
        await bus.publish("t.turn", b"")
    await asyncio.wait_for(done.wait(), SOON)
    assert most == 1


async def test_a_failing_handler_is_logged_and_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await world.bus()
    heard = Heard()

    def handler(message: Message) -> None:
        heard(message)
        if message.data == b"bad":
            raise RuntimeError("the handler's own trouble")

    await bus.subscribe("t.fail", handler)
    for data in (b"bad", b"bad", b"bad", b"good", b"bad", b"good"):
        await bus.publish("t.fail", data)
    await heard.at_least(6)
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 2  # at each change, with its traceback
    assert all("t.fail" in record.getMessage() and record.exc_info for record in told)
    assert "the handler's own trouble" in caplog.text


async def test_a_handler_cancelled_from_inside_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await world.bus()
    heard = Heard()

    async def handler(message: Message) -> None:
        heard(message)
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task

    await bus.subscribe("t.cancel", handler)
    await bus.publish("t.cancel", b"")
    await bus.publish("t.cancel", b"")
    await heard.at_least(2)
    assert "cancelled" in caplog.text


# -- requests -------------------------------------------------------------------------------------


async def echo(bus: Bus, subject: str) -> None:
    async def answer(message: Message) -> None:
        await bus.publish(message.reply, message.data, headers={"From": "echo"})

    await bus.subscribe(subject, answer)
    await settle(bus)


async def test_a_request_is_answered(world: World) -> None:
    a, b = await world.bus(), await world.bus()
    await echo(b, "t.echo")
    answers = await asyncio.gather(
        *(a.request("t.echo", str(n).encode(), timeout=SOON) for n in range(20))
    )
    assert [int(answer.data) for answer in answers] == list(range(20))
    assert answers[0].headers == {"From": "echo"}


async def test_nobody_answers(world: World) -> None:
    bus = await world.bus()
    with pytest.raises(NoResponders):
        await bus.request("t.nobody", b"", timeout=SOON)


async def test_no_answer_in_time(world: World) -> None:
    bus = await world.bus()
    await bus.subscribe("t.silent", lambda message: None)
    with pytest.raises(RequestTimeout):
        await bus.request("t.silent", b"", timeout=0.02)
    await settle(bus)


async def test_a_late_answer_harms_nothing(world: World) -> None:
    bus = await world.bus()
    heard = Heard()
    await bus.subscribe("t.late", heard)
    with pytest.raises(RequestTimeout):
        await bus.request("t.late", b"", timeout=0.02)
    await heard.at_least(1)
    await bus.publish(heard[0].reply, b"too late")
    await echo(bus, "t.echo2")
    assert (await bus.request("t.echo2", b"x", timeout=SOON)).data == b"x"


async def test_a_cancelled_request_harms_nothing(world: World) -> None:
    bus = await world.bus()
    await bus.subscribe("t.silent2", lambda message: None)
    task = asyncio.create_task(bus.request("t.silent2", b"", timeout=SOON))
    await settle(bus)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle(bus)


async def test_an_inbox_is_heard(world: World) -> None:
    bus = await world.bus("pool-1")
    heard = Heard()
    inbox = bus.inbox()
    assert inbox != bus.inbox()
    await bus.subscribe(inbox, heard)
    peer = await world.bus()
    await settle(bus)
    await peer.publish(inbox, b"x")
    await heard.at_least(1)


@pytest.mark.parametrize("reply", ["t.public", "$JS.API.STREAM.DELETE.X", "_INBOXES.x"])
async def test_who_asks_cannot_choose_where_we_speak(world: World, reply: str) -> None:
    """We may publish where he may not: an answer there would pass for our own word."""
    bus, liar = await world.bus(), await world.bus()
    heard = Heard()
    await bus.subscribe("t.ask", heard)
    await settle(bus)
    await liar.publish("t.ask", b"1", reply=reply)
    await liar.publish("t.ask", b"2")
    await heard.at_least(1)
    assert [message.data for message in heard] == [b"2"]
    assert bus.stats().dropped == 1


# -- bounds ---------------------------------------------------------------------------------------


async def test_too_large_is_refused_and_harms_nothing(world: World) -> None:
    bus = await world.bus()
    heard = Heard()
    await bus.subscribe("t.large", heard)
    with pytest.raises(MessageTooLarge, match=r"t\.large.*65537"):
        await bus.publish("t.large", b"x" * (PAYLOAD + 1))
    with pytest.raises(MessageTooLarge):
        await bus.publish("t.large", b"x" * PAYLOAD, headers={"K": "v"})
    with pytest.raises(MessageTooLarge):
        await bus.request("t.large", b"x" * (PAYLOAD + 1), timeout=SOON)
    await bus.publish("t.large", b"x" * PAYLOAD)
    await heard.at_least(1)


@pytest.mark.parametrize("subject", ["", "a b", "a..b", "a.", "a\r\nPUB x", "a.*", "a.>", ".a"])
async def test_what_is_no_subject_is_refused(world: World, subject: str) -> None:
    bus = await world.bus()
    with pytest.raises(ValueError, match="subject"):
        await bus.publish(subject, b"")
    with pytest.raises(ValueError, match="subject"):
        await bus.request(subject, b"", timeout=SOON)


@pytest.mark.parametrize("pattern", ["", "a b", "a..b", "a.>.b", "a*", "a\r\n"])
async def test_what_is_no_pattern_is_refused(world: World, pattern: str) -> None:
    bus = await world.bus()
    with pytest.raises(ValueError, match="pattern"):
        await bus.subscribe(pattern, lambda message: None)
    assert bus.is_up


async def test_a_slow_handler_drops_and_counts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await world.bus()
    go, heard = asyncio.Event(), Heard()

    async def slow(message: Message) -> None:
        await go.wait()
        heard(message)

    await bus.subscribe("t.slow", slow)
    for number in range(100):
        await bus.publish("t.slow", str(number).encode().ljust(1024))
    await settle(bus)
    await settle(bus)
    go.set()
    await heard.until(lambda: len(heard) + bus.stats().dropped == 100)
    kept = PENDING // 1024
    assert kept // 2 < len(heard) <= kept + 1
    numbers = [int(message.data) for message in heard]
    assert numbers == sorted(set(numbers))
    assert numbers[: kept // 2] == list(range(kept // 2))  # what came first stays
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) <= 1


async def test_stats_count_payload(world: World) -> None:
    a, b = await world.bus(), await world.bus()
    heard = Heard()
    await b.subscribe("t.stats", heard)
    await settle(b)
    before = a.stats().out_bytes, a.stats().out_messages, b.stats().in_bytes
    await a.publish("t.stats", b"12345")
    await a.publish("t.stats", b"12345")
    await heard.at_least(2)
    assert a.stats().out_bytes - before[0] == 10
    assert a.stats().out_messages - before[1] == 2
    assert b.stats().in_bytes - before[2] == 10


# -- unsubscribe ----------------------------------------------------------------------------------


async def test_unsubscribe_is_idempotent_and_silences(world: World) -> None:
    bus = await world.bus()
    heard = Heard()
    subscription = await bus.subscribe("t.un", heard)
    await bus.publish("t.un", b"1")
    await heard.at_least(1)
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    await bus.publish("t.un", b"2")
    await settle(bus)
    assert len(heard) == 1
    with pytest.raises(NoResponders):
        await bus.request("t.un", b"", timeout=SOON)


async def test_unsubscribe_from_its_own_handler(world: World) -> None:
    bus = await world.bus()
    heard = Heard()

    async def once(message: Message) -> None:
        await subscription.unsubscribe()
        await asyncio.sleep(0)
        heard(message)

    subscription = await bus.subscribe("t.once", once)
    await bus.publish("t.once", b"1")
    await bus.publish("t.once", b"2")
    await heard.at_least(1)
    await settle(bus)
    assert [message.data for message in heard] == [b"1"]


async def test_unsubscribe_cancels_a_handler_under_way(world: World) -> None:
    bus = await world.bus()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    subscription = await bus.subscribe("t.endless", endless)
    await bus.publish("t.endless", b"")
    await asyncio.wait_for(begun.wait(), SOON)
    await subscription.unsubscribe()
    assert ended.is_set()


# -- the link -------------------------------------------------------------------------------------


async def test_down_means_down(world: World) -> None:
    bus = await world.bus()
    links: list[bool] = []
    forget = bus.on_link(links.append)
    await world.cut(bus)
    seen = [bus.is_up]
    for attempt in (
        bus.publish("t.x", b""),
        bus.request("t.x", b"", timeout=SOON),
        bus.flush(SOON),
        bus.wait_up(0.01),
    ):
        with pytest.raises(BusDown):
            await attempt
    await world.heal(bus)
    seen.append(bus.is_up)
    assert links == seen == [False, True]
    forget()
    await world.cut(bus)
    assert links == [False, True]
    await world.heal(bus)
    assert bus.stats().reconnects == 2


async def test_subscriptions_survive_a_cut(world: World) -> None:
    bus, peer = await world.bus(), await world.bus()
    old, new, gone = Heard(), Heard(), Heard()
    await bus.subscribe("t.live", old)
    dropped = await bus.subscribe("t.live", gone)
    await world.cut(bus)
    await bus.subscribe("t.live", new)
    await dropped.unsubscribe()
    await peer.publish("t.live", b"lost")
    await settle(peer)
    await world.heal(bus)
    await settle(bus)
    await peer.publish("t.live", b"1")
    await old.at_least(1)
    await new.at_least(1)
    assert [message.data for message in old] == [b"1"]
    assert [message.data for message in new] == [b"1"]
    assert gone == []


async def test_a_request_under_way_hears_of_a_cut(world: World) -> None:
    bus = await world.bus()
    heard = Heard()
    peer = await world.bus()
    await peer.subscribe("t.pending", heard)
    await settle(peer)
    task = asyncio.create_task(bus.request("t.pending", b"", timeout=60))
    await heard.at_least(1)
    await world.cut(bus)
    with pytest.raises(BusDown):
        await asyncio.wait_for(task, SOON)


async def test_a_handler_at_work_outlives_a_cut(world: World) -> None:
    bus = await world.bus()
    begun, go, heard = asyncio.Event(), asyncio.Event(), Heard()

    async def work(message: Message) -> None:
        begun.set()
        await go.wait()
        heard(message)

    await bus.subscribe("t.work2", work)
    await bus.publish("t.work2", b"1")
    await bus.publish("t.work2", b"2")
    await asyncio.wait_for(begun.wait(), SOON)
    await settle(bus)
    await settle(bus)
    await world.cut(bus)
    go.set()
    await heard.at_least(2)


async def test_a_failing_listener_harms_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await world.bus()
    links: list[bool] = []

    def bad(up: bool) -> None:
        raise RuntimeError("listener's trouble")

    bus.on_link(bad)
    bus.on_link(links.append)
    await world.cut(bus)
    await world.heal(bus)
    assert links == [False, True]
    assert "listener's trouble" in caplog.text


@pytest.mark.parametrize("cut_first", [False, True])
async def test_close_ends_all_and_is_idempotent(world: World, cut_first: bool) -> None:
    bus = await world.bus()
    heard = Heard()
    await bus.subscribe("t.close", heard)
    if cut_first:
        await world.cut(bus)
    async with asyncio.timeout(1):
        await bus.close()
        await bus.close()
    with pytest.raises(BusDown):
        await bus.publish("t.x", b"")
    with pytest.raises(BusDown):
        await bus.subscribe("t.x", heard)
    with pytest.raises(BusDown):
        await bus.wait_up()
    assert not bus.is_up


async def test_a_request_under_way_hears_of_close(world: World) -> None:
    bus, peer = await world.bus(), await world.bus()
    heard = Heard()
    await peer.subscribe("t.asked", heard)
    await settle(peer)
    task = asyncio.create_task(bus.request("t.asked", b"", timeout=60))
    await heard.at_least(1)
    await bus.close()
    with pytest.raises(BusDown):
        await asyncio.wait_for(task, SOON)


async def test_what_was_published_before_an_orderly_close_arrives(world: World) -> None:
    bus, peer = await world.bus(), await world.bus()
    heard = Heard()
    await peer.subscribe("t.last", heard)
    await settle(peer)
    for _ in range(50):
        await bus.publish("t.last", b"x")
    await bus.close()
    await heard.at_least(50)


# -- permissions ----------------------------------------------------------------------------------


async def test_what_is_not_allowed_is_not_heard(world: World) -> None:
    node, admin = await world.bus("cloud-1"), await world.bus()
    heard, spied = Heard(), Heard()
    await admin.subscribe("beat.>", heard)
    await settle(admin)
    await node.subscribe("beat.>", spied)
    await node.publish("beat.pool-a.n2", b"forged")
    await node.publish("beat.pool-a.n1", b"own")
    await heard.at_least(1)
    await settle(node, admin)
    assert [message.data for message in heard] == [b"own"]
    assert spied == []
    assert node.is_up


async def test_a_requester_may_be_answered_once(world: World) -> None:
    a, b, spy = await world.bus("pool-1"), await world.bus("pool-2"), await world.bus()
    answers = Heard()
    await spy.subscribe("_INBOX.pool-a.n1.>", answers)
    await settle(spy)

    async def answer(message: Message) -> None:
        await b.publish(message.reply, b"first")
        await b.publish(message.reply, b"second")
        await b.flush(SOON)

    await b.subscribe("pool.feed.sync.x", answer)
    await settle(b)
    assert (await a.request("pool.feed.sync.x", b"", timeout=SOON)).data == b"first"
    await b.publish("_INBOX.pool-a.n1.guess", b"injected")
    await settle(b, spy)
    assert [message.data for message in answers] in ([b"first"], [])
