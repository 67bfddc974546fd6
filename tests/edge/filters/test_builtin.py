"""Each built-in filter: what it shows of what, as OpenYurt's newest form does."""

from __future__ import annotations

from typing import Any

import pytest

from edge.filters import HubAddress
from edge.filters.nodeportisolation import is_open
from tests.edge.filters.samples import (
    CONFIG_MAPS,
    ENDPOINTS,
    NODE,
    PODS,
    POOL,
    SERVICES,
    SLICES,
    ZONE,
    chain,
    decode,
    encode,
    endpoints_of,
    inputs,
    node,
    nodes_of,
    service,
    slice_of,
)

MASTER = service(
    "kubernetes",
    "default",
    clusterIP="10.96.0.1",
    clusterIPs=["10.96.0.1"],
    ports=[{"name": "https", "port": 443, "targetPort": 6443}, {"name": "x", "port": 1}],
)


# -- masterservice, forwardkubesvctraffic ---------------------------------------------------------


def test_masterservice_shows_the_hubs_address_with_cluster_ips_2173() -> None:
    shown = decode(chain("kubelet", SERVICES)("default/kubernetes", encode(MASTER)))
    assert shown["spec"]["clusterIP"] == "169.254.2.1"
    assert shown["spec"]["clusterIPs"] == ["169.254.2.1"]
    assert [port["port"] for port in shown["spec"]["ports"]] == [10268, 1]
    assert shown["spec"]["ports"][0]["targetPort"] == 6443


def test_masterservice_touches_no_other_service() -> None:
    raw = encode(MASTER)
    assert chain("kubelet", SERVICES)("shop/kubernetes", raw) is raw


def test_without_an_https_port_the_api_server_stays_where_it_is() -> None:
    known = inputs()
    known.set_hub(None)
    raw = encode(MASTER)
    assert chain("kubelet", SERVICES, known=known)("default/kubernetes", raw) is raw


def master_slice(family: str) -> Any:
    return {
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": family,
        "endpoints": [{"addresses": ["10.1.0.1"]}, {"addresses": ["10.1.0.2"]}],
        "ports": [{"name": "https", "port": 6443}, {"port": 1}],
    }


@pytest.mark.parametrize(
    ("family", "host", "is_changed"),
    [("IPv4", "169.254.2.1", True), ("IPv6", "169.254.2.1", False), ("IPv6", "fd00::2:1", True)],
)
def test_forwardkubesvctraffic_in_the_hubs_family(family: str, host: str, is_changed: bool) -> None:
    known = inputs()
    known.set_hub(HubAddress(host, 10268))
    raw = encode(master_slice(family))
    shown = chain("kube-proxy", SLICES, known=known)("default/kubernetes", raw)
    if not is_changed:
        assert shown is raw
        return
    found = decode(shown)
    assert found["endpoints"] == [{"addresses": [host], "conditions": {"ready": True}}]
    assert [port["port"] for port in found["ports"]] == [10268, 1]


# -- servicetopology ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NODE, ["n1"]),
        (POOL, ["n1", "n2"]),
        (ZONE, ["n1", "n3"]),
        ("topology.kubernetes.io/region", ["n1", "n2", "n3", "n4", None]),
        ("", ["n1", "n2", "n3", "n4", None]),
    ],
)
@pytest.mark.parametrize("component", ["kube-proxy", "coredns", "nginx-ingress-controller"])
def test_servicetopology(component: str, value: str, expected: list[str | None]) -> None:
    """An endpoint on no node (nil nodeName) is near nobody, and breaks nothing."""
    known = inputs(topology=value)
    known.node_is("n1", node("n1", "a", "east"))
    known.node_is("n3", node("n3", "b", "east"))
    where = ("n1", "n2", "n3", "n4", None)
    shown = chain(component, SLICES, known=known)("shop/web-x1", encode(slice_of(*where)))
    assert nodes_of(decode(shown)) == expected
    shown = chain(component, ENDPOINTS, known=known)("shop/web", encode(endpoints_of(*where)))
    assert nodes_of(decode(shown)) == expected


def test_servicetopology_leaves_hints_of_traffic_distribution() -> None:
    item = slice_of("n1", "n3")
    shown = decode(
        chain("coredns", SLICES, known=inputs(topology=NODE))("shop/web-x1", encode(item))
    )
    assert shown["endpoints"] == item["endpoints"][:1]
    assert "hints" in shown["endpoints"][0]


def test_servicetopology_reads_the_endpoints_own_zone_first() -> None:
    known = inputs(topology=ZONE)
    known.node_is("n1", node("n1", "a", "east"))
    raw = encode(slice_of("n1", "n2", "n9", zones={"n9": "east", "n1": "east", "n2": "west"}))
    shown = chain("kube-proxy", SLICES, known=known)("shop/web-x1", raw)
    assert nodes_of(decode(shown)) == ["n1", "n9"]


def test_servicetopology_zone_is_the_pool_for_a_node_in_no_zone() -> None:
    raw = encode(slice_of("n1", "n2", "n3"))
    shown = chain("kube-proxy", SLICES, known=inputs(topology=ZONE))("shop/web-x1", raw)
    assert nodes_of(decode(shown)) == ["n1", "n2"]


def test_servicetopology_pool_is_the_node_for_a_node_in_no_pool() -> None:
    raw = encode(slice_of("n1", "n2", "n9"))
    shown = chain("kube-proxy", SLICES, known=inputs(pool="", topology=POOL))("shop/web-x1", raw)
    assert nodes_of(decode(shown)) == ["n1"]


def test_servicetopology_still_shows_what_is_empty_1028() -> None:
    known = inputs(topology=NODE)
    shown = decode(chain("coredns", SLICES, known=known)("shop/web-x1", encode(slice_of("n3"))))
    assert shown["endpoints"] == []
    assert shown["ports"] == [{"port": 80}]
    shown = decode(chain("coredns", ENDPOINTS, known=known)("shop/web", encode(endpoints_of("n3"))))
    assert shown["metadata"]["name"] == "web"
    assert "subsets" not in shown


def test_servicetopology_keeps_addresses_that_are_not_ready() -> None:
    raw = encode(endpoints_of("n3", unready=("n1", "n4")))
    shown = decode(chain("coredns", ENDPOINTS, known=inputs(topology=NODE))("shop/web", raw))
    [subset] = shown["subsets"]
    assert "addresses" not in subset
    assert [each["nodeName"] for each in subset["notReadyAddresses"]] == ["n1"]


def test_servicetopology_takes_slices_as_clients_of_go_write_them() -> None:
    """null for what is empty; no labels; a Service of another namespace."""
    made = chain("coredns", SLICES, known=inputs(topology=NODE))
    bare = encode({"metadata": {"name": "x", "namespace": "shop"}, "endpoints": None})
    assert made("shop/x", bare) is bare
    empty = encode({**slice_of(), "endpoints": None})
    assert made("shop/web-x1", empty) is empty
    other = encode(slice_of("n3"))
    assert made("other/web-x1", other) is other


# -- discardcloudservice, nodeportisolation -------------------------------------------------------

DISCARD, SKIP = "svc.openyurt.io/discard", "openyurt.io/skip-discard"


@pytest.mark.parametrize(
    ("kind", "notes", "is_shown"),
    [
        ("LoadBalancer", None, True),  # v1.5 on (#1926); hidden before
        ("LoadBalancer", {DISCARD: "true"}, False),
        ("LoadBalancer", {DISCARD: "false"}, True),
        ("LoadBalancer", {DISCARD: "true", SKIP: "true"}, True),
        ("ClusterIP", {DISCARD: "true"}, True),
    ],
)
def test_discardcloudservice(kind: str, notes: dict[str, str] | None, is_shown: bool) -> None:
    raw = encode(service(notes=notes, type=kind))
    assert chain("kube-proxy", SERVICES)("shop/web", raw) is (raw if is_shown else None)


def test_discardcloudservice_hides_the_tunnel_servers_service_447() -> None:
    key = "kube-system/x-tunnel-server-internal-svc"
    raw = encode(service("x-tunnel-server-internal-svc", "kube-system", type="ClusterIP"))
    assert chain("kube-proxy", SERVICES)(key, raw) is None


@pytest.mark.parametrize(
    ("listen", "is_shown"),
    [
        ("a,b", True),
        ("b", False),
        ("*", True),
        ("b,*", True),
        ("-a,*", False),
        ("*,-a", False),
        ("-b,*", True),
        ("-b", False),
        ("a,-a", True),
        ("-a,a", False),  # of two for one pool the first counts
        (" a , b", True),
        ("", False),
        ("-*,*", False),
    ],
)
@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_nodeportisolation(listen: str, is_shown: bool, kind: str) -> None:
    assert is_open(listen, "a") is is_shown
    raw = encode(service(notes={"nodeport.openyurt.io/listen": listen}, type=kind))
    assert chain("kube-proxy", SERVICES)("shop/web", raw) is (raw if is_shown else None)


def test_nodeportisolation_is_for_node_ports_and_nodes_in_pools() -> None:
    notes = {"nodeport.openyurt.io/listen": "b"}
    inner, outer = (encode(service(notes=notes, type=kind)) for kind in ("ClusterIP", "NodePort"))
    assert chain("kube-proxy", SERVICES)("shop/web", inner) is inner
    assert chain("kube-proxy", SERVICES, known=inputs(pool=""))("shop/web", outer) is outer


# -- inclusterconfig ------------------------------------------------------------------------------


def test_inclusterconfig_comments_kubeconfig() -> None:
    text = "clientConnection:\n  burst: 0\n  kubeconfig: /var/lib/kubeconfig.conf\nmode: ''\n"
    item = {
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "data": {"config.conf": text, "kubeconfig.conf": "kubeconfig: x"},
    }
    made = chain("kubelet", CONFIG_MAPS, "get")
    shown = decode(made("kube-system/kube-proxy", encode(item)))
    assert shown["data"] == {
        "config.conf": text.replace("kubeconfig: /", "#kubeconfig: /"),
        "kubeconfig.conf": "kubeconfig: x",
    }
    again = encode(shown)
    assert made("kube-system/kube-proxy", again) is again
    raw = encode(item)
    assert made("default/kube-proxy", raw) is raw


# -- serviceenvupdater, hostnetworkpropagation ----------------------------------------------------


def pod(**spec: Any) -> Any:
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}


def test_serviceenvupdater_changes_what_is_there_and_adds_nothing() -> None:
    env = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "10.96.0.1"},
        {"name": "KUBERNETES_SERVICE_PORT", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
        {"name": "OTHER", "value": "10.96.0.1"},
    ]
    containers: list[Any] = [
        {"name": "a", "env": env},
        {"name": "b"},
        {"name": "c", "env": env[:1]},
    ]
    item = pod(containers=containers, initContainers=[{"name": "i", "env": env[:1]}])
    shown = decode(chain("kubelet", PODS, "patch")("shop/p", encode(item)))["spec"]
    assert shown["containers"][0]["env"] == [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "169.254.2.1"},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "10268"},
        env[2],
    ]
    assert shown["containers"][1] == {"name": "b"}
    assert len(shown["containers"][2]["env"]) == 1
    assert shown["initContainers"] == item["spec"]["initContainers"]


def test_serviceenvupdater_leaves_other_pods() -> None:
    raw = encode(pod(containers=[{"name": "a", "env": [{"name": "A", "value": "b"}]}]))
    assert chain("kubelet", PODS)("shop/p", raw) is raw


def test_hostnetworkpropagation_in_pools_that_say_so_for_whom_the_site_file_names() -> None:
    known = inputs()
    made = chain("kubelet", PODS, known=known, components={"hostnetworkpropagation": ["kubelet"]})
    raw, on_host = encode(pod(containers=[])), encode(pod(hostNetwork=True))
    assert made("shop/p", raw) is raw
    known.node_is("n1", node("n1", "a", **{"nodepool.openyurt.io/hostnetwork": "true"}))
    assert decode(made("shop/p", raw))["spec"]["hostNetwork"] is True
    assert made("shop/p", on_host) is on_host
    assert chain("kubelet", PODS, known=known)("shop/p", raw) is raw
