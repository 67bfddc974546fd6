"""Custom resources from their definition to their end."""

from __future__ import annotations

import asyncio
import copy

from tests.cloud.apiserver.api import (
    CRDS,
    CRON_TABS,
    JSON_PATCH,
    STRATEGIC,
    Api,
    Object,
    crd,
    cron_tab,
    next_event,
)

NAME = "crontabs.example.com"


def two_versions(storage: str) -> Object:
    made = crd()
    (first,) = made["spec"]["versions"]
    second = copy.deepcopy(first) | {"name": "v2"}
    made["spec"]["versions"] = [
        first | {"storage": storage == "v1"},
        second | {"storage": storage == "v2"},
    ]
    return made


async def test_definition_makes_an_endpoint(api: Api) -> None:
    assert (await api.get(CRON_TABS)).code == 404
    made = await api.post(CRDS, crd())
    assert made.code == 201
    assert {c["type"] for c in made.body["status"]["conditions"]} == {
        "NamesAccepted",
        "Established",
    }
    listed = await api.get(CRON_TABS)
    assert (listed.code, listed.body["kind"]) == (200, "CronTabList")
    (resource,) = [
        r for r in (await api.get("/apis/example.com/v1")).body["resources"] if "/" not in r["name"]
    ]
    assert (resource["shortNames"], resource["singularName"]) == (["ct"], "crontab")


async def test_objects_are_pruned_defaulted_and_validated(api: Api) -> None:
    await api.post(CRDS, crd())
    made = await api.post(CRON_TABS, cron_tab(colour="red", free={"any": "thing"}))
    assert made.body["spec"] == {"cron": "* * *", "image": "busybox", "free": {"any": "thing"}}
    assert "spec.colour" in made.headers["Warning"]
    bad = await api.post(CRON_TABS, cron_tab("b", replicas=99))
    assert bad.code == 422
    assert bad.fields == ["spec.replicas"]
    strict = await api.post(f"{CRON_TABS}?fieldValidation=Strict", cron_tab("b", colour="red"))
    assert strict.code == 400


async def test_generation_and_status(api: Api) -> None:
    await api.post(CRDS, crd())
    made = await api.post(CRON_TABS, cron_tab() | {"status": {"ready": True}})
    assert "status" not in made.body
    assert made.body["metadata"]["generation"] == 1
    patch = {"status": {"ready": True}, "spec": {"replicas": 5}}
    told = await api.patch(f"{CRON_TABS}/mine/status", patch)
    assert told.body["status"] == {"ready": True}
    assert "replicas" not in told.body["spec"]
    assert told.body["metadata"]["generation"] == 1
    changed = await api.patch(f"{CRON_TABS}/mine", patch)
    assert changed.body["metadata"]["generation"] == 2


async def test_patches(api: Api) -> None:
    await api.post(CRDS, crd())
    await api.post(CRON_TABS, cron_tab())
    assert (await api.patch(f"{CRON_TABS}/mine", {"spec": {"image": "a"}}, STRATEGIC)).code == 415
    operations = [{"op": "replace", "path": "/spec/image", "value": "b"}]
    patched = await api.patch(f"{CRON_TABS}/mine", operations, JSON_PATCH)
    assert patched.body["spec"]["image"] == "b"
    selected = await api.get(f"{CRON_TABS}?fieldSelector=spec.image%3Db")
    assert len(selected.body["items"]) == 1


async def test_updates_need_a_version(api: Api) -> None:
    await api.post(CRDS, crd())
    await api.post(CRON_TABS, cron_tab())
    assert (await api.put(f"{CRON_TABS}/mine", cron_tab(replicas=2))).code == 422


async def test_two_versions_of_one_object(api: Api) -> None:
    await api.post(CRDS, two_versions("v1"))
    other = CRON_TABS.replace("/v1/", "/v2/")
    made = await api.post(other, cron_tab() | {"apiVersion": "example.com/v2"})
    assert made.body["apiVersion"] == "example.com/v2"
    same = await api.get(f"{CRON_TABS}/mine")
    assert same.body == made.body | {"apiVersion": "example.com/v1"}
    async with api.watch(f"{other}?resourceVersion={made.version}") as events:
        await api.patch(f"{CRON_TABS}/mine", {"spec": {"replicas": 2}})
        event = await next_event(events)
    assert event["object"]["apiVersion"] == "example.com/v2"


async def test_another_storage_version(api: Api) -> None:
    await api.post(CRDS, two_versions("v1"))
    await api.post(CRON_TABS, cron_tab())
    held = (await api.get(f"{CRDS}/{NAME}")).body
    held["spec"]["versions"] = two_versions("v2")["spec"]["versions"]
    changed = await api.put(f"{CRDS}/{NAME}", held)
    assert changed.body["status"]["storedVersions"] == ["v1", "v2"]
    for version in ("v1", "v2"):
        found = await api.get(CRON_TABS.replace("/v1/", f"/{version}/") + "/mine")
        assert found.body["apiVersion"] == f"example.com/{version}"


async def test_changed_schema_leaves_watchers_alone(api: Api) -> None:
    await api.post(CRDS, crd())
    version = (await api.get(CRON_TABS)).version
    async with api.watch(f"{CRON_TABS}?resourceVersion={version}") as events:
        held = (await api.get(f"{CRDS}/{NAME}")).body
        schema = held["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["colour"] = {"type": "string"}
        await api.put(f"{CRDS}/{NAME}", held)
        made = await api.post(CRON_TABS, cron_tab(colour="red"))
        assert made.body["spec"]["colour"] == "red"
        assert (await next_event(events))["object"] == made.body


async def test_changed_columns_show(api: Api) -> None:
    await api.post(CRDS, crd())
    await api.post(CRON_TABS, cron_tab())
    columns = [{"name": "When", "type": "string", "jsonPath": ".spec.cron"}]
    held = (await api.get(f"{CRDS}/{NAME}")).body
    held["spec"]["versions"][0]["additionalPrinterColumns"] = columns
    await api.put(f"{CRDS}/{NAME}", held)
    assert len((await api.get(CRON_TABS)).body["items"]) == 1


async def test_deleted_definition_takes_its_objects_along(api: Api) -> None:
    await api.post(CRDS, crd())
    made = await api.post(CRON_TABS, cron_tab())
    async with api.watch(f"{CRON_TABS}?resourceVersion={made.version}") as events:
        marked = await api.delete(f"{CRDS}/{NAME}")
        assert "deletionTimestamp" in marked.body["metadata"]
        assert (await next_event(events))["type"] == "DELETED"
        async with asyncio.timeout(3):
            async for event in events:  # the watch ends: there is nothing to watch any more
                assert event["type"] == "ERROR"
    await api.until_gone(f"{CRDS}/{NAME}")
    assert (await api.get(CRON_TABS)).code == 404
    await api.post(CRDS, crd())
    assert (await api.get(CRON_TABS)).body["items"] == []


async def test_rules_are_not_evaluated_and_that_is_said(api: Api) -> None:
    made = crd()
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = [{"rule": "self.spec.cron != ''"}]
    answer = await api.post(CRDS, made)
    assert answer.code == 201
    assert "not evaluated" in answer.headers["Warning"]
