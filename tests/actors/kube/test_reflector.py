"""The reflector against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from loguru import logger

from actors.backoff import RestartPolicy
from actors.kube.client import ClusterClient
from actors.kube.reflector import (
    Known,
    Reflector,
    ReflectorSettings,
    ResourceGone,
    SourceBatch,
)
from bus.feed.types import Change
from tests.actors.kube.scripted import (
    WIDGETS,
    ScriptedApi,
    Watching,
    added,
    bookmark,
    deleted,
    failure,
    line,
    listing,
    modified,
    refuse,
    typed,
    widget,
)
from tests.actors.until import until

QUICK = RestartPolicy(first=0.01, ceiling=0.02, settle=10.0)
DEADLINE = 5.0
NOTHING = Known()


class Seen:
    """What a reflector handed on, and the state that makes."""

    def __init__(self) -> None:
        self.batches: list[SourceBatch] = []
        self.state: dict[str, int] = {}
        self._more = asyncio.Event()

    async def take(self, batch: SourceBatch) -> None:
        self.batches.append(batch)
        for change in batch.changes:
            if change.data is None:
                del self.state[change.key]
            else:
                self.state[change.key] = change.version
        self._more.set()

    @property
    def version(self) -> int:
        return self.batches[-1].version if self.batches else 0

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def reaches(self, version: int) -> None:
        await self.until(lambda: self.version == version)


class Rig:
    def __init__(self, api: ScriptedApi, reflector: Reflector, seen: Seen) -> None:
        self.api = api
        self.reflector = reflector
        self.seen = seen


@asynccontextmanager
async def reflecting(
    api: ScriptedApi, known: Known = NOTHING, **settings: float
) -> AsyncIterator[Rig]:
    seen = Seen()
    async with api.serving(), ClusterClient(api.access) as client:
        reflector = Reflector(
            client,
            WIDGETS,
            seen.take,
            logger,
            known=known,
            settings=ReflectorSettings(QUICK, **settings),
        )
        task = asyncio.create_task(reflector.run(), name="reflector")
        try:
            yield Rig(api, reflector, seen)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ResourceGone):
                await task


async def start(watch: Watching, version: int = 10, *names: str) -> None:
    """Answers a watch-list with `names`, numbered up to `version`."""
    lines = [added(name, version - index) for index, name in enumerate(names)]
    await watch.send(*lines, bookmark(version, end=True))


def names_of(changes: tuple[Change, ...]) -> list[str]:
    return [f"{'-' if c.data is None else '+'}{c.key.split('/')[-1]}{c.version}" for c in changes]


async def test_a_watch_list_gives_the_whole_state_at_once_then_what_changes() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    async with reflecting(api) as rig:
        assert rig.reflector.age() == math.inf
        await start(watch, 10, "a", "b")
        await rig.seen.reaches(10)
        assert rig.reflector.age() < 1
        await watch.send(modified("a", 11, spec=1), added("c", 12), deleted("b", 13), bookmark(20))
        await rig.seen.reaches(20)
        first, second = rig.seen.batches
    assert (first.whole, names_of(first.changes)) == (True, ["+b9", "+a10"])
    assert names_of(second.changes) == ["+a11", "+c12", "-b13"]
    assert (second.whole, second.reset) == (False, False)
    assert json.loads(rig.reflector.items["default/a"].data) == {
        "kind": "Widget",
        "apiVersion": "example.com/v1",
        "metadata": {"name": "a", "namespace": "default", "resourceVersion": "11"},
        "spec": 1,
    }
    assert len(api.queries) == 1


async def test_what_follows_the_end_mark_in_its_chunk_is_not_lost() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    async with reflecting(api) as rig:
        await watch.send(added("a", 3), bookmark(5, end=True), modified("a", 6))
        await rig.seen.reaches(6)
    assert rig.seen.state == {"default/a": 6}


@pytest.mark.parametrize("code", [400, 405, 422])
async def test_without_watch_list_pages_are_listed_then_watched(code: int) -> None:
    api, watch = ScriptedApi(), Watching()
    pages = listing(9, widget("a", 3), token="more"), listing(9, widget("b", 4))
    api.then(refuse(code), *pages, watch)
    async with reflecting(api) as rig:
        await watch.send(added("c", 10))
        await rig.seen.reaches(10)
    assert rig.seen.state == {"default/a": 3, "default/b": 4, "default/c": 10}
    assert api.queries[1] == {"limit": "500", "resourceVersion": "0"}
    assert api.queries[2] == {"limit": "500", "continue": "more"}
    assert api.queries[3]["resourceVersion"] == "9"
    assert "sendInitialEvents" not in api.queries[3]
    assert rig.seen.batches[0].whole


async def test_a_server_that_knows_no_end_mark_is_listed_instead() -> None:
    api, deaf, watch = ScriptedApi(), Watching(), Watching()
    api.then(deaf, listing(9, widget("a", 3)), watch)
    async with reflecting(api, mark_seconds=0.05) as rig:
        await deaf.send(added("a", 3))
        await watch.opened.wait()
        await deaf.end()
    assert rig.seen.state == {"default/a": 3}


async def test_a_page_whose_snapshot_is_gone_makes_one_whole_list() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(refuse(422), listing(9, widget("a", 3), token="more"), refuse(410))
    api.then(listing(12, widget("b", 11)), watch)
    async with reflecting(api) as rig:
        await watch.opened.wait()
    assert rig.seen.state == {"default/b": 11}
    assert "limit" not in api.queries[3]


async def test_a_broken_watch_goes_on_from_its_version() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, refuse(500), second)
    async with reflecting(api) as rig:
        await start(first, 10, "a")
        await first.send(bookmark(15))
        await rig.seen.reaches(15)
        api.current = 40
        await first.cut()
        await second.send(added("a", 10))
        await second.send(modified("a", 41))
        await rig.seen.reaches(41)
        assert not rig.reflector.stats.error
    assert [query.get("resourceVersion") for query in api.queries] == [None, "9", "9"]
    assert [names_of(batch.changes) for batch in rig.seen.batches] == [["+a10"], [], ["+a41"]]
    assert rig.reflector.stats.endings == {"broken": 1, "500": 1}
    assert rig.reflector.stats.relists == {"start": 1}
    assert api.probes >= 1


async def test_a_watch_cut_within_an_event_loses_nothing() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 10, "a")
        await first.send(modified("a", 11) + added("b", 12)[:50])
        await rig.seen.reaches(11)
        await first.end()
        await second.send(modified("a", 11), added("b", 12))
        await rig.seen.reaches(12)
    assert api.queries[1]["resourceVersion"] == "10"
    assert rig.reflector.stats.endings == {"broken": 1}


@pytest.mark.parametrize("told", [[modified("b", 61)], [added("b", 60)], [bookmark(70)], []])
async def test_a_history_that_has_passed_our_version_is_listed(told: list[bytes]) -> None:
    """Restored from a backup of version 50, and so busy since that its version shows nothing."""
    api, first, second, third = ScriptedApi(), Watching(), Watching(), Watching()
    api.then(first, second, third)
    async with reflecting(api, mark_seconds=0.5) as rig:
        await start(first, 50, "a")
        await first.send(modified("a", 60, spec="lost"), added("c", 65))
        await rig.seen.reaches(65)
        api.current = 70
        await first.cut()
        await second.send(*told)
        await third.send(added("a", 50), added("b", 60), bookmark(70, end=True))
        await rig.seen.reaches(70)
    last = rig.seen.batches[-1]
    assert (last.whole, last.reset) == (True, True)
    assert rig.seen.state == {"default/a": 50, "default/b": 60}
    assert rig.reflector.stats.relists == {"start": 1, "another past": 1}


async def test_nothing_is_handed_on_of_a_history_that_is_not_ours() -> None:
    api, first, second, third = ScriptedApi(), Watching(), Watching(), Watching()
    api.then(first, second, third)
    async with reflecting(api) as rig:
        await start(first, 50, "a")
        await first.send(bookmark(60))
        await rig.seen.reaches(60)
        await first.cut()
        # It is ours up to 50; the lost one was quiet behind that, the new one is not.
        await second.send(added("a", 50), added("b", 55))
        await second.send(added("c", 61))
        await third.send(
            added("a", 50), added("b", 55), added("c", 61), bookmark(1_000_000, end=True)
        )
        await rig.seen.reaches(1_000_000)
    assert [names_of(batch.changes) for batch in rig.seen.batches] == [
        ["+a50"],
        [],
        ["+b55", "+c61"],
    ]
    assert rig.seen.batches[-1].reset


async def test_what_came_and_went_behind_our_newest_object_is_no_other_history() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 50, "a")
        await first.send(added("b", 55), deleted("b", 56), bookmark(60))
        await rig.seen.reaches(60)
        await first.cut()
        await second.send(added("a", 50), added("b", 55))
        await second.send(deleted("b", 56), added("c", 61))
        await rig.seen.reaches(61)
    assert names_of(rig.seen.batches[-1].changes) == ["+c61"]
    assert rig.reflector.stats.relists == {"start": 1}


async def test_without_objects_there_is_nothing_to_compare_and_all_is_listed() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 50)
        await rig.seen.reaches(50)
        await first.cut()
        await start(second, 1_000_000, "a")
        await rig.seen.reaches(1_000_000)
    assert not rig.seen.batches[-1].reset
    assert rig.seen.state == {"default/a": 1_000_000}


async def test_a_list_behind_an_expired_version_shows_another_history_too() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, refuse(410), second)
    async with reflecting(api) as rig:
        await start(first, 50, "a", "b")
        await first.send(deleted("b", 60))
        await rig.seen.reaches(60)
        api.current = 70
        await first.cut()
        await second.send(added("a", 50), added("b", 49), bookmark(70, end=True))
        await rig.seen.reaches(70)
    assert rig.seen.batches[-1].reset
    assert rig.seen.state == {"default/a": 50, "default/b": 49}


@pytest.mark.parametrize("by_event", [True, False])
async def test_410_lists_anew_and_tells_only_the_difference(by_event: bool) -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    if by_event:
        api.then(first, second)
    else:
        api.then(first, refuse(410), second)
    async with reflecting(api) as rig:
        await start(first, 10, "a", "b", "c")
        await rig.seen.reaches(10)
        api.current = 50
        if by_event:
            await first.send(line("ERROR", failure(410, "Expired")))
        else:
            await first.end()
        await second.send(added("a", 10), added("b", 44), added("d", 45), bookmark(50, end=True))
        await rig.seen.reaches(50)
    last = rig.seen.batches[-1]
    assert names_of(last.changes) == ["-c50", "+b44", "+d45"]
    assert (last.whole, last.reset) == (True, False)
    assert rig.reflector.stats.relists == {"start": 1, "expired": 1}


async def test_changes_before_an_error_event_in_the_same_chunk_count() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 10, "a")
        await first.send(modified("a", 11), line("ERROR", failure(500, "InternalError")))
        await second.opened.wait()
    assert rig.seen.state == {"default/a": 11}
    assert api.queries[1]["resourceVersion"] == "10"


async def test_retry_after_is_kept() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(refuse(429, retry_after="0.3"), watch)
    async with reflecting(api) as rig:
        began = asyncio.get_running_loop().time()
        await start(watch, 10, "a")
        await rig.seen.reaches(10)
        assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_403_is_no_verdict() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(refuse(403), refuse(401), refuse(403), watch)
    async with reflecting(api) as rig:
        await start(watch, 10, "a")
        await rig.seen.reaches(10)
        assert not rig.reflector.stats.error
    assert rig.reflector.stats.endings == {"403": 2, "401": 1}


async def test_garbage_is_resumed_once_then_listed_anew() -> None:
    api, first, second, third = ScriptedApi(), Watching(), Watching(), Watching()
    api.then(first, second, third)
    async with reflecting(api) as rig:
        api.current = 10
        await start(first, 10, "a")
        await rig.seen.reaches(10)
        await first.send(b"<html>bad gateway</html>\n")
        await second.send(b'{"type":"ADDED","object":{"metadata":{}}}\n')
        await start(third, 12, "a")
        await rig.seen.reaches(12)
    assert [("sendInitialEvents" in query) for query in api.queries] == [True, False, True]
    assert rig.reflector.stats.endings == {"garbled": 2}


async def test_a_list_that_cannot_be_read_deletes_nothing() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()

    async def half(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"metadata":{"resourceVersion":"60"},"items":[{"metadata":')

    api.then(first, half, listing(61, widget("a", 10)), second)
    async with reflecting(api) as rig:
        await start(first, 10, "a", "b")
        await rig.seen.reaches(10)
        rig.reflector._plan.watch_list = False
        await first.send(line("ERROR", failure(410)))
        await rig.seen.reaches(61)
    assert names_of(rig.seen.batches[-1].changes) == ["-b61"]


@pytest.mark.parametrize("how", ["older", "other"])
async def test_a_source_that_went_back_is_told_with_its_state(how: str) -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 100, "a", "b")
        await rig.seen.reaches(100)
        api.current, api.uid = (90, "cluster-1") if how == "older" else (500, "cluster-2")
        await first.cut()
        await second.send(
            line("ADDED", typed("a", 100, spec="another life")), bookmark(101, end=True)
        )
        await rig.seen.reaches(101)
    last = rig.seen.batches[-1]
    assert last.reset
    # The same version, but another object.
    assert names_of(last.changes) == ["-b101", "+a100"]
    assert rig.reflector.stats.relists == {"start": 1, "rollback": 1}


async def test_an_earlier_lifes_knowledge_shows_a_rollback() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    api.current = 20
    async with reflecting(api, Known("cluster-1", 30)) as rig:
        await start(watch, 20, "a")
        await rig.seen.reaches(20)
        assert rig.reflector.uid == "cluster-1"
    assert rig.seen.batches[0].reset


async def test_the_same_source_further_on_is_no_rollback() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    api.current = 31
    async with reflecting(api, Known("cluster-1", 30)) as rig:
        await start(watch, 31, "a")
        await rig.seen.reaches(31)
    assert not rig.seen.batches[0].reset


async def test_a_resync_lists_anew_even_in_the_middle_of_a_watch() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api) as rig:
        await start(first, 10, "a", "b")
        await rig.seen.reaches(10)
        api.current = 10
        rig.reflector.resync("asked")
        await start(second, 12, "b")
        await rig.seen.reaches(12)
        await first.end()
    assert rig.reflector.stats.relists == {"start": 1, "asked": 1}
    assert rig.seen.batches[-1].whole


async def test_a_resource_that_stays_away_is_gone() -> None:
    api = ScriptedApi()
    api.then(*[refuse(404)] * 100)
    async with api.serving(), ClusterClient(api.access) as client:
        reflector = Reflector(
            client,
            WIDGETS,
            Seen().take,
            logger,
            settings=ReflectorSettings(QUICK, gone_seconds=0.1),
        )
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(ResourceGone):
                await reflector.run()


async def test_a_short_404_is_a_server_that_starts() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(refuse(404), refuse(404), watch)
    async with reflecting(api) as rig:
        await start(watch, 10, "a")
        await rig.seen.reaches(10)
    assert rig.reflector.stats.endings == {"404": 2}


async def test_the_age_grows_while_the_server_is_away_and_not_before() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch, *[refuse(503)] * 1000)
    async with reflecting(api) as rig:
        await start(watch, 10, "a")
        await rig.seen.reaches(10)
        rig.reflector._heard -= 100  # nothing was sent for long; the connection lives
        assert rig.reflector.age() < 3
        await watch.cut()
        await until(lambda: rig.reflector.stats.endings["503"] >= 5, "five tries")
        young = rig.reflector.age()
        await asyncio.sleep(0.05)
        assert young + 0.04 < rig.reflector.age() < 3


async def test_a_server_that_hangs_behind_a_living_kernel_is_noticed() -> None:
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api, quiet_seconds=0.05, answer_seconds=0.05) as rig:
        await start(first, 10, "a")
        await rig.seen.reaches(10)
        await until(lambda: api.asked >= 3, "asked again and again, and answers")
        assert not rig.reflector.stats.endings
        api.hangs = True
        await second.opened.wait()
        api.hangs = False
        await second.send(added("a", 10), bookmark(12))
        await rig.seen.reaches(12)
    assert rig.reflector.stats.endings == {"broken": 1}


async def test_a_watch_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.kube.reflect_plan.WATCH_SECONDS", (0, 0))
    api, first, second = ScriptedApi(), Watching(), Watching()
    api.then(first, second)
    async with reflecting(api, quiet_seconds=0.02, overtime=0.1) as rig:
        await start(first, 10, "a")
        await second.opened.wait()
    assert "did not end" in rig.reflector.stats.error
    assert api.queries[0]["timeoutSeconds"] == "0"


async def test_a_slow_taker_makes_one_batch_of_what_waits() -> None:
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    async with api.serving(), ClusterClient(api.access) as client:
        gate, sizes = asyncio.Event(), list[int]()
        done = asyncio.Event()

        async def take(batch: SourceBatch) -> None:
            sizes.append(len(batch.changes))
            await gate.wait()
            if batch.version == 1100:
                done.set()

        reflector = Reflector(client, WIDGETS, take, logger)
        task = asyncio.create_task(reflector.run(), name="reflector")
        await start(watch, 10, "a")
        for version in range(11, 1101):
            await watch.send(modified("a", version))
        gate.set()
        async with asyncio.timeout(DEADLINE):
            await done.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert sum(sizes) == 1091
    assert len(sizes) < 100
