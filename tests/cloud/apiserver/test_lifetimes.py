"""Namespaces, owners, restarts: what happens after an answer was given, or between two runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cloud.apiserver import ApiServerSettings, EmbeddedApiServer, erase
from tests.cloud.apiserver.api import (
    CONFIG_MAPS,
    CRDS,
    CRON_TABS,
    SERVICES,
    Api,
    Object,
    config_map,
    crd,
    cron_tab,
    next_event,
    service,
)

NAMESPACES = "/api/v1/namespaces"


def owned(name: str, owner: Object) -> Object:
    meta = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
    }
    return config_map(name) | {"metadata": {"name": name, "ownerReferences": [reference]}}


# -- namespaces ---------------------------------------------------------------------------------


async def test_namespaces_are_there_from_the_start(api: Api) -> None:
    names = [item["metadata"]["name"] for item in (await api.get(NAMESPACES)).body["items"]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    kubernetes = (await api.get(f"{SERVICES}/kubernetes")).body
    assert kubernetes["spec"]["clusterIP"] == "10.96.0.1"
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    assert (await api.get(slices)).body["endpoints"][0]["addresses"] == ["127.0.0.1"]


async def test_deleted_namespaces_are_emptied(api: Api) -> None:
    await api.post(NAMESPACES, {"metadata": {"name": "n"}})
    for number in range(120):
        await api.post(f"{NAMESPACES}/n/configmaps", config_map(f"c{number}"))
    held = config_map("held") | {"metadata": {"name": "held", "finalizers": ["example.com/x"]}}
    await api.post(f"{NAMESPACES}/n/configmaps", held)
    leaving = await api.delete(f"{NAMESPACES}/n")
    assert leaving.body["status"]["phase"] == "Terminating"
    late = await api.post(f"{NAMESPACES}/n/configmaps", config_map("late"))
    assert (late.code, late.reason) == (403, "Forbidden")
    assert late.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await api.until_gone(f"{NAMESPACES}/n/configmaps/c0")
    assert (await api.get(f"{NAMESPACES}/n")).code == 200  # someone still holds it
    await api.patch(f"{NAMESPACES}/n/configmaps/held", {"metadata": {"finalizers": None}})
    await api.until_gone(f"{NAMESPACES}/n")


async def test_the_default_namespace_stays(api: Api) -> None:
    assert (await api.delete(f"{NAMESPACES}/default")).code == 403


async def test_finalize_is_who_holds_a_namespace(api: Api) -> None:
    made = (await api.post(NAMESPACES, {"metadata": {"name": "n"}})).body
    made["spec"]["finalizers"] = ["example.com/mine"]
    answer = await api.put(f"{NAMESPACES}/n/finalize", made)
    assert answer.body["spec"]["finalizers"] == ["example.com/mine"]
    ignored = await api.patch(f"{NAMESPACES}/n", {"spec": {"finalizers": []}})
    assert ignored.body["spec"]["finalizers"] == ["example.com/mine"]


# -- owners -------------------------------------------------------------------------------------


async def test_dependents_go_with_their_owner(api: Api) -> None:
    owner = (await api.post(SERVICES, service())).body
    await api.post(CONFIG_MAPS, owned("a", owner))
    await api.post(CONFIG_MAPS, config_map("free"))
    await api.delete(f"{SERVICES}/web")
    await api.until_gone(f"{CONFIG_MAPS}/a")
    assert (await api.get(f"{CONFIG_MAPS}/free")).code == 200


async def test_dependents_of_two_stay_with_the_other(api: Api) -> None:
    first = (await api.post(SERVICES, service())).body
    second = (await api.post(SERVICES, service("other"))).body
    obj = owned("a", first)
    obj["metadata"]["ownerReferences"] += owned("a", second)["metadata"]["ownerReferences"]
    version = (await api.post(CONFIG_MAPS, obj)).version
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={version}") as events:
        await api.delete(f"{SERVICES}/web")
        event = await next_event(events)
    assert event["type"] == "MODIFIED"
    (left,) = event["object"]["metadata"]["ownerReferences"]
    assert left["name"] == "other"


async def test_orphans_are_let_go(api: Api) -> None:
    owner = (await api.post(SERVICES, service())).body
    await api.post(CONFIG_MAPS, owned("a", owner))
    await api.delete(f"{SERVICES}/web", {"propagationPolicy": "Orphan"})
    await api.until_gone(f"{SERVICES}/web")
    orphan = await api.get(f"{CONFIG_MAPS}/a")
    assert orphan.code == 200
    assert "ownerReferences" not in orphan.body["metadata"]


async def test_foreground_owners_go_last(api: Api) -> None:
    owner = (await api.post(SERVICES, service())).body
    dependent = owned("a", owner)
    dependent["metadata"]["finalizers"] = ["example.com/slow"]
    await api.post(CONFIG_MAPS, dependent)
    version = (await api.delete(f"{SERVICES}/web", {"propagationPolicy": "Foreground"})).version
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={version}") as events:
        marked = await next_event(events)
    assert "deletionTimestamp" in marked["object"]["metadata"]
    assert (await api.get(f"{SERVICES}/web")).code == 200
    await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})
    await api.until_gone(f"{SERVICES}/web")


# -- restarts -----------------------------------------------------------------------------------


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as server:
        api = Api(server.url)
        await api.post(SERVICES, service(type="NodePort"))
        await api.post(CRDS, crd())
        await api.post(CRON_TABS, cron_tab())
        before = [(await api.get(p)).body for p in (SERVICES, CRON_TABS, NAMESPACES, CRDS)]
        url, version = server.url, server.store.version
        await api.close()
    async with EmbeddedApiServer(tmp_path) as server:
        assert (server.url, server.store.version) == (url, version)
        api = Api(server.url)
        after = [(await api.get(p)).body for p in (SERVICES, CRON_TABS, NAMESPACES, CRDS)]
        assert after == before
        spec = before[0]["items"][-1]["spec"]
        again = service("other", clusterIP=spec["clusterIP"])
        assert (await api.post(SERVICES, again)).code == 422  # addresses are remembered
        await api.close()


async def test_watches_go_on_across_a_restart(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as server:
        api = Api(server.url)
        made = await api.post(CONFIG_MAPS, config_map(a="1"))
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={made.version}") as events:
            await api.patch(f"{CONFIG_MAPS}/c", {"data": {"a": "2"}})
            assert (await next_event(events))["type"] == "MODIFIED"
            await api.delete(f"{CONFIG_MAPS}/c")
            stopping = asyncio.create_task(server.stop())
            assert (await next_event(events))["type"] == "DELETED"
            assert [event async for event in events] == []  # a clean end, no error
            await stopping
        await api.close()
    async with EmbeddedApiServer(tmp_path) as server:
        api = Api(server.url)
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={made.version}") as events:
            seen = [await next_event(events) for _ in range(2)]
        assert [event["type"] for event in seen] == ["MODIFIED", "DELETED"]
        assert seen[1]["object"]["data"] == {"a": "2"}
        await api.close()


async def test_watches_from_before_the_history_are_gone(tmp_path: Path) -> None:
    settings = ApiServerSettings(history=10)
    async with EmbeddedApiServer(tmp_path, settings) as server:
        api = Api(server.url)
        first = await api.post(CONFIG_MAPS, config_map(n="0"))
        for n in range(1, 200):
            await api.patch(f"{CONFIG_MAPS}/c", {"data": {"n": str(n)}})
        await api.close()
    async with EmbeddedApiServer(tmp_path, settings) as server:
        api = Api(server.url)
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={first.version}") as events:
            event = await next_event(events)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        await api.close()


async def test_forgotten_history(server: EmbeddedApiServer, api: Api) -> None:
    made = await api.post(CONFIG_MAPS, config_map(n="0"))
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={made.version}") as events:
        server.forget_history()
        event = await next_event(events)
        assert event["object"]["code"] == 410
    await api.patch(f"{CONFIG_MAPS}/c", {"data": {"n": "1"}})
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={made.version - 1}") as events:
        assert (await next_event(events))["object"]["code"] == 410


async def test_erased_state_starts_anew(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as server:
        server.put_many("configmaps", [config_map(f"c{n}") for n in range(100)])
        high = server.store.version
        uid = server.registry.storages["namespaces"].get("kube-system")
    erase(tmp_path)
    async with EmbeddedApiServer(tmp_path) as server:
        assert server.store.version < high
        assert server.registry.storages["namespaces"].get("kube-system") != uid


async def test_work_left_undone_is_found_again(tmp_path: Path) -> None:
    """A namespace whose deletion was answered just before the end."""
    server = EmbeddedApiServer(tmp_path)
    await server.start()
    api = Api(server.url)
    await api.post(NAMESPACES, {"metadata": {"name": "n"}})
    await api.post(f"{NAMESPACES}/n/configmaps", config_map())
    server.janitor.tidy = _never  # type: ignore[method-assign]
    await api.delete(f"{NAMESPACES}/n")
    await api.close()
    await server.stop()
    async with EmbeddedApiServer(tmp_path) as server:
        api = Api(server.url)
        await api.until_gone(f"{NAMESPACES}/n")
        assert (await api.get(f"{NAMESPACES}/n/configmaps/c")).code == 404
        await api.close()


async def _never() -> None:
    return


async def test_stop_bears_being_called_half_started(tmp_path: Path) -> None:
    server = EmbeddedApiServer(tmp_path)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert server.url == ""
