"""The permission table against a real server: nobody speaks as, or listens to, somebody else."""

from __future__ import annotations

import asyncio

import pytest

from bus import permissions, subjects
from bus.api import Message
from bus.connection import Connection
from bus.errors import RequestTimeout
from bus.jetstream import EXPECT, TTL, api, ensure_stream, last
from bus.jetstream import store as put
from bus.permissions import Permissions
from tests.bus.heard import SOON, Heard
from tests.bus.rig import Connect

FRAMES, SYNC, TICK = (getattr(subjects.CLOUD_FEEDS, part) for part in ("frames", "sync", "tick"))


async def settle(*connections: Connection) -> None:
    for connection in connections:
        await connection.flush(SOON)


async def hears(speaker: Connection, listener: Connection, subject: str) -> bool:
    """Whether what one publishes there is heard by the other, who listens to just that."""
    heard, marker = Heard(), Heard()
    subscription = await listener.subscribe(subject, heard)
    own = await listener.subscribe(listener.inbox() + ".>", marker)
    await settle(listener)
    await speaker.publish(subject, b"said")
    await settle(speaker, listener, listener)
    await asyncio.sleep(0)
    await subscription.unsubscribe()
    await own.unsubscribe()
    return [message.data for message in heard] == [b"said"]


@pytest.fixture
async def admin(connect: Connect) -> Connection:
    return await connect("admin")


# -- cloud bus ------------------------------------------------------------------------------------


async def test_a_node_says_what_is_its_own(connect: Connect, admin: Connection) -> None:
    node = await connect("cloud-1")
    for subject in (
        subjects.api("pool-a", "n1"),
        subjects.beat("pool-a", "n1"),
        subjects.link("pool-a", "n1"),
        "up.pool-a.n1.events",
        SYNC + "services",
    ):
        assert await hears(node, admin, subject), subject
    assert node.denied == 0


@pytest.mark.parametrize("node", ["n2", "n10"])
@pytest.mark.parametrize("pool", ["pool-a", "pool-b"])
async def test_a_node_does_not_speak_as_another(
    connect: Connect, admin: Connection, pool: str, node: str
) -> None:
    liar = await connect("cloud-1")
    lies = [
        subjects.api(pool, node),
        subjects.beat(pool, node),
        subjects.link(pool, node),
        f"up.{pool}.{node}.events",
    ]
    for subject in lies:
        assert not await hears(liar, admin, subject), subject
    assert liar.denied == len(lies)


async def test_a_node_does_not_speak_as_the_cloud(connect: Connect, admin: Connection) -> None:
    liar = await connect("cloud-1")
    lies = [
        FRAMES + "services",
        TICK,
        "down.pool-a.n1.x",
        "down.pool-a.n2.x",
        admin.inbox(),
        "_INBOX.pool-a.n2.x",
        "_INBOX.pool-a.n1.x",
        "$SYS.REQ.SERVER.PING",
        "$JS.API.INFO",
        "$KV.leases.x",
        "anything",
    ]
    for subject in lies:
        assert not await hears(liar, admin, subject), subject
    assert liar.denied == len(lies)


async def test_a_node_hears_feeds_and_what_is_for_it(connect: Connect, admin: Connection) -> None:
    node = await connect("cloud-1")
    for subject in (FRAMES + "services", TICK, "down.pool-a.n1.x", node.inbox()):
        assert await hears(admin, node, subject), subject
    assert node.denied == 0


async def test_a_node_does_not_listen_to_others(connect: Connect, admin: Connection) -> None:
    spy = await connect("cloud-1")
    other = await connect("cloud-2")
    wanted = [
        other.inbox(),
        admin.inbox(),
        subjects.api("pool-a", "n2"),
        subjects.beat("pool-a", "n1"),
        "down.pool-a.n2.x",
        SYNC + "services",
        "$KV.leases.x",
    ]
    for subject in wanted:
        assert not await hears(admin, spy, subject), subject
    for pattern in (">", "_INBOX.>", "_INBOX.pool-a.>", "_INBOX.*.n2.>", "feed.>", "*.pool-a.>"):
        before = spy.denied
        await (await spy.subscribe(pattern, lambda message: None)).unsubscribe()
        await settle(spy)
        assert spy.denied == before + 1, pattern
    assert spy.is_up


async def test_the_cloud_answers_any_node(connect: Connect, admin: Connection) -> None:
    async def answer(message: Message) -> None:
        await admin.publish(message.reply, message.subject.encode())

    await admin.subscribe("api.>", answer)
    await settle(admin)
    for who, subject in (("cloud-1", "api.pool-a.n1"), ("cloud-b", "api.pool-b.n1")):
        node = await connect(who)
        assert (await node.request(subject, b"", timeout=SOON)).data == subject.encode()


async def test_a_node_answers_the_cloud(connect: Connect, admin: Connection) -> None:
    node = await connect("cloud-1")

    async def answer(message: Message) -> None:
        await node.publish(message.reply, b"here")

    await node.subscribe("down.pool-a.n1.>", answer)
    await settle(node)
    assert (await admin.request("down.pool-a.n1.x", b"", timeout=SOON)).data == b"here"


async def test_a_reply_of_a_liar_s_choice_does_not_lend_him_a_voice(
    connect: Connect, admin: Connection
) -> None:
    """The server lets him name any reply subject; whoever answers may publish there."""
    liar = await connect("cloud-1")
    heard, asked = Heard(), Heard()

    async def answer(message: Message) -> None:
        asked(message)
        await admin.publish(message.reply, b"an answer")

    await admin.subscribe(FRAMES + ">", heard)
    await admin.subscribe(SYNC + "*", answer)
    await settle(admin)
    await liar.publish(SYNC + "services", b"", reply=FRAMES + "services")
    assert (await liar.request(SYNC + "services", b"", timeout=SOON)).data == b"an answer"
    await settle(admin)
    assert (len(asked), heard) == (1, [])


# -- pool bus -------------------------------------------------------------------------------------


async def test_any_node_of_a_pool_may_lead(connect: Connect) -> None:
    a, b = await connect("pool-1"), await connect("pool-2")
    for feeds in (subjects.POOL_UP_FEEDS, subjects.POOL_FEEDS):
        for subject in (feeds.frames + "x", feeds.sync + "x", feeds.tick):
            assert await hears(a, b, subject), subject
    assert await hears(a, b, subjects.pool_beat("n1"))
    assert (a.denied, b.denied) == (0, 0)


async def test_a_node_of_a_pool_beats_only_for_itself(connect: Connect) -> None:
    a, b = await connect("pool-1"), await connect("pool-2")
    lies = [subjects.pool_beat("n2"), b.inbox(), "pool.other", "feed.tick", "api.pool-a.n1"]
    for subject in lies:
        assert not await hears(a, b, subject), subject
    assert a.denied == len(lies)
    for pattern in (b.inbox(), "_INBOX.pool-a.>", "_INBOX.>", ">"):
        before = a.denied
        await (await a.subscribe(pattern, lambda message: None)).unsubscribe()
        await settle(a)
        assert a.denied == before + 1, pattern


async def test_a_node_of_a_pool_borrows_only_for_itself(connect: Connect) -> None:
    a, b = await connect("pool-1"), await connect("pool-2")
    streams = subjects.POOL_STREAMS
    inbox = streams.inbox("pool-a", "n1")
    assert await hears(a, b, streams.ask("pool-a", "n1"))
    assert await hears(a, b, streams.ask_of("pool-a", "n1", "n2"))
    assert await hears(b, a, f"{inbox}.x.1"), "an answer, unasked for: streams last"
    assert (a.denied, b.denied) == (0, 0)
    for lie in (streams.ask("pool-a", "n2"), streams.ask_of("pool-a", "n2", "n1")):
        assert not await hears(a, b, lie), lie
    for pattern in (f"{inbox}.>", f"{streams.inboxes}.>"):
        await (await b.subscribe(pattern, lambda message: None)).unsubscribe()
    await settle(b)
    assert (a.denied, b.denied) == (2, 2)


async def test_a_sync_is_answered_by_whichever_node(connect: Connect) -> None:
    a, b = await connect("pool-1"), await connect("pool-2")

    async def answer(message: Message) -> None:
        await b.publish(message.reply, b"chunk")

    await b.subscribe(subjects.POOL_FEEDS.sync + "*", answer)
    await settle(b)
    for _ in range(3):
        asked = await a.request(subjects.POOL_FEEDS.sync + "x", b"", timeout=SOON)
        assert asked.data == b"chunk"


async def test_jetstream_is_the_pool_s(connect: Connect) -> None:
    """What leases and tables need: make, store with a TTL, compare, read, consume, listen."""
    a, b = await connect("pool-1"), await connect("pool-2")
    for bucket in ("leases", "objects", "state"):
        await ensure_stream(
            a,
            {
                "name": f"KV_{bucket}",
                "subjects": [f"$KV.{bucket}.>"],
                "max_msgs_per_subject": 1,
                "allow_msg_ttl": True,
                "allow_direct": True,
            },
            SOON,
        )
        heard = Heard()
        await b.subscribe(f"$KV.{bucket}.>", heard)
        await settle(b)
        sequence = await put(a, f"$KV.{bucket}.k", b"v", {TTL: "60s", EXPECT: "0"}, SOON)
        await heard.at_least(1)
        stored = await last(b, f"KV_{bucket}", f"$KV.{bucket}.k", SOON)
        assert stored is not None
        assert (stored.data, stored.sequence) == (b"v", sequence)
        delivered, inbox = Heard(), b.inbox()
        await b.subscribe(inbox, delivered)
        config = {"deliver_subject": inbox, "ack_policy": "explicit", "deliver_policy": "all"}
        body = {"stream_name": f"KV_{bucket}", "config": config}
        await api(b, f"CONSUMER.CREATE.KV_{bucket}", body, SOON)
        await delivered.at_least(1)
        await b.publish(delivered[0].reply, b"+ACK")
    await settle(a, b)
    assert (a.denied, b.denied) == (0, 0)


async def test_what_is_denied_is_a_timeout_not_an_answer(connect: Connect) -> None:
    node = await connect("cloud-1")
    with pytest.raises(RequestTimeout):
        await node.request("$JS.API.INFO", b"", timeout=0.1)
    assert node.denied == 1


# -- the table itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.b", "*", ">", "", "a b"])
def test_names_do_not_widen_what_is_allowed(name: str) -> None:
    for make in (permissions.cloud_node, permissions.pool_node, permissions.inbox_prefix):
        with pytest.raises(ValueError, match="token"):
            make(name, "n1")
        with pytest.raises(ValueError, match="token"):
            make("pool-a", name)


def test_no_node_s_inbox_is_within_another_s() -> None:
    whos = [("pool-a", "n1"), ("pool-a", "n10"), ("pool-a", "n2"), ("pool", "a"), ("cloud", "x")]
    patterns = [permissions.inbox_prefix(*who) + ".>" for who in whos]
    patterns.append(permissions.ADMIN_INBOX + ".>")
    for one in patterns:
        within = [other for other in patterns if subjects.matches(one, other.replace(">", "x"))]
        assert within == [one]


def test_it_is_pairs_of_patterns() -> None:
    rows: list[Permissions] = [
        permissions.cloud_admin(),
        permissions.cloud_node("p", "n"),
        permissions.pool_node("p", "n"),
    ]
    for publish, subscribe in rows:
        for pattern in (*publish, *subscribe):
            subjects.check_pattern(pattern)
