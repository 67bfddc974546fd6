"""Mirrors over nats-server, ApiGate and the embedded API server: one watch, whatever happens."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from actors.kube.brief import BRIEF
from actors.kube.resource import path_of
from actors.kube.status_errors import ApiError
from actors.kube.watchcache import TooOld
from bus.stream import Request
from cloud.apigate.actor import ApiGate
from cloud.apiserver.server import ApiServerSettings, erase
from edge.mirror import MirrorSettings, Scope
from edge.mirror.brief import wants_brief, whole_of
from tests.actors.until import until
from tests.edge.gateways import DEADLINE, NODE
from tests.edge.mirror.worlds import (
    ALL,
    CONFIGMAPS,
    MINE,
    PODS,
    Told,
    World,
    message_of,
    raw_of,
    served,
    world,
)


@pytest.fixture
async def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with world(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
async def w(bare: World) -> AsyncIterator[World]:
    async with bare.gateways.gate(), bare.hub():
        yield bare


async def test_ten_watchers_share_one_upstream_watch(w: World) -> None:
    w.put_pods(3)
    mirrors = [w.mirrors.get(MINE) for _ in range(10)]
    assert len({id(mirror) for mirror in mirrors}) == 1
    mirror = await w.mirror(MINE)
    told = [Told(mirror) for _ in range(10)]
    await w.touch("pod-0001", "ready")
    for each in told:
        await each.until(("MODIFIED", "pod-0001"))
    assert (len(w.asked.lists()), len(w.asked.watches())) == (1, 1)
    assert "fieldSelector=spec.nodeName%3Dnode-1" in w.asked.watches()[0]


async def test_objects_come_and_go_without_managed_fields(w: World) -> None:
    w.put_pods(2)
    mirror = await w.mirror()
    told = Told(mirror)
    assert "managedFields" not in raw_of(mirror, "default/pod-0000")["metadata"]
    assert raw_of(mirror, "default/pod-0000")["kind"] == "Pod"
    w.put_pods(1, start=2)
    await w.touch("pod-0000", "ready")
    await w.delete("pod-0001")
    await until(lambda: mirror.cache.get("default/pod-0001") is None, "it is gone")
    events = told.take()
    assert events[:2] == [("ADDED", "pod-0002"), ("MODIFIED", "pod-0000")]
    assert events[-1] == ("DELETED", "pod-0001")
    assert "managedFields" not in raw_of(mirror, "default/pod-0000")["metadata"]
    whole = msgspec.json.decode(await w.client.get(path_of(PODS, "default", "pod-0000")))
    whole["metadata"].pop("managedFields", None)
    assert raw_of(mirror, "default/pod-0000") == whole


async def test_a_status_change_costs_little(w: World) -> None:
    """Under 15 % of the object, all bytes of the bus included."""
    w.put_pods(20, size=8000)
    mirror = await w.mirror(MINE)
    entry = mirror.cache.get("default/pod-0007")
    assert entry is not None
    size = len(entry.raw)
    assert 7000 < size < 10000
    down, up = w.wire()
    for number in range(20):
        await w.touch(f"pod-{number:04}", "ready")
    await until(lambda: message_of(mirror, "pod-0019") == "ready", "all came")
    spent = sum(w.wire()) - down - up
    assert spent / 20 < 0.15 * size, f"{spent / 20} bytes each, of {size}"


async def test_a_killed_gate_is_resumed_without_a_list(bare: World) -> None:
    """kill -9 of the replica that serves it; another one goes on from the version."""
    w = bare
    w.put_pods(3)
    async with w.gateways.gate_process() as first, w.hub(), asyncio.timeout(2 * DEADLINE):
        mirror = await w.mirror()
        told = Told(mirror)
        async with w.gateways.gate("second"):
            w.asked.clear()
            first.kill()
            await first.wait()
            await w.touch("pod-0001", "after")
            await told.until(("MODIFIED", "pod-0001"))
        assert w.asked.lists() == []
        assert len(w.asked.watches()) == 1


async def test_a_link_that_was_down_for_two_seconds(w: World) -> None:
    w.put_pods(3)
    mirror = await w.mirror()
    told = Told(mirror)
    w.asked.clear()
    await w.gateways.server.stop()
    await until(lambda: not mirror.is_live, "the stream is broken")
    await w.touch("pod-0001", "meanwhile")
    await asyncio.sleep(2.0)  # the fault itself
    assert mirror.age() > 1.5
    assert len(mirror.cache) == 3
    await w.gateways.server.start()
    await told.until(("MODIFIED", "pod-0001"))
    await until(lambda: mirror.is_live, "live again")
    assert mirror.age() < 1.0
    assert (w.asked.lists(), len(w.asked.watches())) == ([], 1)


async def test_an_api_server_that_restarts_with_its_history(w: World) -> None:
    """The stream stays; meanwhile the contents get older, and say so."""
    w.put_pods(3)
    mirror = await w.mirror()
    told = Told(mirror)
    await w.api.stop()
    await until(lambda: not mirror.is_live, "told of it")
    w.asked.clear()
    await w.api.start()
    await w.touch("pod-0001", "after")
    await told.until(("MODIFIED", "pod-0001"))
    await until(lambda: mirror.is_live, "live again")
    assert w.asked.lists() == []
    assert mirror.counts["resumes"] == 0


async def test_a_watch_that_ends_by_its_time_goes_on_unseen(bare: World) -> None:
    w = bare
    w.put_pods(2)
    async with w.gateways.gate() as ran, w.hub():
        assert isinstance(ran.actor, ApiGate)
        mirroring = ran.actor._gate.mirroring
        mirroring.settings = replace(mirroring.settings, watch_seconds=(1, 1), settle=0.01)
        mirror = await w.mirror()
        told = Told(mirror)
        await until(lambda: len(w.asked.watches()) > 2, "three watches, one after another")
        assert mirror.is_live
        await w.touch("pod-0001", "after")
        await told.until(("MODIFIED", "pod-0001"))
        assert mirror.counts["lists"] == len(w.asked.lists()) == 1


async def test_an_api_server_that_forgot_its_history(w: World) -> None:
    """As one does at each restart, with all that is older than its watch cache."""
    w.put_pods(3)
    mirror = await w.mirror()
    told = Told(mirror)
    w.asked.clear()
    await w.api.stop()
    await until(lambda: not mirror.is_live, "told of it")
    await w.api.start()
    await w.touch("pod-0001", "after")
    w.api.forget_history()
    await told.until(("MODIFIED", "pod-0001"))
    await until(lambda: mirror.is_live, "live again")
    assert len(w.asked.lists()) <= 1
    w.api.forget_history()  # all watches end with 410, at once
    await w.touch("pod-0002", "last")
    await told.until(("MODIFIED", "pod-0001"), ("MODIFIED", "pod-0002"))


async def test_an_api_server_that_hangs_is_not_current(bare: World) -> None:
    """Its kernel acknowledges all, so an open watch proves nothing."""
    w = bare
    w.put_pods(2)
    async with w.gateways.gate() as ran, w.hub():
        assert isinstance(ran.actor, ApiGate)
        mirroring = ran.actor._gate.mirroring
        mirroring.settings = replace(mirroring.settings, quiet=0.1, answer=0.3)
        mirror = await w.mirror()
        hangs = asyncio.Event()

        async def hang(request: web.Request, _response: web.StreamResponse) -> None:
            await hangs.wait()

        await asyncio.sleep(0.3)
        assert mirror.is_live
        w.asked.hooks.append(hang)
        await until(lambda: not mirror.is_live, "told of it")
        hangs.set()
        await until(lambda: mirror.is_live, "live again")


async def test_an_api_server_that_went_back_makes_clients_list_anew(w: World) -> None:
    """Restored from an older backup: a watch from our version would be silent for ever."""
    w.put_pods(3)
    await w.api.stop()
    shutil.copytree(w.path / "api", w.path / "backup")
    await w.api.start()
    mirror = await w.mirror()
    for number in (1, 2, 2, 2, 2):
        await w.touch(f"pod-000{number}", f"lost-{w.api.store.version}")
    await until(lambda: mirror.cache.version == w.api.store.version, "seen")
    told = Told(mirror)
    newest, lost = mirror.cache.version, raw_of(mirror, "default/pod-0001")
    await w.gateways.server.stop()
    await w.api.stop()
    shutil.rmtree(w.path / "api")
    shutil.copytree(w.path / "backup", w.path / "api")
    await w.api.start()
    await w.touch("pod-0001", "other")
    version = w.api.store.version
    assert version < newest
    await w.gateways.server.start()
    await until(lambda: mirror.cache.version == version, "as the backup has it")
    other = raw_of(mirror, "default/pod-0001")
    assert other["status"]["message"] == "other"
    assert other["metadata"]["resourceVersion"] == lost["metadata"]["resourceVersion"]
    assert message_of(mirror, "pod-0002") == ""
    with pytest.raises(TooOld):
        told.take()


async def test_a_new_cluster_in_the_old_ones_place(w: World) -> None:
    w.put_pods(3)
    mirror = await w.mirror()
    await w.api.stop()
    erase(w.path / "api")
    await w.api.start()
    await until(lambda: len(mirror.cache) == 0, "empty, as the new one is")
    w.put_pods(1)
    await until(lambda: len(mirror.cache) == 1, "and goes on")


async def test_lost_history_costs_only_the_differences(w: World) -> None:
    w.put_pods(1000, size=8000)
    mirror = await w.mirror()
    plain = sum(len(item.raw) for item in mirror.cache.snapshot().entries)
    told = Told(mirror)
    await w.gateways.server.stop()
    await until(lambda: not mirror.is_live, "cut off")
    w.put_pods(1, start=1000, size=8000)
    await w.delete("pod-0500")
    w.api.forget_history()
    w.asked.clear()
    await w.gateways.server.start()
    down, up = w.wire()
    await until(lambda: mirror.cache.get("default/pod-1000") is not None, "the difference")
    await until(lambda: mirror.is_live, "live again")
    spent_down, spent_up = (now - then for now, then in zip(w.wire(), (down, up), strict=True))
    assert sorted(told.take()) == [("ADDED", "pod-1000"), ("DELETED", "pod-0500")]
    assert len(w.asked.lists()) == 2  # pages of 500
    assert spent_down + spent_up < 0.05 * plain


async def test_differently_selected_lists_of_one_component(w: World) -> None:
    """OpenYurt #1400: the first list won, until a restart."""
    w.put_pods(6)
    scopes = [Scope.of("", PODS, labels=f"app=app-{number}") for number in range(3)]
    mirrors = [await w.mirror(scope) for scope in scopes]
    assert [sorted(e.key for e in m.cache.snapshot().entries) for m in mirrors] == [
        [f"default/pod-{number:04}", f"default/pod-{number + 3:04}"] for number in range(3)
    ]
    told = [Told(mirror) for mirror in mirrors]
    await w.touch("pod-0001", "ready")
    await told[1].until(("MODIFIED", "pod-0001"))
    assert [each.take() for each in told] == [[], [("MODIFIED", "pod-0001")], []]
    assert len(w.asked.watches()) == 3


async def test_a_wider_live_mirror_serves_a_named_watch(w: World) -> None:
    w.put_pods(2)
    named = Scope.of("", PODS, "default", fields="metadata.name=pod-0001")
    own = await w.mirror(named)
    assert len(own.cache) == 1
    wide = await w.mirror(ALL)
    assert w.mirrors.get(named) is wide
    assert w.mirrors.get(Scope.of("system:kube-proxy", PODS, "default")) is not wide


async def test_a_refusal_is_the_readers_and_is_not_hammered(w: World) -> None:
    crd = PODS.__class__(group="x.io", version="v1", plural="toys", kind="Toy", namespaced=True)
    mirror = w.mirrors.get(Scope.of("", crd))
    assert mirror is not None
    for _ in range(20):
        with pytest.raises(ApiError) as error:
            await mirror.filled(DEADLINE)
        assert error.value.code == 404
    assert len([line for line in w.asked.lines if "/toys" in line[1]]) == 1


async def test_who_may_not_act_as_another_gets_403(w: World) -> None:
    mirror = w.mirrors.get(Scope.of("system:admin", PODS))
    assert mirror is not None
    with pytest.raises(ApiError, match="may not act as") as error:
        await mirror.filled(DEADLINE)
    assert error.value.code == 403


async def test_without_any_gate_nothing_is_empty(bare: World) -> None:
    async with bare.hub():
        mirror = bare.mirrors.get(ALL)
        assert mirror is not None
        with pytest.raises(ApiError) as error:
            await mirror.filled(0.3)
        assert error.value.code == 503
        assert not mirror.cache.filled


async def test_a_hub_restarts_with_no_link_and_resumes_by_version(bare: World) -> None:
    """Served from disk with its age; then the API server sees a watch from there, and no list."""
    w = bare
    w.put_pods(3)
    async with w.gateways.gate():
        async with w.hub():
            mirror = await w.mirror(MINE)
            await w.touch("pod-0001", "kept")
            await until(lambda: message_of(mirror, "pod-0001") == "kept", "seen")
            version = mirror.cache.version
            assert await w.disk.flush()
        await w.gateways.server.stop()
        await w.touch("pod-0002", "unseen")
        w.asked.clear()
        quick = MirrorSettings(stale_after=0.01)
        asked = {"fieldSelector": f"spec.nodeName={NODE}"}
        async with w.hub(quick, is_cut_off=True):
            mirror = await w.mirror(MINE, is_live=False)
            assert await mirror.wait_version(None, 5.0)  # at once: nobody can be asked
            async with served(w.mirrors) as url, aiohttp.ClientSession(url) as client:
                async with client.get("/api/v1/pods", params=asked) as listed:
                    found = await listed.json()
                    assert "last known current" in listed.headers["Warning"]
                assert found["metadata"]["resourceVersion"] == str(version)
                assert [pod.get("status", {}).get("message") for pod in found["items"]] == [
                    None,
                    "kept",
                    None,
                ]
                query = asked | {"watch": "true", "resourceVersion": str(version)}
                async with client.get("/api/v1/pods", params=query) as watch:
                    await w.gateways.server.start()
                    async with asyncio.timeout(DEADLINE):
                        event = json.loads(await watch.content.readline())
            assert event["type"] == "MODIFIED"
            assert event["object"]["status"]["message"] == "unseen"
            await until(lambda: mirror.is_live, "live again")
            assert w.asked.lists() == []
            assert [f"resourceVersion={version}" in t for t in w.asked.watches()] == [True]


async def test_an_idle_mirror_stops_and_goes_on(bare: World) -> None:
    w = bare
    w.put_pods(2)
    async with w.gateways.gate(), w.hub(MirrorSettings(idle=1.0, care=0.05)):
        mirror = await w.mirror()
        with mirror.hold():
            await asyncio.sleep(1.2)
            assert mirror.is_following
        await until(lambda: not mirror.is_following, "nobody reads it")
        await w.touch("pod-0001", "unseen")
        w.asked.clear()
        assert len(mirror.cache) == 2
        again = await w.mirror()
        assert again is mirror
        await until(lambda: message_of(mirror, "pod-0001") == "unseen", "it goes on")
        assert w.asked.lists() == []


async def test_there_are_not_too_many(bare: World) -> None:
    w = bare
    async with w.gateways.gate(), w.hub(MirrorSettings(most=2)):
        scopes = [Scope.of("", CONFIGMAPS, namespace) for namespace in "abc"]
        first = await w.mirror(scopes[0])
        second = await w.mirror(scopes[1])
        with second.hold():
            assert w.mirrors.get(scopes[2]) is not None
            assert list(w.mirrors.all) == [scopes[1].key, scopes[2].key]
            with pytest.raises(TooOld):
                first.cache.watch(first.cache.version)
            third = w.mirrors.get(scopes[2])
            assert third is not None
            with third.hold():
                assert w.mirrors.get(scopes[0]) is None
        assert (w.mirrors.dropped, w.mirrors.refused) == (1, 1)


async def test_a_write_is_answered_briefly_where_a_mirror_has_the_rest(w: World) -> None:
    w.put_pods(1, size=8000)
    mirror = await w.mirror(MINE)
    assert wants_brief("PATCH", "application/json", mirror)
    patch = msgspec.json.encode({"status": {"message": "brief"}})
    kind = ("Content-Type", "application/merge-patch+json")
    target = path_of(PODS, "default", "pod-0000", "status")
    request = Request("PATCH", target, (kind, BRIEF))
    client = w.mirrors._client
    async with client.open(request, patch) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
        assert answer.status == 200
        assert BRIEF in answer.headers
    assert len(body) < 300
    whole = await whole_of(body, mirror)
    assert whole is not None
    assert msgspec.json.decode(whole)["status"]["message"] == "brief"


async def test_a_gate_with_little_memory_sends_objects_whole(bare: World) -> None:
    """It holds no more than it may; nothing is wrong, it only costs more."""
    w = bare
    w.put_pods(20, size=4000)
    async with w.gateways.gate() as ran, w.hub():
        gate = ran.actor
        assert isinstance(gate, ApiGate)
        memory = gate._gate.mirroring.memory
        memory.each = 10_000
        mirror = await w.mirror()
        assert 0 < memory.used <= 10_000
        for number in range(20):
            await w.touch(f"pod-{number:04}", "ready")
        await until(lambda: message_of(mirror, "pod-0019") == "ready", "all came")
        assert 0 < memory.used <= 10_000
        assert memory.evicted > 20
        assert {message_of(mirror, f"pod-{number:04}") for number in range(20)} == {"ready"}
        await mirror.pause()
        await until(lambda: memory.used == 0, "what a stream held is free at its end")


async def test_a_403_of_a_starting_api_server_is_no_verdict(w: World) -> None:
    """It says so in its first second, before it has read its RBAC (facts of kube 1.36)."""
    w.put_pods(2)
    mirror = await w.mirror()
    told = Told(mirror)
    refused = 0

    async def not_yet(request: web.Request, _response: web.StreamResponse) -> None:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise web.HTTPForbidden(text='{"kind":"Status","code":403,"reason":"Forbidden"}')

    await w.api.stop()
    await until(lambda: not mirror.is_live, "told of it")
    w.asked.hooks.append(not_yet)
    await w.api.start()
    await until(lambda: mirror.is_live, "live again")
    assert refused == 3
    await w.touch("pod-0001", "after")
    await told.until(("MODIFIED", "pod-0001"))
    assert mirror.counts["refused"] == 0


async def test_a_component_with_its_own_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest headers count at the next connection; nobody else sees its mirror."""
    settings = ApiServerSettings(tokens={"admin": "root", "new": "system:serviceaccount:a:b"})
    async with world(tmp_path, monkeypatch, settings) as w, w.gateways.gate(), w.hub():
        w.put_pods(1)
        scope = Scope.of("token:system:serviceaccount:a:b", PODS)
        mirror = w.mirrors.get(scope, (("Authorization", "Bearer stale"),))
        assert mirror is not None
        with pytest.raises(ApiError) as error:
            await mirror.filled(DEADLINE)
        assert error.value.code == 401
        mirror = w.mirrors.get(scope, (("Authorization", "Bearer new"), ("User-Agent", "x/1")))
        assert mirror is not None
        await until(lambda: mirror._verdict is None or mirror._clock() > mirror._verdict[1], "over")
        await mirror.filled(DEADLINE)
        assert len(mirror.cache) == 1
        assert await w.mirror(ALL) is not mirror
