"""Protobuf bodies, from the wire to the store: what the kubelet and kube-proxy do."""

from __future__ import annotations

import pytest

from tests.actors.kube.protobuf.samples import SAMPLES, Sample, enveloped, sent
from tests.cloud.apiserver.api import CONFIG_MAPS, SERVICES, Api, Object, config_map

PROTOBUF = "application/vnd.kubernetes.protobuf"
PATHS = {
    ("v1", "ConfigMap"): CONFIG_MAPS,
    ("v1", "Node"): "/api/v1/nodes",
    ("v1", "Event"): "/api/v1/namespaces/kube-node-lease/events",
    ("v1", "Endpoints"): "/api/v1/namespaces/kube-node-lease/endpoints",
    ("coordination.k8s.io/v1", "Lease"): (
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    ),
    ("discovery.k8s.io/v1", "EndpointSlice"): (
        "/apis/discovery.k8s.io/v1/namespaces/kube-node-lease/endpointslices"
    ),
    ("events.k8s.io/v1", "Event"): "/apis/events.k8s.io/v1/namespaces/kube-node-lease/events",
    ("storage.k8s.io/v1", "CSINode"): "/apis/storage.k8s.io/v1/csinodes",
    ("storage.k8s.io/v1", "CSIDriver"): "/apis/storage.k8s.io/v1/csidrivers",
    ("node.k8s.io/v1", "RuntimeClass"): "/apis/node.k8s.io/v1/runtimeclasses",
}


def key_of(obj: Object) -> tuple[str, str]:
    return obj["apiVersion"], obj["kind"]


@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if key_of(s.obj) in PATHS], ids=lambda sample: sample.origin
)
async def test_created_as_json_would_be(api: Api, sample: Sample) -> None:
    path = PATHS[key_of(sample.obj)]
    sent_so = await api.post(path, sample.body, PROTOBUF)
    assert sent_so.code == 201, sent_so.body
    name = sample.obj["metadata"]["name"]
    held = (await api.get(f"{path}/{name}")).body
    await api.delete(f"{path}/{name}")
    as_json = (await api.post(path, sample.obj)).body
    for each in (held, as_json):
        for member in ("uid", "resourceVersion", "creationTimestamp"):
            each["metadata"].pop(member)
        for entry in each["metadata"].get("managedFields", ()):
            entry.pop("time")  # in seconds: the two may lie in different ones
    assert held == as_json


async def test_a_lease_is_renewed(api: Api) -> None:
    path = PATHS["coordination.k8s.io/v1", "Lease"]
    [sample] = [s for s in SAMPLES if s.obj["kind"] == "Lease"]
    created = await api.post(path, sample.body, PROTOBUF)
    metadata = sent(1, b"n1") + sent(3, b"kube-node-lease") + sent(6, str(created.version).encode())
    spec = sent(1, b"n1") + sent(2, 40) + sent(4, sent(1, 1714557610) + sent(2, 5000))
    body = enveloped("coordination.k8s.io/v1", "Lease", sent(1, metadata) + sent(2, spec))
    renewed = await api.call("PUT", f"{path}/n1", body, PROTOBUF)
    assert renewed.code == 200
    assert renewed.body["spec"]["renewTime"] == "2024-05-01T10:00:10.000005Z"
    assert (await api.call("PUT", f"{path}/n1", body, PROTOBUF)).code == 409


async def test_a_target_port_of_zero_is_none(api: Api) -> None:
    """Go cannot leave it out."""
    spec = sent(2, sent(1, sent(3, 80) + sent(4, b"")))
    body = enveloped("v1", "Service", sent(1, sent(1, b"a")) + spec)
    created = await api.post(SERVICES, body, PROTOBUF)
    assert created.body["spec"]["ports"][0]["targetPort"] == 80


async def test_options_of_a_delete(api: Api) -> None:
    created = await api.post(CONFIG_MAPS, config_map())
    name = created.body["metadata"]["name"]
    other = enveloped("v1", "DeleteOptions", sent(2, sent(1, b"another uid")))
    assert (await api.call("DELETE", f"{CONFIG_MAPS}/{name}", other, PROTOBUF)).code == 409
    uid = created.body["metadata"]["uid"].encode()
    right = enveloped("v1", "DeleteOptions", sent(2, sent(1, uid)))
    assert (await api.call("DELETE", f"{CONFIG_MAPS}/{name}", right, PROTOBUF)).code == 200


async def test_what_is_not_known_is_refused(api: Api) -> None:
    body = enveloped("v1", "ConfigMap", sent(1, sent(1, b"a")) + sent(77, b""))
    answer = await api.post(CONFIG_MAPS, body, PROTOBUF)
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")
    assert "field 77 of core.ConfigMap" in answer.body["message"]
    assert (await api.post(CONFIG_MAPS, body[:-1], PROTOBUF)).code == 400
    assert (await api.get(f"{CONFIG_MAPS}/a")).code == 404
