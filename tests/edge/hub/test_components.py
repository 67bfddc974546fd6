from __future__ import annotations

import pytest

from actors.kube import builtin
from edge.hub.components import Components, component_of, is_kept


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
