"""JetStream over a Bus: what its answers mean, and the calls against a real server."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.api import Bus, Message
from bus.errors import BusError, Conflict, DecodeError, StorageFull
from bus.jetstream import (
    EXPECT,
    JetStreamError,
    NoStream,
    api,
    checked,
    ensure_stream,
    kv_stream,
    kv_subject,
    last,
    store,
)
from tests.bus.faults import FaultyBus
from tests.bus.rig import Connect


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (10071, "wrong last sequence: 3", Conflict),
        (10164, "wrong last sequence", Conflict),
        (10077, "maximum bytes exceeded", StorageFull),
        (10077, "write: no space left on device", StorageFull),
        (10023, "insufficient resources", StorageFull),
        (10047, "insufficient storage resources available", StorageFull),
        (10059, "stream not found", NoStream),
        (10199, "atomic publish batch is too large: 1000", JetStreamError),
    ],
)
def test_errors_have_names(code: int, text: str, kind: type[BusError]) -> None:
    error = {"code": 400, "err_code": code, "description": text}
    with pytest.raises(kind, match=f"call: {text}") as raised:
        checked(Message("inbox", json.dumps({"error": error}).encode()), "call")
    assert type(raised.value) is kind


def test_foreign_answers_are_decode_errors() -> None:
    with pytest.raises(DecodeError):
        checked(Message("inbox", b"<html>"), "call")
    assert checked(Message("inbox", b""), "call") == {}


@pytest.fixture
async def bus(connect: Connect) -> Bus:
    return await connect("pool-1")


@pytest.fixture
async def bucket(bus: Bus) -> AsyncIterator[str]:
    name = f"b-{secrets.token_hex(4)}"
    yield name
    try:
        await api(bus, f"STREAM.DELETE.{kv_stream(name)}", None, 2.0)
    except NoStream:
        return


def config(bucket: str, **more: Any) -> dict[str, Any]:
    subjects = [kv_subject(bucket, ">")]
    return {"name": kv_stream(bucket), "subjects": subjects, "allow_direct": True, **more}


async def test_a_stream_is_made_once_and_kept_up_to_date(bus: Bus, bucket: str) -> None:
    first = await ensure_stream(bus, config(bucket), 2.0)
    watched = FaultyBus(bus)
    assert await ensure_stream(watched, config(bucket), 2.0) == first
    assert [subject for subject, _ in watched.sent] == [f"$JS.API.STREAM.INFO.KV_{bucket}"]
    assert await ensure_stream(bus, config(bucket, max_msgs_per_subject=1), 2.0) == first
    info = await api(bus, f"STREAM.INFO.{kv_stream(bucket)}", None, 2.0)
    assert info["config"]["max_msgs_per_subject"] == 1


async def test_reserved_storage_is_not_taken_away(bus: Bus, bucket: str) -> None:
    for size in (2 << 20, 1 << 20, 3 << 20):
        await ensure_stream(bus, config(bucket, max_bytes=size), 2.0)
        info = await api(bus, f"STREAM.INFO.{kv_stream(bucket)}", None, 2.0)
        assert info["config"]["max_bytes"] == max(size, 2 << 20)


async def test_more_than_the_server_has_cannot_be_reserved(bus: Bus, bucket: str) -> None:
    with pytest.raises(StorageFull):
        await ensure_stream(bus, config(bucket, max_bytes=1 << 50), 2.0)


async def test_stored_and_read_back(bus: Bus, bucket: str) -> None:
    await ensure_stream(bus, config(bucket), 2.0)
    subject = kv_subject(bucket, "a")
    assert await last(bus, kv_stream(bucket), subject, 2.0) is None
    sequence = await store(bus, subject, b"1", {EXPECT: "0", "X": "y"}, 2.0)
    found = await last(bus, kv_stream(bucket), subject, 2.0)
    assert found is not None
    assert (found.sequence, found.data, found.headers["X"]) == (sequence, b"1", "y")
    assert not found.is_marker
    with pytest.raises(Conflict):
        await store(bus, subject, b"2", {EXPECT: "0"}, 2.0)
    await store(bus, subject, b"", {"KV-Operation": "DEL"}, 2.0)
    gone = await last(bus, kv_stream(bucket), subject, 2.0)
    assert gone is not None
    assert gone.is_marker


async def test_what_somebody_else_answers_is_no_acknowledgement(bus: Bus) -> None:
    async def answer(message: Message) -> None:
        await bus.publish(message.reply, b'{"ok": true}')

    subscription = await bus.subscribe("pool.feed.nobody", answer)
    with pytest.raises(DecodeError):
        await store(bus, "pool.feed.nobody", b"1", {}, 2.0)
    await subscription.unsubscribe()


async def test_without_a_stream(bus: Bus, bucket: str) -> None:
    with pytest.raises(NoStream):
        await store(bus, kv_subject(bucket, "a"), b"1", {}, 2.0)
    with pytest.raises(NoStream):
        await last(bus, kv_stream(bucket), kv_subject(bucket, "a"), 2.0)
    with pytest.raises(NoStream):
        await api(bus, f"STREAM.INFO.{kv_stream(bucket)}", None, 2.0)
