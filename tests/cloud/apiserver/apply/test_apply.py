"""Server-side apply and managed fields over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import (
    CONFIG_MAPS,
    CRDS,
    CRON_TABS,
    JSON_PATCH,
    LEASES,
    PODS,
    SERVICES,
    STRATEGIC,
    Answer,
    Api,
    Object,
    config_map,
    crd,
    cron_tab,
    pod,
    service,
)

APPLY = "application/apply-patch+yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def apply(api: Api, path: str, config: Any, manager: str = "me", query: str = "") -> Answer:
    return await api.patch(f"{path}?fieldManager={manager}{query}", config, APPLY)


def managers(obj: Object) -> list[tuple[str, str, str]]:
    entries = obj["metadata"].get("managedFields", [])
    return [(e["manager"], e["operation"], e.get("subresource", "")) for e in entries]


def fields(obj: Object, manager: str) -> Any:
    entries = [e for e in obj["metadata"]["managedFields"] if e["manager"] == manager]
    assert len(entries) == 1
    return entries[0]["fieldsV1"]


def deployment(**spec: Any) -> Object:
    labels = {"app": "web"}
    container = {"name": "c", "image": "nginx:1", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template} | spec,
    }


# -- managed fields of other writes ----------------------------------------------------------------


async def test_writes_are_tracked(server: EmbeddedApiServer) -> None:
    api = Api(server.url, {"User-Agent": "curl/8.1 (x)"})
    try:
        made = (await api.post(CONFIG_MAPS, config_map(a="1", b="1"))).body
        [entry] = made["metadata"]["managedFields"]
        assert entry == {
            "manager": "curl",
            "operation": "Update",
            "apiVersion": "v1",
            "time": made["metadata"]["creationTimestamp"],
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
        }
        changed = (await api.patch(f"{CONFIG_MAPS}/c?fieldManager=ed", {"data": {"a": "2"}})).body
        assert fields(changed, "curl") == {"f:data": {".": {}, "f:b": {}}}
        assert fields(changed, "ed") == {"f:data": {"f:a": {}}}
        updated = (await api.put(f"{CONFIG_MAPS}/c?fieldManager=third", config_map(a="2"))).body
        assert fields(updated, "curl") == {"f:data": {}}  # b is gone, the map is not
        assert "third" not in {name for name, _, _ in managers(updated)}  # it only removed
    finally:
        await api.close()


async def test_statuses_have_managers_of_their_own(api: Api) -> None:
    await api.post(f"{PODS}?fieldManager=me", pod())
    status = {"status": {"phase": "Running"}}
    told = await api.patch(f"{PODS}/p/status?fieldManager=kubelet", status, STRATEGIC)
    assert ("kubelet", "Update", "status") in managers(told.body)
    assert fields(told.body, "kubelet") == {"f:status": {"f:phase": {}}}
    assert "f:status" not in fields(told.body, "me")


async def test_addresses_that_were_given_out_are_nobodys(api: Api) -> None:
    made = (await api.post(f"{SERVICES}?fieldManager=me", service(type="NodePort"))).body
    spec = fields(made, "me")["f:spec"]
    assert "f:clusterIP" not in spec
    assert "f:nodePort" not in spec["f:ports"]['k:{"port":80,"protocol":"TCP"}']
    assert "f:type" in spec
    own = (await api.post(f"{SERVICES}?fieldManager=me", service("h", clusterIP="None"))).body
    assert "f:clusterIP" in fields(own, "me")["f:spec"]


async def test_managed_fields_can_be_set_and_reset(api: Api) -> None:
    made = (await api.post(f"{CONFIG_MAPS}?fieldManager=me", config_map(a="1"))).body
    renamed = [made["metadata"]["managedFields"][0] | {"manager": "other"}]
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": renamed}]
    told = await api.patch(f"{CONFIG_MAPS}/c", operations, JSON_PATCH)
    assert managers(told.body) == [("other", "Update", "")]
    assert told.version > int(made["metadata"]["resourceVersion"])
    unreadable = [{"op": "add", "path": "/metadata/managedFields/0/fieldsType", "value": "X"}]
    kept = await api.patch(f"{CONFIG_MAPS}/c", unreadable, JSON_PATCH)
    assert kept.body == told.body
    mistyped = [{"op": "replace", "path": "/metadata/managedFields", "value": "x"}]
    assert (await api.patch(f"{CONFIG_MAPS}/c", mistyped, JSON_PATCH)).code == 400
    reset = await api.patch(f"{CONFIG_MAPS}/c", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in reset.body["metadata"]


async def test_what_a_client_read_without_them_keeps_them(api: Api) -> None:
    made = (await api.post(CONFIG_MAPS, config_map(a="1"))).body
    entries = made["metadata"].pop("managedFields")
    assert (await api.put(f"{CONFIG_MAPS}/c", made)).body["metadata"]["managedFields"] == entries


# -- apply -----------------------------------------------------------------------------------------


async def test_apply_creates_merges_and_rests(api: Api) -> None:
    made = await apply(api, f"{SERVICES}/web", service())
    assert made.code == 201
    assert made.body["spec"]["clusterIP"].startswith("10.96.")
    assert managers(made.body) == [("me", "Apply", "")]
    again = await apply(api, f"{SERVICES}/web", service())
    assert (again.code, again.body) == (200, made.body)
    more = await apply(api, f"{SERVICES}/web", service(ports=[{"port": 80}, {"port": 81}]))
    assert more.code == 422  # validated as any write: two ports need names
    ports = [{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP", "name": "b"}]
    more = await apply(api, f"{SERVICES}/web", service(ports=ports))
    assert [port["protocol"] for port in more.body["spec"]["ports"]] == ["TCP", "UDP"]
    fewer = await apply(api, f"{SERVICES}/web", service(ports=ports[1:]))
    assert [port["name"] for port in fewer.body["spec"]["ports"]] == ["b"]


async def test_conflicts(api: Api) -> None:
    created = await api.post(
        f"{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply", deployment(replicas=2)
    )
    assert created.code == 201
    refused = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=3))
    assert (refused.code, refused.reason) == (409, "Conflict")
    text = 'conflict with "kubectl-client-side-apply" using apps/v1'
    assert refused.body["message"] == f"Apply failed with 1 conflict: {text}: .spec.replicas"
    assert refused.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": text, "field": ".spec.replicas"}
    ]
    taken = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=3), query="&force=true")
    assert taken.body["spec"]["replicas"] == 3
    assert "f:replicas" not in fields(taken.body, "kubectl-client-side-apply")["f:spec"]
    shared = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=3), "third")
    assert shared.code == 200
    away = await apply(api, f"{DEPLOYMENTS}/web", deployment())
    assert away.body["spec"]["replicas"] == 3  # the third has it
    away = await apply(api, f"{DEPLOYMENTS}/web", deployment(), "third")
    assert away.body["spec"]["replicas"] == 1  # the default


async def test_dry_run(api: Api) -> None:
    dry = await apply(api, f"{CONFIG_MAPS}/c", config_map(a="1"), query="&dryRun=All")
    assert dry.code == 201
    assert (await api.get(f"{CONFIG_MAPS}/c")).code == 404
    made = await apply(api, f"{CONFIG_MAPS}/c", config_map(a="1"))
    dry = await apply(api, f"{CONFIG_MAPS}/c", config_map(a="2"), query="&dryRun=All")
    assert dry.body["data"] == {"a": "2"}
    assert (await api.get(f"{CONFIG_MAPS}/c")).body == made.body


async def test_yaml(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: x}\n"
    made = await apply(api, f"{CONFIG_MAPS}/y", text)
    assert made.body["data"] == {"a": "x"}


async def test_status(api: Api) -> None:
    status = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    status |= {"spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    assert (await apply(api, f"{PODS}/p/status", status, "kubelet")).code == 404
    await apply(api, f"{PODS}/p", pod() | {"status": {"phase": "Failed"}})
    held = (await api.get(f"{PODS}/p")).body
    assert held["status"]["phase"] == "Pending"
    assert "f:status" not in fields(held, "me")
    told = await apply(api, f"{PODS}/p/status", status, "kubelet", "&force=true")
    assert told.body["status"]["phase"] == "Running"
    assert "nodeName" not in told.body["spec"]
    assert fields(told.body, "kubelet") == {"f:status": {"f:phase": {}}}
    assert ("kubelet", "Apply", "status") in managers(told.body)


def changed(obj: Object, **metadata: Any) -> Object:
    return obj | {"metadata": obj["metadata"] | metadata}


@pytest.mark.parametrize(
    ("config", "query", "code", "text"),
    [
        (config_map(), "", 422, "fieldManager: Required value: is required for apply patch"),
        (config_map(), "fieldManager=" + "x" * 129, 422, "fieldManager: Too long"),
        (
            changed(config_map(), managedFields=[{"manager": "x"}]),
            "fieldManager=me",
            400,
            "metadata.managedFields must be nil",
        ),
        (changed(config_map(), uid="other"), "fieldManager=me", 409, "UID in precondition: other"),
        (changed(config_map(), resourceVersion="1"), "fieldManager=me", 409, "has been modified"),
        (changed(config_map(), name="d"), "fieldManager=me", 400, "does not match the name"),
        ({"metadata": {"name": "c"}}, "fieldManager=me", 400, "Object 'ApiVersion' is missing"),
        (config_map() | {"odd": 1}, "fieldManager=me", 400, ".odd: field not declared in schema"),
        ([], "fieldManager=me", 400, "is no object"),
        (b"a: b: c", "fieldManager=me", 400, "error decoding YAML"),
        (config_map() | {"kind": "Pod"}, "fieldManager=me", 400, "expected kind (ConfigMap)"),
    ],
)
async def test_refused(api: Api, config: Any, query: str, code: int, text: str) -> None:
    await api.post(CONFIG_MAPS, config_map())
    answer = await api.patch(f"{CONFIG_MAPS}/c?{query}", config, APPLY)
    assert answer.code == code, answer.body
    assert text in answer.body["message"]


@pytest.mark.parametrize(
    ("config", "code", "text"),
    [
        (changed(config_map(), uid="u"), 409, "no existing object was found"),
        (changed(config_map(), resourceVersion="1"), 409, "has been modified"),
        (changed(config_map(), name=""), 400, "name must be provided"),
    ],
)
async def test_refused_where_there_is_nothing(
    api: Api, config: Object, code: int, text: str
) -> None:
    answer = await apply(api, f"{CONFIG_MAPS}/c", config)
    assert answer.code == code
    assert text in answer.body["message"]


async def test_types_and_options_of_patches(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map())
    forced = await api.patch(f"{CONFIG_MAPS}/c?force=true", {"data": {}})
    assert forced.code == 422
    assert "may not be specified for non-apply patch" in forced.body["message"]
    cbor = await api.patch(f"{CONFIG_MAPS}/c", b"\xa0", "application/apply-patch+cbor")
    assert cbor.code == 415
    assert APPLY in cbor.body["message"]


async def test_ports_twice_the_same(api: Api) -> None:
    twice = service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}])
    answer = await apply(api, f"{SERVICES}/web", twice)
    assert (answer.code, answer.body["message"]) == (
        400,
        "failed to create typed patch object (/web; /v1, Kind=Service):"
        ' .spec.ports: duplicate entries for key [port=80,protocol="TCP"]',
    )


async def test_leases_which_no_update_may_touch_blindly(api: Api) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a"},
    }
    assert (await apply(api, f"{LEASES}/l", lease)).code == 201
    lease["spec"] = {"holderIdentity": "b"}
    assert (await apply(api, f"{LEASES}/l", lease)).code == 200


async def test_custom_resources(api: Api) -> None:
    items = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "value": {"type": "integer"}},
        },
    }
    definition = crd()
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["jobs"] = items
    assert (await apply(api, f"{CRDS}/crontabs.example.com", definition)).code == 201
    first = cron_tab(jobs=[{"name": "a", "value": 1}], free={"x": {"y": 1}, "l": [1]})
    made = await apply(api, f"{CRON_TABS}/mine", first)
    assert made.code == 201
    assert made.body["spec"]["image"] == "busybox"
    assert "f:image" not in fields(made.body, "me")["f:spec"]  # a default is nobody's
    second = {"jobs": [{"name": "b", "value": 2}], "free": {"x": {"z": 2}}}
    config = {**cron_tab(), "spec": second}
    both = await apply(api, f"{CRON_TABS}/mine", config, "you")
    assert both.body["spec"]["jobs"] == [{"name": "a", "value": 1}, {"name": "b", "value": 2}]
    assert both.body["spec"]["free"] == {"x": {"y": 1, "z": 2}, "l": [1]}
    less = await apply(api, f"{CRON_TABS}/mine", cron_tab())
    assert less.body["spec"]["jobs"] == [{"name": "b", "value": 2}]
    assert less.body["spec"]["free"] == {"x": {"z": 2}}
    conflict = await apply(api, f"{CRON_TABS}/mine", cron_tab(free={"x": {"z": 3}}))
    assert conflict.body["details"]["causes"][0]["field"] == ".spec.free.x.z"
    odd = await apply(api, f"{CRON_TABS}/mine", cron_tab(odd=1))
    assert ".spec.odd: field not declared in schema" in odd.body["message"]
    wrong = await apply(api, f"{CRON_TABS}/mine", cron_tab(replicas=99))
    assert wrong.code == 422
    status = {**cron_tab(), "status": {"ready": True}}
    told = await apply(api, f"{CRON_TABS}/mine/status", status, "operator")
    assert told.body["status"] == {"ready": True}
    assert fields(told.body, "operator") == {"f:status": {"f:ready": {}}}


async def test_objects_loaded_past_the_api(server: EmbeddedApiServer, api: Api) -> None:
    body = {"metadata": {"name": "x", "namespace": "default"}, "data": {"a": "1"}}
    server.put_many("configmaps", [body])
    edited = await api.patch(f"{CONFIG_MAPS}/x", {"data": {"b": "1"}})
    assert "managedFields" not in edited.body["metadata"]
    refused = await apply(api, f"{CONFIG_MAPS}/x", config_map("x", a="2"))
    assert 'conflict with "before-first-apply" using v1' in refused.body["message"]
    taken = await apply(api, f"{CONFIG_MAPS}/x", config_map("x", c="2"))
    assert taken.body["data"] == {"a": "1", "b": "1", "c": "2"}


async def test_entries_that_nobody_can_read_are_dropped(
    server: EmbeddedApiServer, api: Api
) -> None:
    odd = [{"manager": "kubelet", "fieldsV1": {}}]
    metadata = {"name": "x", "namespace": "default", "managedFields": odd}
    server.put_many("configmaps", [{"metadata": metadata, "data": {}}])
    edited = await api.patch(f"{CONFIG_MAPS}/x", {"data": {"b": "1"}})
    assert edited.code == 200
    assert "managedFields" not in edited.body["metadata"]
