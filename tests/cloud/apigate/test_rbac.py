"""The manifests of one site."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cloud.apigate.rbac import group_and_plural, needed_groups, render

DNS = "system:serviceaccount:kube-system:coredns"


def objects(*identities: str, resources: tuple[str, ...] = ("services",)) -> dict[str, Any]:
    documents = list(yaml.safe_load_all(render(identities, resources)))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}


def test_nothing_more_than_is_needed() -> None:
    made = objects("system:kube-proxy")
    assert not [name for name in made if name.startswith("Role")]
    users, groups, reviews = made["ClusterRole/atoll:apigate"]["rules"]
    assert "resourceNames" not in users
    assert groups["resourceNames"] == ["system:nodes", "system:authenticated"]
    assert reviews["verbs"] == ["create"]
    subject = {"kind": "ServiceAccount", "name": "cloud", "namespace": "atoll"}
    assert made["ClusterRoleBinding/atoll:apigate"]["subjects"] == [subject]


def test_service_accounts_are_named_one_by_one() -> None:
    made = objects(DNS, "system:serviceaccount:kube-system:x", "system:serviceaccount:net:agent")
    roles = list(yaml.safe_load_all(render([DNS], ["services"])))
    assert [each["kind"] for each in roles][-2:] == ["Role", "RoleBinding"]
    role = made["Role/atoll:apigate"]
    assert (role["metadata"]["namespace"], role["rules"][0]["resourceNames"]) == ("net", ["agent"])
    assert needed_groups([DNS]) == [
        "system:nodes",
        "system:serviceaccounts",
        "system:serviceaccounts:kube-system",
        "system:authenticated",
    ]


def test_feeds_are_read_by_the_site_and_by_nodes() -> None:
    slices = "endpointslices.discovery.k8s.io"
    made = objects(resources=("svc", "configmaps", slices, "crontabs.v1.example.com"))
    nodes = made["ClusterRole/atoll:nodes"]["rules"]
    assert [(rule["apiGroups"], rule["resources"]) for rule in nodes] == [
        ([""], ["services", "configmaps"]),
        (["discovery.k8s.io"], ["endpointslices"]),
        (["example.com"], ["crontabs"]),
    ]
    feeds = made["ClusterRole/atoll:feeds"]["rules"]
    assert feeds[-len(nodes) :] == nodes
    assert all(rule["verbs"] == ["get", "list", "watch"] for rule in nodes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("services", ("", "services")),
        ("endpointslices", ("discovery.k8s.io", "endpointslices")),
        ("crontabs.example.com", ("example.com", "crontabs")),
        ("crontabs.v1beta1.example.com", ("example.com", "crontabs")),
        ("crontabs", ("*", "crontabs")),
    ],
)
def test_names_of_resources(name: str, expected: tuple[str, str]) -> None:
    assert group_and_plural(name) == expected


def test_no_feeds() -> None:
    assert objects(resources=())["ClusterRole/atoll:nodes"]["rules"] == []
