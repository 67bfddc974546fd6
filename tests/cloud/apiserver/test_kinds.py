"""Defaults and validation of the built-in kinds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cloud.apiserver.addresses import Addresses
from cloud.apiserver.kinds import kind_of
from cloud.apiserver.kinds import service as services
from cloud.apiserver.kinds.pod import qos_class
from tests.cloud.apiserver.api import Object, config_map, crd, pod, service


def filled(name: str, obj: Object, old: Object | None = None) -> Object:
    made = copy.deepcopy(obj)
    made["metadata"].setdefault("creationTimestamp", "2020-01-01T00:00:00Z")
    kind_of(name).default(made, old)
    return made


def fields(name: str, obj: Object, old: Object | None = None) -> list[str]:
    return [cause.field for cause in kind_of(name).validate(filled(name, obj, old), old)]


def slice_(**members: Any) -> Object:
    endpoints = [{"addresses": ["10.0.0.1"]}]
    base = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints}
    return base | members


# -- services -----------------------------------------------------------------------------------


def test_service_defaults() -> None:
    spec = filled("services", service())["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert spec["ipFamilies"] == ["IPv4"]
    assert (spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("None", "Cluster")


def test_service_update_keeps_what_was_given_out() -> None:
    old = filled("services", service(type="NodePort"))
    assert list(services.allocate(old, Addresses(), "default/web")) == []
    new = filled("services", service(type="NodePort", selector={"new": "one"}), old)
    for name in ("clusterIP", "clusterIPs", "ports"):
        assert new["spec"][name] == old["spec"][name]
    assert fields("services", new, old) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, ["spec.ports"]),
        ({"ports": [], "clusterIP": "None"}, []),
        ({"ports": [], "type": "ExternalName", "externalName": "a.b"}, []),
        ({"type": "ExternalName", "ports": []}, ["spec.externalName"]),
        ({"type": "Wild"}, ["spec.type"]),
        ({"ports": [{"port": 0}]}, ["spec.ports[0].port", "spec.ports[0].targetPort"]),
        ({"ports": [{"port": 1}, {"port": 2}]}, ["spec.ports[0].name", "spec.ports[1].name"]),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, ["spec.ports[1].name"]),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}, ["spec.ports[1]"]),
        ({"ports": [{"port": 1, "protocol": "ICMP"}]}, ["spec.ports[0].protocol"]),
        ({"clusterIP": "nonsense"}, ["spec.clusterIPs[0]"]),
        ({"clusterIP": "None", "type": "NodePort"}, ["spec.clusterIPs[0]"]),
        ({"sessionAffinity": "x"}, ["spec.sessionAffinity"]),
    ],
)
def test_service_faults(spec: dict[str, Any], expected: list[str]) -> None:
    assert fields("services", service(**spec)) == expected


def test_cluster_ips_do_not_change() -> None:
    old = filled("services", service(clusterIP="10.96.0.5"))
    assert fields("services", service(clusterIP="10.96.0.6"), old) == ["spec.clusterIPs[0]"]


def test_type_changes_take_along_what_only_the_old_one_had() -> None:
    old = filled("services", service(type="LoadBalancer"))
    assert list(services.allocate(old, Addresses(), "default/web")) == []
    outside = copy.deepcopy(old)
    outside["spec"] |= {"type": "ExternalName", "externalName": "a.b"}
    new = filled("services", outside, old)
    assert not {"clusterIP", "clusterIPs", "externalTrafficPolicy"} & set(new["spec"])
    assert fields("services", outside, old) == []


def test_addresses_that_cannot_be_had() -> None:
    addresses = Addresses()
    addresses.note("default/other", {"spec": {"clusterIP": "10.96.0.5"}})
    for ip in ("10.96.0.5", "192.168.0.1"):
        wanted = filled("services", service(clusterIP=ip))
        (fault,) = services.allocate(wanted, addresses, "default/web")
        assert fault.field == "spec.clusterIPs"


# -- pods ---------------------------------------------------------------------------------------


def test_pod_defaults() -> None:
    made = filled("pods", pod())
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["serviceAccountName"] == "default"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("host:5000/nginx", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    made = filled("pods", pod(containers=[{"name": "c", "image": image}]))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}, "Burstable"),
    ],
)
def test_qos(resources: dict[str, Any], expected: str) -> None:
    assert qos_class({"containers": [{"resources": resources}]}) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, ["spec.containers"]),
        ({"containers": [{"name": "c"}]}, ["spec.containers[0].image"]),
        ({"containers": [{"name": "C_", "image": "i"}]}, ["spec.containers[0].name"]),
        ({"containers": [{"name": "c", "image": "i"}] * 2}, ["spec.containers[1].name"]),
        ({"restartPolicy": "Never say never"}, ["spec.restartPolicy"]),
    ],
)
def test_pod_faults(spec: dict[str, Any], expected: list[str]) -> None:
    assert fields("pods", pod(**spec)) == expected


def test_little_of_a_pod_may_change() -> None:
    old = filled("pods", pod())
    other_image = pod(containers=[{"name": "c", "image": "nginx:2"}])
    other_image["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    assert fields("pods", other_image, old) == []
    assert fields("pods", pod(hostNetwork=True), old) == ["spec"]


# -- the rest -----------------------------------------------------------------------------------


def test_slices() -> None:
    name = "endpointslices.discovery.k8s.io"
    made = filled(name, slice_(ports=[{"port": 1}], endpoints=None))
    assert made["endpoints"] == []
    assert made["ports"] == [{"name": "", "port": 1, "protocol": "TCP"}]
    assert fields(name, slice_()) == []
    assert fields(name, slice_(addressType="IPv5")) == ["addressType"]
    assert fields(name, slice_(addressType="IPv6")) == ["endpoints[0].addresses[0]"]
    assert fields(name, slice_(endpoints=[{"addresses": []}])) == ["endpoints[0].addresses"]
    assert fields(name, slice_(endpoints=[{"addresses": ["10.0.0.1"]}] * 1001)) == ["endpoints"]
    assert fields(name, slice_(addressType="FQDN"), slice_()) == ["addressType"]


def test_endpoints() -> None:
    bad = {"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "x"}]}, {"ports": []}]}
    assert fields("endpoints", bad) == ["subsets[0].addresses[0].ip", "subsets[1]"]


def test_secrets() -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}}
    made = filled("secrets", secret)
    assert made["data"] == {"a": "Yg==", "c": "ZA=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    assert fields("secrets", {"metadata": {}, "data": {"a": "not base64"}}) == ["data[a]"]
    assert fields("secrets", secret | {"type": "x"}, made) == ["type"]


def test_immutable_means_it() -> None:
    old = config_map(a="1") | {"immutable": True}
    assert fields("configmaps", config_map(a="2") | {"immutable": True}, old) == ["data"]
    assert fields("configmaps", config_map(a="1"), old) == ["immutable"]
    assert fields("configmaps", old, old) == []


def test_config_map_faults() -> None:
    assert fields("configmaps", config_map(a="1") | {"binaryData": {"a": ""}}) == ["binaryData"]
    assert fields("configmaps", config_map(a="x" * (1024 * 1024 + 1))) == ["data"]


def test_namespaces() -> None:
    made = filled("namespaces", {"metadata": {"name": "n"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}


def test_leases() -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}}
    assert fields("leases.coordination.k8s.io", lease) == ["spec.leaseDurationSeconds"]


def test_deployments() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    good = {"metadata": {"name": "d"}, "spec": spec}
    made = filled("deployments.apps", good)
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert fields("deployments.apps", good) == []
    other = {"metadata": {}, "spec": spec | {"selector": {"matchLabels": {"a": "c"}}}}
    assert fields("deployments.apps", other, made) == [
        "spec.template.metadata.labels",
        "spec.selector",
    ]


# -- definitions --------------------------------------------------------------------------------

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def test_definition_defaults() -> None:
    made = filled(CRDS, crd())
    assert made["spec"]["names"]["listKind"] == "CronTabList"
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["status"]["storedVersions"] == ["v1"]
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"group": "dotless"}, ["spec.group", "metadata.name"]),
        ({"scope": "Galaxy"}, ["spec.scope"]),
        ({"versions": []}, ["spec.versions"]),
        ({"conversion": {"strategy": "Webhook"}}, ["spec.conversion.strategy"]),
        ({"names": {"plural": "crontabs"}}, ["spec.names.singular", "spec.names.kind"]),
    ],
)
def test_definition_faults(spec: dict[str, Any], expected: list[str]) -> None:
    assert fields(CRDS, crd(**spec))[: len(expected)] == expected
    assert bool(fields(CRDS, crd(**spec))) is bool(expected)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "string"}, "type"),
        ({"type": "object", "properties": {"a": {}}}, "properties[a].type"),
        ({"type": "object", "properties": {"a": {"type": "set"}}}, "properties[a].type"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "properties[a].items"),
        ({"type": "object", "additionalProperties": {}}, "additionalProperties.type"),
    ],
)
def test_schemas_must_be_structural(schema: dict[str, Any], path: str) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    expected = f"spec.versions[0].schema.openAPIV3Schema.{path}"
    assert fields(CRDS, crd(versions=[version])) == [expected]


@pytest.mark.parametrize(
    ("paths", "good"),
    [
        ([".spec.a", ".spec.b.c"], True),
        (["spec.a"], False),
        ([".spec.list[0]"], False),
        ([".metadata.labels.x"], False),
        ([".spec", ".spec.a"], False),
    ],
)
def test_selectable_fields_are_simple(paths: list[str], good: bool) -> None:
    made = crd()
    fields_ = [{"jsonPath": path} for path in paths]
    made["spec"]["versions"][0]["selectableFields"] = fields_
    assert (fields(CRDS, made) == []) is good


def test_definitions_keep_their_group_and_scope() -> None:
    assert fields(CRDS, crd(scope="Cluster"), filled(CRDS, crd())) == ["spec.scope"]
