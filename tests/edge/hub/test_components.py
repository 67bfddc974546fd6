from __future__ import annotations

import pytest

from actors.kube import builtin
from edge.hub.asked import is_critical
from edge.hub.components import Components, component_of, is_kept
from edge.mirror import Scope

COREDNS = "system:serviceaccount:kube-system:coredns"


@pytest.mark.parametrize(
    ("agent", "component"),
    [
        ("kubelet/v1.36.2 (linux/amd64) kubernetes/98b3519", "kubelet"),
        ("Go-http-client/2.0", "go-http-client"),
        ("CoreDNS", "coredns"),
        ("", ""),
        ("  ", ""),
        ("/1", ""),
        ("k\udcffx/1", ""),
        ("kub\u00e9/1", ""),
    ],
)
def test_a_component_is_how_its_user_agent_begins(agent: str, component: str) -> None:
    assert component_of(agent) == component


@pytest.mark.parametrize(
    ("components", "kept"),
    [
        ({"kubelet": ("*",)}, True),
        ({"kubelet": ("pods",)}, False),
        ({"kubelet": ("endpointslices",)}, True),
        ({"kubelet": ("endpointslices.discovery.k8s.io",)}, True),
        ({"kubelet": ("*", "-endpointslices")}, False),
        ({"*": ("*",)}, True),
        ({"*": ("*",), "-kubelet": ()}, False),  # wished for in OpenYurt #1351
        ({"*": ("*",), "kubelet": ("pods",)}, False),
        ({}, False),
    ],
)
def test_whose_reads_of_what_are_kept(components: Components, kept: bool) -> None:
    assert is_kept("kubelet", builtin.ENDPOINT_SLICES, components) is kept


def test_nobody_s_reads_are_kept_by_no_star() -> None:
    assert not is_kept("", builtin.PODS, {"*": ("*",)})


@pytest.mark.parametrize(
    ("identity", "wanted"),
    [
        ("", True),  # kubelet, and all who act as the node
        ("system:kube-proxy", True),
        (f"token:{COREDNS}", True),  # at the TLS port
        ("token:system:serviceaccount:default:app", False),
        ("system:admin", False),
    ],
)
def test_without_whose_views_no_pod_starts(identity: str, wanted: bool) -> None:
    identities = {"kube-proxy": "system:kube-proxy", "coredns": COREDNS}
    owner = Scope.of(identity, builtin.PODS).component
    assert is_critical(owner, identities) is wanted
