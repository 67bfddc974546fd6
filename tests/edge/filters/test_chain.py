"""Chains: as one, decoded once, never raising; and what watchers see of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from actors.kube.derived import DerivedCache
from actors.kube.filters import EVERYTHING
from actors.kube.watchcache import CacheSettings, WatchCache
from bus.feed.types import Change as FeedChange
from configs.schema import HubFilters
from edge.filters import Chain, Following, KnownInputs, affected, chain_for
from tests.edge.filters.samples import (
    NODE,
    NODES,
    PODS,
    POOL,
    SERVICES,
    SLICES,
    chain,
    decode,
    encode,
    filters,
    inputs,
    node,
    nodes_of,
    service,
    slice_of,
    with_topology,
)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), format="{message}", level="WARNING")
    yield lines
    logger.remove(handler)


def test_what_no_filter_wants_is_not_decoded() -> None:
    raw = b"\xff no JSON"
    assert chain("kubelet", SERVICES)("shop/web", raw) is raw
    assert chain("kube-proxy", SERVICES)("shop/web", raw) is raw
    assert chain("kube-proxy", SLICES)("shop/web-x1", raw) is raw
    assert chain("kubelet", PODS)("shop/p", raw) is raw


def test_an_object_that_changes_nothing_is_the_same_bytes() -> None:
    raw = encode(slice_of("n1"))
    assert chain("kube-proxy", SLICES, known=inputs(topology=NODE))("shop/web-x1", raw) is raw


def test_objects_above_32_kib_are_whole_1066() -> None:
    raw = encode(slice_of(*["n1", "n3"] * 400))
    assert len(raw) > 32 << 10
    shown = chain("kube-proxy", SLICES, known=inputs(topology=NODE))("shop/web-x1", raw)
    assert nodes_of(decode(shown)) == ["n1"] * 400


def test_filters_of_one_request_apply_in_their_order_1189() -> None:
    """kube-proxy's two of Services each hide their own; rules come after, and see their work."""
    both = encode(service(notes={"nodeport.openyurt.io/listen": "b"}, type="NodePort"))
    gone = encode(
        service(notes={"svc.openyurt.io/discard": "true"}, type="LoadBalancer", loadBalancerIP="x")
    )
    made = chain("kube-proxy", SERVICES)
    assert made("shop/web", both) is None
    assert made("shop/web", gone) is None
    master = encode(service("kubernetes", "default", ports=[]))
    rule = {
        "name": "after",
        "action": "patch",
        "when": "object.spec.clusterIP == '169.254.2.1'",
        "patch": [{"op": "add", "path": "/spec/seen", "value": True}],
    }
    shown = decode(chain("kubelet", SERVICES, rules=[rule])("default/kubernetes", master))
    assert shown["spec"]["seen"] is True


@pytest.mark.parametrize("raw", [b"\xff", b"[]", b'"x"', b'{"metadata": ', b""])
def test_what_cannot_be_decoded_is_shown_as_it_is_and_counted(raw: bytes, said: list[str]) -> None:
    made = chain("kube-proxy", SLICES, known=inputs(topology=NODE))
    assert made("shop/web-x1", raw) is raw
    assert made("shop/web-x2", raw) is raw
    assert made.troubles.counts == {"decoding": 2}
    assert len(said) == 1
    assert "shop/web-x1" in said[0]


@pytest.mark.parametrize(
    "spec", [{"spec": 5}, {"spec": {"ports": 5}}, {"spec": {"ports": [5]}}, {"metadata": 5}]
)
def test_a_filter_that_fails_is_as_if_it_were_not_there(spec: Any) -> None:
    item = {**service("kubernetes", "default", type="NodePort"), **spec}
    raw = encode(item)
    rule = {"name": "r", "action": "drop", "when": "object.kind == 'Other'"}
    made = chain("kubelet", SERVICES, rules=[rule])
    shown = made("default/kubernetes", raw)
    if "metadata" in spec:
        assert decode(shown)["metadata"] == 5  # of no concern to it
    else:
        assert shown is raw
        assert made.troubles.counts == {"masterservice": 1}


def test_empty_objects_trouble_nobody() -> None:
    for raw in (b"{}", b'{"metadata":null,"spec":null}'):
        made = chain("kube-proxy", SLICES, known=inputs(topology=NODE))
        assert made("shop/web-x1", raw) is raw or decode(made("shop/web-x1", raw)) == {}


def test_equal_chains_are_equal() -> None:
    known = inputs()
    rules = [{"name": "r", "action": "drop", "when": "object.kind == 'X'"}]

    def made(component: str = "kube-proxy", verb: str = "list", **settings: Any) -> Chain:
        return chain(component, SLICES, verb, known, **settings)

    assert made() == made(verb="watch")
    assert hash(made()) == hash(made(verb="watch"))
    assert made("coredns") == made("nginx-ingress-controller") != made()
    assert made(rules=rules) == made(rules=[dict(rules[0])]) != made()
    assert made(rules=rules) != made(rules=[{**rules[0], "action": "keep"}])
    assert made("a", rules=rules) == made("b", rules=rules)
    asking = [{**rules[0], "when": "component == 'a'"}]
    assert made("a", rules=asking) != made("b", rules=asking)
    assert made() != chain("kube-proxy", SLICES, known=inputs())


def test_one_request_alone() -> None:
    settings = HubFilters()
    assert chain_for("kubectl", SERVICES, "list", settings, inputs(), logger) is None
    assert chain_for("kubelet", SERVICES, "list", settings, inputs(), logger) is not None


# -- at work in a derived cache -------------------------------------------------------------------


class Hub:
    """Services, nodes and slices, and one component that watches slices or Services."""

    def __init__(self, resource: Any = SLICES, component: str = "kube-proxy") -> None:
        self.services = WatchCache(SERVICES, CacheSettings())
        self.nodes = WatchCache(NODES, CacheSettings())
        self.known = KnownInputs("n1", "a", ["n1", "n2"])
        self.source = (
            self.services if resource is SERVICES else WatchCache(resource, CacheSettings())
        )
        for cache in {id(c): c for c in (self.services, self.nodes, self.source)}.values():
            cache.replace({}, 1)
        self.chain = chain(component, resource, known=self.known)
        self.derived = DerivedCache(self.source, self.chain)
        known = self.known
        Following(self.services, known.service, known.services, self._changed)
        Following(self.nodes, known.node_is, known.nodes, self._changed)
        self._watcher = self.derived.cache.watch(1, EVERYTHING)
        self._version = 1

    def _changed(self, change: Any) -> None:
        keys = affected(change, self.chain.depends, self.source.resource, self.source.entries())
        self.derived.retransform(self.chain, keys)

    def put(self, cache: WatchCache, key: str, raw: bytes | None) -> None:
        self._version += 1
        cache.apply([FeedChange(key, self._version, raw)], self._version)

    def seen(self) -> list[tuple[str, list[str | None] | None]]:
        """Type and nodes of each event."""
        found = []
        while (taken := self._watcher.take()) is not None:
            for event in taken.events:
                kind = "DELETED" if not event.new else "MODIFIED" if event.old else "ADDED"
                item = decode(event.new.raw) if event.new else None
                found.append((kind, nodes_of(item) if item and "endpoints" in item else None))
        return found


def test_an_annotation_is_set_and_taken_away_again() -> None:
    """No object is touched in the API server for it (OpenYurt's update-trigger)."""
    hub = Hub()
    hub.put(hub.source, "shop/web-x1", encode(slice_of("n1", "n2", "n3")))
    hub.put(hub.source, "shop/other", encode({**slice_of("n3"), "metadata": {"name": "other"}}))
    assert hub.seen() == [("ADDED", ["n1", "n2", "n3"]), ("ADDED", ["n3"])]
    hub.put(hub.services, "shop/web", with_topology(POOL))
    assert hub.seen() == [("MODIFIED", ["n1", "n2"])]
    hub.put(hub.services, "shop/web", with_topology(NODE))
    assert hub.seen() == [("MODIFIED", ["n1"])]
    hub.put(hub.services, "shop/web", encode(service(type="ClusterIP")))
    assert hub.seen() == [("MODIFIED", ["n1", "n2", "n3"])]


def test_a_service_that_comes_and_goes_after_its_slices() -> None:
    hub = Hub()
    hub.put(hub.source, "shop/web-x1", encode(slice_of("n1", "n3")))
    hub.put(hub.services, "shop/web", with_topology(NODE))
    hub.put(hub.services, "shop/web", None)
    assert hub.seen() == [
        ("ADDED", ["n1", "n3"]),
        ("MODIFIED", ["n1"]),
        ("MODIFIED", ["n1", "n3"]),
    ]


def test_nodes_move_between_pools() -> None:
    hub = Hub()
    hub.put(hub.services, "shop/web", with_topology(POOL))
    hub.put(hub.source, "shop/web-x1", encode(slice_of("n1", "n2", "n3")))
    assert hub.seen() == [("ADDED", ["n1", "n2"])]
    hub.put(hub.nodes, "n3", node("n3", "a"))  # another comes to us
    assert hub.seen() == [("MODIFIED", ["n1", "n2", "n3"])]
    hub.put(hub.nodes, "n3", node("n3", "a", kind="other"))  # a label that concerns nobody
    assert hub.seen() == []
    hub.put(hub.nodes, "n1", node("n1", "b"))  # this one goes: it is alone with itself
    assert hub.seen() == [("MODIFIED", ["n1"])]
    hub.put(hub.nodes, "n1", None)  # the site file's word again
    assert hub.seen() == [("MODIFIED", ["n1", "n2", "n3"])]


def test_what_becomes_filtered_is_deleted_and_comes_back_1995() -> None:
    hub = Hub(SERVICES)
    plain = service(type="LoadBalancer")
    hub.put(hub.services, "shop/web", encode(plain))
    discarded = service(notes={"svc.openyurt.io/discard": "true"}, type="LoadBalancer")
    hub.put(hub.services, "shop/web", encode(discarded))
    hub.put(hub.services, "shop/web", encode(plain))
    hub.put(hub.services, "shop/web", encode(discarded))
    hub.put(hub.services, "shop/web", None)
    kinds = [kind for kind, _ in hub.seen()]
    assert kinds == ["ADDED", "DELETED", "ADDED", "DELETED"]


def test_this_nodes_pool_decides_on_node_ports() -> None:
    hub = Hub(SERVICES)
    listens = service(notes={"nodeport.openyurt.io/listen": "b"}, type="NodePort")
    hub.put(hub.services, "shop/web", encode(listens))
    assert hub.seen() == []
    hub.put(hub.nodes, "n1", node("n1", "b"))
    hub.put(hub.nodes, "n1", node("n1", "c"))
    assert [kind for kind, _ in hub.seen()] == ["ADDED", "DELETED"]


def test_other_settings_make_the_differences_known() -> None:
    hub = Hub()
    hub.put(hub.services, "shop/web", with_topology(NODE))
    hub.put(hub.source, "shop/web-x1", encode(slice_of("n1", "n3")))
    assert hub.seen() == [("ADDED", ["n1"])]
    rule = {"name": "none", "match": {"resources": ["endpointslices"]}, "action": "drop"}
    for settings, expected in (
        ({"disabled": ["servicetopology"]}, [("MODIFIED", ["n1", "n3"])]),
        ({"rules": [rule]}, [("DELETED", None)]),
        ({}, [("ADDED", ["n1"])]),
    ):
        hub.derived.retransform(chain("kube-proxy", SLICES, known=hub.known, **settings))
        assert hub.seen() == expected


def test_the_cache_and_its_bytes_never_change_2481() -> None:
    rule = {
        "name": "patch",
        "action": "patch",
        "patch": [{"op": "add", "path": "/metadata/labels/x", "value": "y"}],
    }
    hub = Hub()
    hub.put(hub.services, "shop/web", with_topology(NODE))
    raw = encode(slice_of("n1", "n3"))
    before = bytes(bytearray(raw))
    hub.put(hub.source, "shop/web-x1", raw)
    hub.derived.retransform(chain("kube-proxy", SLICES, known=hub.known, rules=[rule]))
    shown = hub.derived.cache.get("shop/web-x1")
    assert shown is not None
    assert decode(shown.raw)["metadata"]["labels"]["x"] == "y"
    held = hub.source.get("shop/web-x1")
    assert held is not None
    assert held.raw is raw
    assert raw == before


def test_filters_themselves_never_change_what_they_are_given_2481() -> None:
    """What one of a chain has failed at, the next gets whole."""
    known = inputs(topology=NODE)
    samples: list[tuple[str, Any, str, Any]] = [
        ("kube-proxy", SLICES, "shop/web-x1", slice_of("n1", "n3")),
        (
            "kubelet",
            SERVICES,
            "default/kubernetes",
            service("kubernetes", "default", ports=[{"name": "https"}]),
        ),
        (
            "kubelet",
            PODS,
            "a/b",
            {"spec": {"containers": [{"env": [{"name": "KUBERNETES_SERVICE_HOST"}]}]}},
        ),
    ]
    for component, resource, key, item in samples:
        before = decode(encode(item))
        for step in chain(component, resource, known=known).steps:
            if step.wants(key, encode(item)):
                assert step.show(key, item) != item
        assert item == before


def test_filters_gone_make_no_chain() -> None:
    assert filters(disabled="*").chain_for("kube-proxy", SLICES, "list") is None
