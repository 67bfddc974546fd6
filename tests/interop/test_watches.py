"""watch, as on the wire: the same events in the same order, resumes, ends, marks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.interop.samples import CARRIED, collection, config_map, sample, service
from tests.interop.target import Api, Json, Seen, Target, Watching, name_of, stripped, version_of
from tests.interop.world import HISTORY

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
WATCH_LIST: Json = {
    "allowWatchBookmarks": "true",
    "resourceVersionMatch": "NotOlderThan",
    "sendInitialEvents": "true",
}


def shown(events: list[Seen]) -> list[tuple[str, str, int]]:
    return [(event.type, name_of(event.object), event.version) for event in events]


async def start(reads: Api, writes: Api, path: str) -> int:
    """A version of the resource that both servers have."""
    version = version_of(await writes.get(path))
    at_reads = version_of(await reads.get(path))
    return min(version, at_reads)


@pytest.mark.parametrize("kind", CARRIED)
async def test_events_are_the_api_servers(reads: Api, writes: Api, ns: str, kind: str) -> None:
    """Each is awaited before the next change, so nothing may be told as one."""
    path = collection(kind, ns)
    begin = await start(reads, writes, path)
    async with AsyncExitStack() as stack:
        seen, truth = [
            await stack.enter_async_context(api.watch(path, resourceVersion=begin))
            for api in (reads, writes)
        ]
        expected: list[str] = []
        for step in ("create", "change", "change", "delete", "create"):
            expected.append(await _do(writes, kind, ns, step, len(expected)))
            await asyncio.gather(seen.take(1), truth.take(1))
    assert shown(seen.events) == shown(truth.events)
    assert [stripped(event.object) for event in seen.events] == [
        stripped(event.object) for event in truth.events
    ]
    assert [event.type for event in seen.events] == expected
    assert [event.object["kind"] for event in seen.events] == [kind] * 5
    versions = [event.version for event in seen.events]
    assert versions == sorted(set(versions))


async def _do(writes: Api, kind: str, ns: str, step: str, number: int) -> str:
    """The event that it causes."""
    if step == "create":
        await writes.create(sample(kind, "it"), ns)
        return "ADDED"
    if step == "delete":
        await writes.delete(kind, ns, "it")
        return "DELETED"
    await writes.patch(kind, ns, "it", {"metadata": {"labels": {"step": str(number)}}})
    return "MODIFIED"


async def test_a_burst_ends_in_the_same_state(reads: Api, writes: Api, ns: str) -> None:
    """Versions of each object grow, whether or not each change is told."""
    path = collection("ConfigMap", ns)
    begin = await start(reads, writes, path)
    async with reads.watch(path, resourceVersion=begin) as watching:
        made = [await writes.create(config_map(f"b{n}", mine="1"), ns) for n in range(5)]
        changes = [(f"b{n % 5}", str(n)) for n in range(40)]
        for name, value in changes:
            await writes.patch("ConfigMap", ns, name, {"data": {"key": value}})
        await writes.delete("ConfigMap", ns, "b0")
        last = await writes.create(config_map("last", mine="1"), ns)
        held = await _follow(watching, version_of(last))
    truth = await writes.list(path, labelSelector="mine=1")
    assert held == {name_of(each): version_of(each) for each in truth}
    assert len(made) == 5


async def _follow(watching: Watching, until: int) -> dict[str, int]:
    """Our objects by version, after the events up to `until`."""
    held: dict[str, int] = {}
    while until not in held.values():
        [event] = await watching.take(1)
        name = name_of(event.object)
        if "mine" not in event.object["metadata"].get("labels", {}):
            continue  # a real cluster puts some of its own into each namespace
        assert event.type == ("MODIFIED" if name in held else "ADDED") or event.type == "DELETED"
        assert event.version > held.get(name, 0)
        held[name] = event.version
        if event.type == "DELETED":
            del held[name]
    return held


async def test_a_watch_without_version_tells_all_first(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Service", ns)
    for name in ("b", "a"):
        made = await writes.create(service(name), ns)
    await reads.sees(path, version_of(made))
    starts: list[Json] = [{}, {"resourceVersion": 0}]
    for params in starts:
        async with reads.watch(path, **params) as watching:
            first = await watching.take(2)
            assert {(e.type, name_of(e.object)) for e in first} == {("ADDED", "a"), ("ADDED", "b")}


async def test_objects_enter_and_leave_a_selection(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Service", ns)
    begin = await start(reads, writes, path)
    select: Json = {"labelSelector": "tier=web", "resourceVersion": begin}
    async with reads.watch(path, **select) as watching:
        await writes.create(service("other"), ns)
        await writes.create(service("it", tier="web"), ns)
        [added] = await watching.take(1)
        out = await writes.patch("Service", ns, "it", {"metadata": {"labels": {"tier": "db"}}})
        [left] = await watching.take(1)
        back = await writes.patch("Service", ns, "it", {"metadata": {"labels": {"tier": "web"}}})
        [entered] = await watching.take(1)
    assert [e.type for e in (added, left, entered)] == ["ADDED", "DELETED", "ADDED"]
    assert {name_of(e.object) for e in (added, left, entered)} == {"it"}
    assert (left.version, entered.version) == (version_of(out), version_of(back))


async def test_a_field_selector_follows_one_object(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    begin = await start(reads, writes, path)
    one: Json = {"fieldSelector": "metadata.name=it", "resourceVersion": begin}
    async with reads.watch(path, **one) as watching:
        for name in ("x", "it", "y"):
            await writes.create(config_map(name), ns)
        events = await watching.take(1)  # what goes before it is told never was, for a hub
        await writes.delete("ConfigMap", ns, "x")
        await writes.delete("ConfigMap", ns, "it")
        events += await watching.take(1)
    assert [(e.type, name_of(e.object)) for e in events] == [("ADDED", "it"), ("DELETED", "it")]


async def test_resume_tells_what_was_missed(reads: Api, writes: Api, ns: str) -> None:
    """The server ends the watch after its time, cleanly; the client goes on where it was."""
    path = collection("ConfigMap", ns)
    begin = await start(reads, writes, path)
    async with reads.watch(path, resourceVersion=begin, timeoutSeconds=2) as watching:
        await writes.create(config_map("one", mine="1"), ns)
        rest = await watching.rest()
    assert [e.type for e in rest if name_of(e.object) == "one"] == ["ADDED"]
    at = max(event.version for event in rest)
    await writes.patch("ConfigMap", ns, "one", {"data": {"key": "new"}})
    await writes.create(config_map("two", mine="1"), ns)
    await writes.delete("ConfigMap", ns, "one")
    mine: Json = {"labelSelector": "mine=1", "resourceVersion": at}
    async with reads.watch(path, **mine) as watching:
        events = [*await _until_deleted(watching, "one")]
    # The hub may have heard of the first and the last together.
    kinds = [(event.type, name_of(event.object)) for event in events]
    assert [kind for kind in kinds if kind[0] != "MODIFIED"] == [
        ("ADDED", "two"),
        ("DELETED", "one"),
    ]
    assert all(event.version > at for event in events)


async def _until_deleted(watching: Watching, name: str) -> list[Seen]:
    found: list[Seen] = []
    while not found or (found[-1].type, name_of(found[-1].object)) != ("DELETED", name):
        found += await watching.take(1)
    return found


async def test_too_old_a_version_is_gone(target: Target, reads: Api, writes: Api, ns: str) -> None:
    """For watches, lists at a version, and pages. A client lists anew, then it is well again."""
    path = collection("ConfigMap", ns)
    await writes.create(config_map("x", mine="1"), ns)
    other = await writes.create(config_map("y", mine="1"), ns)
    await reads.sees(path, version_of(other))
    page = await reads.get(path, limit=1, labelSelector="mine=1")
    old = 1 if target.name == "cluster" else version_of(page)
    if target.name != "cluster":  # whose window is too large to write it full
        await _fill_window(reads, writes, path, ns)
    async with reads.watch(path, resourceVersion=old) as watching:
        [event] = await watching.rest()
    assert (event.type, event.object["kind"]) == ("ERROR", "Status")
    assert (event.object["code"], event.object["reason"]) == (410, "Expired")
    assert f"too old resource version: {old}" in event.object["message"]
    answer = await reads.ask(path, resourceVersion=old, resourceVersionMatch="Exact")
    assert (answer.status, answer.json["reason"]) == (410, "Expired")
    if target.name != "cluster":
        await _pages_go_on(reads, path, page["metadata"]["continue"])
    again = version_of(await reads.get(path))
    async with reads.watch(path, resourceVersion=again) as watching:
        await writes.create(config_map("z", mine="1"), ns)
        [live] = await watching.take(1)
    assert name_of(live.object) == "z"


async def _fill_window(reads: Api, writes: Api, path: str, ns: str) -> None:
    """More changes than the servers of `world.py` remember."""
    for number in range(HISTORY + HISTORY // 4):
        blob = f"{number:06}" * 2000
        last = await writes.patch("ConfigMap", ns, "x", {"data": {"blob": blob}})
    await reads.sees(path, version_of(last))


async def _pages_go_on(reads: Api, path: str, token: str) -> None:
    """The refusal has a token for the rest as it is now."""
    query: Json = {"labelSelector": "mine=1", "limit": 1}
    refused = await reads.ask(path, **query, **{"continue": token})
    assert (refused.status, refused.json["reason"]) == (410, "Expired")
    rest = await reads.get(path, **query, **{"continue": refused.json["metadata"]["continue"]})
    assert [name_of(each) for each in rest["items"]] == ["y"]


async def test_watch_list(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Service", ns)
    made = [await writes.create(service(name), ns) for name in ("b", "a")]
    await reads.sees(path, version_of(made[-1]))
    async with reads.watch(path, **WATCH_LIST) as watching:
        *initial, mark = await watching.initial()
        late = await writes.create(service("c"), ns)
        [live] = await watching.take(1)
    assert {(e.type, name_of(e.object)) for e in initial} == {("ADDED", "a"), ("ADDED", "b")}
    assert mark.version >= version_of(made[-1])
    assert mark.object["kind"] == "Service"
    assert (live.type, live.version) == ("ADDED", version_of(late))


async def test_watch_list_waits_for_its_version(reads: Api, writes: Api, ns: str) -> None:
    """Asked in the instant of the write, a follower may not have it yet: it must not show less."""
    path = collection("ConfigMap", ns)
    for number in range(10):
        made = await writes.create(config_map(f"n{number}", mine="1"), ns)
        params: Json = {
            **WATCH_LIST,
            "resourceVersion": version_of(made),
            "labelSelector": "mine=1",
        }
        async with reads.watch(path, **params) as watching:
            *initial, mark = await watching.initial()
        assert {name_of(e.object) for e in initial} == {f"n{n}" for n in range(number + 1)}
        assert mark.version >= version_of(made)


async def test_initial_events_need_their_match(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Service", ns)
    query: Json = {"watch": "true", "sendInitialEvents": "true"}
    got, truth = await asyncio.gather(reads.ask(path, **query), writes.ask(path, **query))
    assert got.status == truth.status == 422
    assert got.json == truth.json


async def test_a_bookmark_before_the_end(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    made = await writes.create(config_map("x"), ns)
    await reads.sees(path, version_of(made))
    params: Json = {"resourceVersion": version_of(made), "timeoutSeconds": 4}
    async with AsyncExitStack() as stack:
        with_marks, without = [
            await stack.enter_async_context(reads.watch(path, **params, allowWatchBookmarks=allow))
            for allow in ("true", "false")
        ]
        marked, unmarked = await asyncio.gather(with_marks.rest(), without.rest())
    marks = [event for event in marked if event.type == "BOOKMARK"]
    assert marks
    assert all(mark.version >= version_of(made) for mark in marks)
    assert {mark.object["kind"] for mark in marks} == {"ConfigMap"}
    assert "BOOKMARK" not in {event.type for event in unmarked}


async def test_a_watch_of_a_table(reads: Api, writes: Api, ns: str) -> None:
    """What `kubectl get -w` reads."""
    path = collection("Service", ns)
    begin = await start(reads, writes, path)
    async with AsyncExitStack() as stack:
        tables = [
            await stack.enter_async_context(api.watch(path, accept=TABLE, resourceVersion=begin))
            for api in (reads, writes)
        ]
        for name in ("one", "two"):
            await writes.create(service(name), ns)
        seen, truth = await asyncio.gather(*(_rows(table, 2) for table in tables))
    assert seen == truth
    assert [name for name, _ in seen] == ["one", "two"]


async def _rows(watching: Watching, count: int) -> list[tuple[str, list[object]]]:
    found: list[tuple[str, list[object]]] = []
    for number in range(count):
        event = await watching.next()
        assert event is not None
        assert event.type == "ADDED"
        table: Json = event.object
        assert table["kind"] == "Table"
        assert table["columnDefinitions"] or number  # known from the first
        found += [(row["cells"][0], row["cells"][:-1]) for row in table["rows"]]  # without the age
    return found


async def test_many_watchers_see_the_same(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    begin = await start(reads, writes, path)
    mine: Json = {"labelSelector": "mine=1", "resourceVersion": begin}
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(reads.watch(path, **mine)) for _ in range(20)]
        made = await writes.create(config_map("many", mine="1"), ns)
        [first] = await watches[0].take(1)
        await writes.delete("ConfigMap", ns, "many")
        taken = [[first, *await watches[0].take(1)]]
        taken += await asyncio.gather(*(watch.take(2) for watch in watches[1:]))
    assert all(shown(events) == shown(taken[0]) for events in taken)
    assert [event.type for event in taken[0]] == ["ADDED", "DELETED"]
    assert first.version == version_of(made)
