"""Watches over HTTP: every way to begin, to go on and to end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from actors.kube.watchcache import CacheSettings
from tests.actors.kube.objects import gone, put
from tests.actors.kube.serve.serving import CONFIGMAPS_URL, Api, serving
from tests.actors.until import until

WATCH = f"{CONFIGMAPS_URL}?watch=true"
WATCH_LIST = (
    f"{WATCH}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


# -- beginnings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["", "&resourceVersion=0"])
async def test_everything_first_then_live(api: Api, version: str) -> None:
    api.configmaps.put("b")
    api.configmaps.put("a")
    async with api.watch(WATCH + version) as watch:
        assert await watch.next_seen() == ("ADDED", "a")
        assert await watch.next_seen() == ("ADDED", "b")
        api.configmaps.put("a")
        assert await watch.next_seen() == ("MODIFIED", "a")
        api.configmaps.delete("a")
        assert await watch.next_seen() == ("DELETED", "a")


async def test_from_a_version(api: Api) -> None:
    version = api.configmaps.put("a")
    api.configmaps.put("b")
    async with api.watch(f"{WATCH}&resourceVersion={version}") as watch:
        assert await watch.next_seen() == ("ADDED", "b")
        assert watch.response.headers["Transfer-Encoding"] == "chunked"
        assert watch.response.headers["Content-Type"] == "application/json"


async def test_initial_events_end_with_a_marked_bookmark(api: Api) -> None:
    api.configmaps.put("a")
    api.configmaps.cache.advance(50)
    async with api.watch(WATCH_LIST) as watch:
        assert await watch.next_seen() == ("ADDED", "a")
        mark = await watch.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "ConfigMap"
        metadata = mark["object"]["metadata"]
        assert metadata["resourceVersion"] == "50"
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        api.configmaps.cache.apply([put(api.configmaps.resource, "default/b", 60)], 60)
        assert await watch.next_seen() == ("ADDED", "b")


async def test_initial_events_of_nothing_are_just_the_mark(api: Api) -> None:
    async with api.watch(f"{WATCH_LIST}&fieldSelector=metadata.name%3Dx") as watch:
        assert (await watch.next())["type"] == "BOOKMARK"


async def test_no_initial_events(api: Api) -> None:
    api.configmaps.put("a")
    path = f"{WATCH}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    async with api.watch(path) as watch:
        api.configmaps.put("b")
        assert await watch.next_seen() == ("ADDED", "b")


async def test_initial_events_wait_for_the_version() -> None:
    async with serving(wait_version=0.05) as api:
        answer = await api.get(f"{WATCH_LIST}&resourceVersion=99")
        assert (answer.status, answer.json["reason"]) == (504, "Timeout")


async def test_too_old_is_one_error_event_and_the_end(api: Api) -> None:
    async with api.watch(f"{WATCH}&resourceVersion=3") as watch:
        (event,) = await watch.rest()
    assert event == {
        "type": "ERROR",
        "object": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "too old resource version: 3 (10)",
            "reason": "Expired",
            "code": 410,
        },
    }


async def test_errors_before_the_beginning(api: Api) -> None:
    assert (await api.get(f"{WATCH}&resourceVersion=x")).status == 400
    assert (await api.get(f"{WATCH}&sendInitialEvents=true")).status == 422
    assert (await api.get(f"{WATCH}&labelSelector=a+b")).status == 400
    protobuf = await api.get(WATCH, Accept="application/vnd.kubernetes.protobuf")
    assert protobuf.status == 406


# -- under way ------------------------------------------------------------------------------------


async def test_selector_changes_are_added_and_deleted(api: Api) -> None:
    async with api.watch(f"{WATCH}&labelSelector=app%3Dweb") as watch:
        api.configmaps.put("a", labels={"app": "db"})
        api.configmaps.put("a", labels={"app": "web"})
        version = api.configmaps.put("a", labels={"app": "db"})
        assert await watch.next_seen() == ("ADDED", "a")
        event = await watch.next()
        assert event["type"] == "DELETED"
        assert event["object"]["metadata"]["resourceVersion"] == str(version)
        assert event["object"]["metadata"]["labels"] == {"app": "web"}


async def test_other_namespaces_are_not_seen(api: Api) -> None:
    api.configmaps.put("x", "other")
    async with api.watch(WATCH) as watch:
        api.configmaps.put("y", "other")
        api.configmaps.put("a")
        assert await watch.next_seen() == ("ADDED", "a")


async def test_table_rows(api: Api) -> None:
    async with api.watch(f"{WATCH}&resourceVersion=10", Accept=TABLE) as watch:
        api.configmaps.put("a", data={"k": "v"})
        event = await watch.next()
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][:2] == ["a", 1]


async def test_partial_metadata(api: Api) -> None:
    api.configmaps.put("a", data={"k": "v"})
    async with api.watch(WATCH_LIST, Accept=PARTIAL) as watch:
        added, mark = await watch.next(), await watch.next()
    assert added["object"]["kind"] == mark["object"]["kind"] == "PartialObjectMetadata"
    assert "data" not in added["object"]


async def test_bookmarks_come_while_nothing_happens() -> None:
    async with serving(bookmark=0.05) as api:
        path = f"{WATCH}&resourceVersion=10&allowWatchBookmarks=true"
        async with api.watch(path) as watch:
            api.configmaps.cache.advance(70)
            event = await watch.next()
            assert event["type"] == "BOOKMARK"
            assert event["object"]["metadata"]["resourceVersion"] == "70"
            assert (await watch.next())["type"] == "BOOKMARK"


async def test_large_objects_pass(api: Api) -> None:
    async with api.session.get(api.url + WATCH, read_bufsize=2**22) as response:
        api.configmaps.put("big", data={"k": "v" * 1_500_000})
        line = await response.content.readline()
        assert len(line) > 1_500_000


# -- ends -----------------------------------------------------------------------------------------


async def test_a_bookmark_follows_what_carries_an_older_version(api: Api) -> None:
    """A client goes on from the last version it saw, which must not be that of a revision."""
    source = api.configmaps
    version = source.put("a", data={"by": "the cloud"})
    source.cache.advance(50)
    change = put(source.resource, "default/a", version, data={"by": "us"})
    async with (
        api.watch(f"{WATCH}&resourceVersion=50&allowWatchBookmarks=true") as watch,
        api.watch(f"{WATCH}&resourceVersion=50") as plain,
    ):
        source.cache.revise([change])
        event, mark = await watch.next(), await watch.next()
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"by": "us"})
        assert event["object"]["metadata"]["resourceVersion"] == str(version)
        assert (mark["type"], mark["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", "50")
        source.put("b")
        assert await watch.next_seen() == ("ADDED", "b")
        assert [await plain.next_seen() for _ in "ab"] == [("MODIFIED", "a"), ("ADDED", "b")]
    async with api.watch(f"{WATCH}&resourceVersion=50&allowWatchBookmarks=true") as watch:
        assert await watch.next_seen() == ("MODIFIED", "a")


async def test_timeout_is_a_clean_end_with_a_last_bookmark(api: Api) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    path = f"{WATCH}&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=1"
    async with api.watch(path) as watch:
        api.configmaps.put("a")
        events = await watch.rest()
    assert 0.9 < loop.time() - began < 5
    assert [e["type"] for e in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["resourceVersion"] == "11"


async def test_a_busy_watch_ends_in_time_too(api: Api) -> None:
    async def keep_busy() -> None:
        while True:
            api.configmaps.put("a")
            await asyncio.sleep(0)

    async with api.watch(f"{WATCH}&resourceVersion=10&timeoutSeconds=1") as watch:
        busy = asyncio.create_task(keep_busy())
        events = await watch.rest()
        busy.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await busy
    assert len(events) > 10


async def test_reset_is_410_for_every_watcher(api: Api) -> None:
    async with api.watch(WATCH_LIST) as one, api.watch(f"{WATCH}&resourceVersion=10") as two:
        assert (await one.next())["type"] == "BOOKMARK"
        api.configmaps.cache.reset([gone("default/x", 3)], 5)
        for watch in (one, two):
            events = [e for e in await watch.rest() if e["type"] != "BOOKMARK"]
            assert [e["object"]["code"] for e in events] == [410]


async def test_stop_ends_watches_cleanly() -> None:
    async with serving() as api, api.watch(f"{WATCH}&allowWatchBookmarks=true") as watch:
        api.configmaps.put("a")
        assert await watch.next_seen() == ("ADDED", "a")
        stopping = asyncio.create_task(api.server.stop())
        assert [e["type"] for e in await watch.rest()] == ["BOOKMARK"]
        await stopping


async def open_stuck(api: Api, path: str) -> asyncio.StreamWriter:
    """A client that asks and never reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", api.server.port, limit=1)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return writer


def watches(api: Api) -> Any:
    from actors.kube.serve.app import WATCHES

    app: Any = api.server.app
    return app[WATCHES]


async def test_a_client_that_reads_nothing_is_cut_off_alone() -> None:
    limits = CacheSettings(watcher_bytes=2_000_000, window_bytes=2**26, burst_bytes=2**26)
    async with serving(limits=limits) as api:
        writer = await open_stuck(api, f"{WATCH}&resourceVersion=10")
        await until(lambda: watches(api).count == 1, "the stuck client watches")
        async with api.watch(f"{WATCH}&resourceVersion=10") as watch:
            for index in range(200):
                api.configmaps.put("a", data={"k": "v" * 100_000, "n": str(index)})
                assert (await watch.next())["object"]["data"]["n"] == str(index)
        writer.transport.abort()
        await until(lambda: watches(api).count == 0, "both are gone")


async def test_a_client_too_far_behind_ends_cleanly_and_resumes() -> None:
    limits = CacheSettings(watcher_bytes=20_000)
    async with serving(limits=limits) as api:
        async with api.watch(f"{WATCH}&resourceVersion=10") as watch:
            await until(lambda: watches(api).count == 1, "the client watches")
            for index in range(10):
                api.configmaps.put(f"n{index}", data={"k": "v" * 5_000})
            assert await watch.rest() == []
        resumed = f"{WATCH}&resourceVersion=18&timeoutSeconds=1"
        async with api.watch(resumed) as watch:
            assert [e["object"]["metadata"]["name"] for e in await watch.rest()] == ["n8", "n9"]


async def test_a_stalled_client_loses_its_connection() -> None:
    async with serving(stall=0.1) as api:
        writer = await open_stuck(api, f"{WATCH}&resourceVersion=10")
        await until(lambda: watches(api).count == 1, "the stuck client watches")
        for index in range(200):
            api.configmaps.put("a", data={"k": "v" * 100_000, "n": str(index)})
        await until(lambda: watches(api).count == 0, "the stalled client is cut off")
        writer.transport.abort()


async def test_a_client_that_goes_is_noticed_at_once(api: Api) -> None:
    async with api.watch(f"{WATCH}&resourceVersion=10"):
        await until(lambda: watches(api).count == 1, "the client watches")
    await until(lambda: watches(api).count == 0, "it is gone")


async def test_many_watchers_share_what_is_encoded(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(api.watch(f"{WATCH}&resourceVersion=10"))
            for _ in range(20)
        ]
        for index in range(5):
            api.configmaps.put(f"n{index}")
        for watch in opened:
            assert [await watch.next_seen() for _ in range(5)] == [
                ("ADDED", f"n{index}") for index in range(5)
            ]


async def test_stop_does_not_wait_for_a_client_that_reads_nothing() -> None:
    async with serving(stop=0.1) as api:
        writer = await open_stuck(api, f"{WATCH}&resourceVersion=10")
        await until(lambda: watches(api).count == 1, "the stuck client watches")
        for index in range(200):
            api.configmaps.put("a", data={"k": "v" * 100_000, "n": str(index)})
        async with asyncio.timeout(2):
            await api.server.stop()
        assert watches(api).count == 0
        writer.transport.abort()
