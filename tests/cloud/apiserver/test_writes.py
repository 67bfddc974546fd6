"""Create, update, patch and delete over HTTP, as kube-apiserver does them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import (
    CONFIG_MAPS,
    CORE,
    JSON_PATCH,
    LEASES,
    MERGE,
    PODS,
    SERVICES,
    SLICES,
    STRATEGIC,
    Api,
    config_map,
    next_event,
    pod,
    service,
)

# -- create -------------------------------------------------------------------------------------


async def test_create_answers_with_what_is_kept(api: Api) -> None:
    made = await api.post(SERVICES, service())
    assert made.code == 201
    assert made.body["spec"]["clusterIP"].startswith("10.96.")
    assert made.body == (await api.get(f"{SERVICES}/web")).body
    assert list(made.body)[:3] == ["kind", "apiVersion", "metadata"]


async def test_versions_are_one_row(api: Api) -> None:
    first = await api.post(SERVICES, service())
    second = await api.post(CONFIG_MAPS, config_map())
    assert second.version == first.version + 1
    listed = await api.get(PODS)  # untouched, yet as new as everything
    assert listed.version == second.version


async def test_the_same_twice(api: Api) -> None:
    await api.post(SERVICES, service())
    again = await api.post(SERVICES, service())
    assert (again.code, again.reason) == (409, "AlreadyExists")


async def test_generated_names(api: Api) -> None:
    obj = {"metadata": {"generateName": "made-"}}
    names = [(await api.post(CONFIG_MAPS, obj)).body["metadata"]["name"] for _ in range(2)]
    assert names[0] != names[1]
    assert all(name.startswith("made-") for name in names)


@pytest.mark.parametrize(
    ("obj", "code", "text"),
    [
        ({"metadata": {}}, 422, "name or generateName is required"),
        ({"metadata": {"name": "Bad Name"}}, 422, "RFC 1123 subdomain"),
        ({"metadata": {"name": "a", "namespace": "other"}}, 400, "does not match the namespace"),
        ({"metadata": {"name": "a", "resourceVersion": "1"}}, 400, "should not be set"),
        ({"kind": "Pod", "metadata": {"name": "a"}}, 400, "expected kind (ConfigMap)"),
        ({"apiVersion": "v2", "metadata": {"name": "a"}}, 400, "expected API version (v1)"),
        ({"metadata": {"name": "a"}, "data": {"a": 1}}, 400, "cannot unmarshal number into field"),
        ({"metadata": {"name": 5}}, 400, "cannot unmarshal number into field metadata.name"),
    ],
)
async def test_bad_creates(api: Api, obj: Any, code: int, text: str) -> None:
    answer = await api.post(CONFIG_MAPS, obj)
    assert answer.code == code, answer.body
    assert text in answer.body["message"]


async def test_causes_name_fields(api: Api) -> None:
    answer = await api.post(SERVICES, service(ports=[{"port": 0}, {"port": 70000, "name": "b"}]))
    assert answer.code == 422
    assert answer.fields[0] == "spec.ports[0].name"
    assert "spec.ports[1].port" in answer.fields


async def test_namespace_must_exist(api: Api) -> None:
    answer = await api.post("/api/v1/namespaces/nowhere/configmaps", config_map())
    assert (answer.code, answer.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_unknown_fields(api: Api) -> None:
    odd = service(colour="red")
    strict = await api.post(f"{SERVICES}?fieldValidation=Strict", odd)
    assert strict.code == 400
    assert 'strict decoding error: unknown field "spec.colour"' in strict.body["message"]
    warned = await api.post(SERVICES, odd)
    assert warned.code == 201
    assert 'unknown field \\"spec.colour\\"' in warned.headers["Warning"]
    assert "colour" not in warned.body["spec"]
    ignored = await api.post(f"{SERVICES}?fieldValidation=Ignore", service("b", colour="red"))
    assert ignored.code == 201
    assert "Warning" not in ignored.headers


async def test_dry_run_keeps_nothing(api: Api) -> None:
    before = (await api.get(SERVICES)).version
    answer = await api.post(f"{SERVICES}?dryRun=All", service())
    assert answer.code == 201
    assert answer.body["spec"]["clusterIP"]
    after = await api.get(SERVICES)
    assert after.version == before
    assert [item["metadata"]["name"] for item in after.body["items"]] == ["kubernetes"]


async def test_too_large(api: Api) -> None:
    answer = await api.post(CONFIG_MAPS, config_map(a="x" * 4_000_000))
    assert (answer.code, answer.reason) == (413, "RequestEntityTooLarge")
    annotated = pod()
    annotated["spec"]["containers"][0]["args"] = ["x" * 1_600_000]
    answer = await api.post(PODS, annotated)
    assert (answer.code, answer.reason) == (413, "RequestEntityTooLarge")
    assert "limit is 1572864" in answer.body["message"]
    assert (await api.get(f"{PODS}/p")).code == 404


async def test_wrong_content_type(api: Api) -> None:
    answer = await api.post(CONFIG_MAPS, b"<a/>", "text/xml")
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")
    assert "application/vnd.kubernetes.protobuf" in answer.body["message"]


async def test_yaml(api: Api) -> None:
    text = b"metadata: {name: y}\ndata: {when: '2020-01-01'}\n"
    answer = await api.post(CONFIG_MAPS, text, "application/yaml")
    assert answer.code == 201
    assert answer.body["data"] == {"when": "2020-01-01"}


# -- update -------------------------------------------------------------------------------------


async def test_update(api: Api) -> None:
    made = (await api.post(CONFIG_MAPS, config_map(a="1"))).body
    made["data"] = {"b": "2"}
    updated = await api.put(f"{CONFIG_MAPS}/c", made)
    assert updated.code == 200
    assert updated.body["data"] == {"b": "2"}
    assert updated.body["metadata"]["uid"] == made["metadata"]["uid"]
    stale = await api.put(f"{CONFIG_MAPS}/c", made)
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified" in stale.body["message"]


async def test_update_without_a_version_wins(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map(a="1"))
    updated = await api.put(f"{CONFIG_MAPS}/c", config_map(a="2"))
    assert updated.code == 200


async def test_update_that_changes_nothing_makes_no_version(api: Api) -> None:
    made = await api.post(SERVICES, service())
    updated = await api.put(f"{SERVICES}/web", service())
    assert updated.code == 200
    assert updated.version == made.version
    patched = await api.patch(f"{SERVICES}/web", {"spec": {"type": "ClusterIP"}})
    assert patched.version == made.version


async def test_update_of_nothing(api: Api) -> None:
    assert (await api.put(f"{CONFIG_MAPS}/c", config_map())).code == 404


async def test_update_of_another(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map())
    answer = await api.put(f"{CONFIG_MAPS}/c", config_map("d"))
    assert answer.code == 400
    assert "does not match the name on the URL" in answer.body["message"]


async def test_leases_as_a_kubelet_renews_them(api: Api) -> None:
    """A PUT creates; later ones need the version."""
    lease = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
    created = await api.put(f"{LEASES}/n1", lease)
    assert created.code == 201
    blind = await api.put(f"{LEASES}/n1", lease)
    assert blind.code == 422
    assert blind.fields == ["metadata.resourceVersion"]
    created.body["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    assert (await api.put(f"{LEASES}/n1", created.body)).code == 200


async def test_generation_counts_changes_of_the_desired_state(api: Api) -> None:
    obj = {
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    }
    made = await api.post(SLICES, obj)
    assert made.body["metadata"]["generation"] == 1
    labelled = await api.patch(f"{SLICES}/s", {"metadata": {"labels": {"a": "b"}}})
    assert labelled.body["metadata"]["generation"] == 1
    changed = await api.patch(f"{SLICES}/s", {"endpoints": [{"addresses": ["10.0.0.2"]}]})
    assert changed.body["metadata"]["generation"] == 2


async def test_status_is_a_world_of_its_own(api: Api) -> None:
    await api.post(PODS, pod() | {"status": {"phase": "Running"}})
    held = (await api.get(f"{PODS}/p")).body
    assert held["status"]["phase"] == "Pending"  # not the creator's to say
    ignored = await api.patch(f"{PODS}/p", {"status": {"phase": "Running"}})
    assert ignored.body["status"]["phase"] == "Pending"
    patch = {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}
    told = await api.patch(f"{PODS}/p/status", patch, STRATEGIC)
    assert told.code == 200
    assert told.body["status"]["phase"] == "Running"
    assert "nodeName" not in told.body["spec"]
    assert (await api.get(f"{PODS}/p/status")).body["status"]["phase"] == "Running"
    assert (await api.patch(f"{CONFIG_MAPS}/c/status", {})).code == 404


async def test_nodes_bring_their_status(api: Api) -> None:
    node = {"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "1"}}}
    made = await api.post("/api/v1/nodes", node)
    assert made.body["status"] == {"capacity": {"cpu": "1"}}


# -- patch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (MERGE, {"data": {"b": "2"}}),
        (STRATEGIC, {"data": {"b": "2"}}),
        (JSON_PATCH, [{"op": "add", "path": "/data/b", "value": "2"}]),
    ],
)
async def test_patches(api: Api, content_type: str, patch: Any) -> None:
    await api.post(CONFIG_MAPS, config_map(a="1"))
    answer = await api.patch(f"{CONFIG_MAPS}/c", patch, content_type)
    assert answer.code == 200
    assert answer.body["data"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("content_type", "patch", "code"),
    [
        (MERGE, {"metadata": {"name": "other"}}, 400),
        (MERGE, {"metadata": {"resourceVersion": "1"}}, 409),
        (MERGE, {"metadata": None}, 422),
        (MERGE, {"kind": "Pod"}, 422),
        (MERGE, [1], 422),
        (MERGE, {"data": {"a": 1}}, 400),
        (MERGE, {"metadata": {"labels": {"-": "x"}}}, 422),
        (JSON_PATCH, [{"op": "remove", "path": "/metadata"}], 422),
        (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "x"}], 422),
        (JSON_PATCH, {}, 400),
        (STRATEGIC, [], 400),
        ("application/apply-patch+yaml", {}, 422),  # no field manager
        ("application/apply-patch+cbor", {}, 415),
        ("application/json", {}, 415),
    ],
)
async def test_bad_patches(api: Api, content_type: str, patch: Any, code: int) -> None:
    made = await api.post(CONFIG_MAPS, config_map(a="1"))
    answer = await api.patch(f"{CONFIG_MAPS}/c", patch, content_type)
    assert answer.code == code, answer.body
    assert (await api.get(f"{CONFIG_MAPS}/c")).body == made.body


async def test_deep_bodies_are_refused(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map())
    for depth, codes in ((100, {200}), (990, {200, 400}), (100_000, {400})):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        answer = await api.call("PATCH", f"{CONFIG_MAPS}/c", deep, MERGE)
        assert answer.code in codes


async def test_patch_with_the_right_version(api: Api) -> None:
    made = await api.post(CONFIG_MAPS, config_map())
    version = made.body["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "1"}}
    assert (await api.patch(f"{CONFIG_MAPS}/c", patch)).code == 200


async def test_system_fields_cannot_be_patched(api: Api) -> None:
    made = await api.post(CONFIG_MAPS, config_map())
    patch = {"metadata": {"creationTimestamp": None, "deletionTimestamp": "2020-01-01T00:00:00Z"}}
    assert (await api.patch(f"{CONFIG_MAPS}/c", patch)).body == made.body


async def test_changing_a_services_type_gives_ports_back(api: Api) -> None:
    made = await api.post(SERVICES, service(type="NodePort"))
    port = made.body["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    taken = await api.post(
        SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    )
    assert taken.code == 422
    back = await api.patch(f"{SERVICES}/web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in back.body["spec"]["ports"][0]
    free = await api.post(
        SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    )
    assert free.code == 201


# -- delete -------------------------------------------------------------------------------------


async def test_delete(api: Api) -> None:
    made = await api.post(CONFIG_MAPS, config_map())
    answer = await api.delete(f"{CONFIG_MAPS}/c")
    uid = made.body["metadata"]["uid"]
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "c", "kind": "configmaps", "uid": uid}
    assert (await api.delete(f"{CONFIG_MAPS}/c")).code == 404


async def test_preconditions(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map())
    answer = await api.delete(f"{CONFIG_MAPS}/c", {"preconditions": {"uid": "other"}})
    assert (answer.code, answer.reason) == (409, "Conflict")


async def test_dry_run_deletes_nothing(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map())
    assert (await api.delete(f"{CONFIG_MAPS}/c?dryRun=All")).code == 200
    assert (await api.delete(f"{CONFIG_MAPS}/c", {"dryRun": ["All"]})).code == 200
    assert (await api.get(f"{CONFIG_MAPS}/c")).code == 200


async def test_finalizers(api: Api) -> None:
    obj = config_map() | {"metadata": {"name": "c", "finalizers": ["example.com/wait"]}}
    await api.post(CONFIG_MAPS, obj)
    marked = await api.delete(f"{CONFIG_MAPS}/c")
    assert "deletionTimestamp" in marked.body["metadata"]
    again = await api.delete(f"{CONFIG_MAPS}/c")
    assert again.version == marked.version
    more = {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}
    assert (await api.patch(f"{CONFIG_MAPS}/c", more)).code == 422
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={marked.version}") as events:
        released = await api.patch(f"{CONFIG_MAPS}/c", {"metadata": {"finalizers": None}})
        assert released.code == 200
        event = await next_event(events)
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) == marked.version + 1
    assert (await api.get(f"{CONFIG_MAPS}/c")).code == 404


async def test_pods_on_nodes_leave_when_their_kubelet_says_so(api: Api) -> None:
    await api.post(PODS, pod(nodeName="n1"))
    marked = await api.delete(f"{PODS}/p")
    assert marked.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.get(f"{PODS}/p")).code == 200
    gone = await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (gone.body["kind"], gone.version) == ("Pod", marked.version + 1)
    assert (await api.get(f"{PODS}/p")).code == 404


async def test_delete_collection(api: Api) -> None:
    for n in range(150):
        obj = config_map(f"c{n:03}") | {
            "metadata": {"name": f"c{n:03}", "labels": {"even": str(n % 2 == 0)}}
        }
        await api.post(CONFIG_MAPS, obj)
    answer = await api.delete(f"{CONFIG_MAPS}?labelSelector=even%3DTrue")
    assert answer.body["kind"] == "ConfigMapList"
    assert len(answer.body["items"]) == 75
    left = (await api.get(CONFIG_MAPS)).body["items"]
    assert {item["metadata"]["labels"]["even"] for item in left} == {"False"}
    await api.delete(f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc001")
    assert (await api.get(f"{CONFIG_MAPS}/c001")).code == 404
    assert (await api.delete(f"{CONFIG_MAPS}?fieldSelector=colour%3Dred")).code == 400


async def test_verbs_that_are_not(api: Api) -> None:
    assert (await api.post(f"{CONFIG_MAPS}/c", config_map())).code in (404, 405)
    assert (await api.put(CONFIG_MAPS, config_map())).code in (404, 405)
    assert (await api.get(f"{CORE}/unicorns")).code == 404


# -- together -----------------------------------------------------------------------------------


async def test_watchers_see_every_write_in_order(api: Api) -> None:
    version = (await api.get(CONFIG_MAPS)).version
    async with api.watch(f"{CONFIG_MAPS}?resourceVersion={version}") as events:
        await api.post(CONFIG_MAPS, config_map(a="1"))
        await api.patch(f"{CONFIG_MAPS}/c", {"data": {"a": "2"}})
        await api.delete(f"{CONFIG_MAPS}/c")
        seen = [await next_event(events) for _ in range(3)]
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert versions == [version + 1, version + 2, version + 3]


async def test_racing_updates_lose_nothing(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map(n="0"))

    async def add_one() -> None:
        while True:
            held = (await api.get(f"{CONFIG_MAPS}/c")).body
            held["data"]["n"] = str(int(held["data"]["n"]) + 1)
            if (await api.put(f"{CONFIG_MAPS}/c", held)).code == 200:
                return

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert (await api.get(f"{CONFIG_MAPS}/c")).body["data"]["n"] == "20"


async def test_both_kinds_of_events_are_one(api: Api) -> None:
    new = {
        "metadata": {"name": "e"},
        "eventTime": "2020-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Node", "name": "n1"},
        "note": "started",
        "reason": "Starting",
        "type": "Normal",
        "reportingController": "kube-proxy",
    }
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    made = await api.post(path, new)
    assert made.code == 201
    assert made.body["note"] == "started"
    old = (await api.get(f"{CORE}/events/e")).body
    assert old["apiVersion"] == "v1"
    assert old["message"] == "started"
    assert old["involvedObject"]["name"] == "n1"
    selected = await api.get(f"{CORE}/events?fieldSelector=involvedObject.name%3Dn1")
    assert len(selected.body["items"]) == 1
    await api.delete(f"{CORE}/events/e")
    assert (await api.get(f"{path}/e")).code == 404


async def test_bulk(server: EmbeddedApiServer, api: Api) -> None:
    objects = [service(f"s{n:04}") for n in range(1200)]
    for obj in objects:
        obj["metadata"]["namespace"] = "default"
    version = server.put_many("services", objects)
    listed = await api.get(SERVICES)
    assert listed.version == version
    ips = {item["spec"]["clusterIP"] for item in listed.body["items"]}
    assert len(ips) == 1201
    server.put_many("services", [objects[0] | {"spec": {"ports": [{"port": 81}]}}])
    changed = (await api.get(f"{SERVICES}/s0000")).body
    assert changed["spec"]["ports"][0]["port"] == 81
    with pytest.raises(KeyError):
        server.put_many("unicorns", [])
