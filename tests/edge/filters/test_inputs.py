"""What is known of nodes and Services, which changes are told, and whom they concern."""

from __future__ import annotations

import pytest

from actors.kube.watchcache import Entry
from edge.filters import ALL, Change, Depends, HubAddress, KnownInputs, affected
from tests.edge.filters.samples import (
    ENDPOINTS,
    NODE,
    POOL,
    SERVICES,
    SLICES,
    encode,
    node,
    service,
    slice_of,
    with_topology,
)

OWN = Depends.NODES | Depends.SELF


def entry(key: str, raw: bytes) -> Entry:
    return Entry(key, 1, raw)


def known() -> KnownInputs:
    return KnownInputs("n1", "a", ["n1", "n2"])


def test_pools_are_the_site_files_until_a_label_says_otherwise() -> None:
    inputs = known()
    assert [inputs.pool_of(name) for name in ("n1", "n2", "n3", "")] == ["a", "a", "", ""]
    assert inputs.node_is("n2", node("n2")) is None  # no label: the site file's
    assert inputs.node_is("n2", node("n2", "b")) == Change(Depends.NODES, frozenset({"n2"}))
    assert inputs.pool_of("n2") == "b"
    assert inputs.node_is("n2", None) == Change(Depends.NODES, frozenset({"n2"}))
    assert inputs.pool_of("n2") == "a"


def test_this_node_counts_twice() -> None:
    inputs = known()
    assert inputs.node_is("n1", node("n1", "b", "z")) == Change(OWN, frozenset({"n1"}))
    assert inputs.node_is("n1", node("n1", "b", "z", other="x")) is None
    assert inputs.zone_of("n1") == "z"


def test_all_nodes_at_once_tell_the_differences() -> None:
    inputs = known()
    all_ = [entry("n1", node("n1", "a")), entry("n3", node("n3", "b"))]
    assert inputs.nodes(all_) == Change(OWN, frozenset({"n1", "n3"}))
    assert inputs.nodes(all_) is None
    assert inputs.nodes(all_[:1]) == Change(Depends.NODES, frozenset({"n3"}))


def test_the_site_file_changes() -> None:
    inputs = known()
    assert inputs.set_site("a", ["n1", "n2", "n3"]) == Change(Depends.NODES, frozenset({"n3"}))
    assert inputs.set_site("a", ["n1", "n2", "n3"]) is None
    assert inputs.set_site("b", ["n1"]) == Change(OWN, frozenset({"n1", "n2", "n3"}))


def test_services_are_known_by_their_annotation_alone() -> None:
    inputs = known()
    assert inputs.service("shop/web", encode(service(type="ClusterIP"))) is None
    set_ = Change(Depends.SERVICES, frozenset({"shop/web"}))
    assert inputs.service("shop/web", with_topology(NODE)) == set_
    assert inputs.service("shop/web", with_topology(NODE)) is None
    assert inputs.topologies("shop") == {"web": NODE}
    assert inputs.service("shop/web", None) == set_
    assert inputs.service("shop/web", None) is None
    assert inputs.topologies("shop") == inputs.topologies("other") == {}


def test_all_services_at_once_tell_the_differences() -> None:
    inputs = known()
    inputs.service("shop/old", with_topology(NODE))
    inputs.service("shop/web", with_topology(NODE))
    change = inputs.services(
        [entry("shop/web", with_topology(POOL)), entry("shop/x", encode(service("x")))]
    )
    assert change == Change(Depends.SERVICES, frozenset({"shop/old", "shop/web"}))
    assert inputs.topologies("shop") == {"web": POOL}


@pytest.mark.parametrize(
    "raw", [b"\xff openyurt.io/topologyKeys", b"{}", b'{"metadata": {"labels": 5}}']
)
def test_of_what_cannot_be_read_nothing_is_known(raw: bytes) -> None:
    inputs = known()
    assert inputs.service("shop/web", raw) is None
    assert inputs.node_is("n1", raw) is None


def test_ready_once_services_are_known() -> None:
    inputs = known()
    needs = Depends.SERVICES | Depends.NODES | Depends.SELF
    assert inputs.ready(OWN | Depends.HUB)
    assert not inputs.ready(needs)
    inputs.services([])
    assert inputs.ready(needs)


def test_the_hubs_address_changes() -> None:
    inputs = known()
    assert inputs.set_hub(HubAddress("127.0.0.1", 1)) == Change(Depends.HUB)
    assert inputs.set_hub(HubAddress("127.0.0.1", 1)) is None
    assert inputs.set_hub(None) == Change(Depends.HUB)


HELD = [
    entry("shop/web-1", encode(slice_of("n1", "n3"))),
    entry("shop/web-2", encode(slice_of("n2"))),
    entry("other/web-1", encode(slice_of("n3"))),
    entry("shop/db-1", b'{"metadata":{"labels":{"kubernetes.io/service-name":"web-db"}}}'),
]
TOPOLOGY = Depends.SERVICES | OWN


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change(Depends.SERVICES, frozenset({"shop/web"})), {"shop/web-1", "shop/web-2"}),
        (Change(Depends.SERVICES, frozenset({"shop/none"})), set()),
        (Change(Depends.NODES, frozenset({"n3"})), {"shop/web-1", "other/web-1"}),
        (Change(Depends.NODES, frozenset({"n2", "n9"})), {"shop/web-2"}),
        (Change(OWN, frozenset({"n1"})), ALL),
        (Change(Depends.HUB), set()),
    ],
)
def test_whom_a_change_concerns(change: Change, expected: set[str] | None) -> None:
    found = affected(change, TOPOLOGY, SLICES, HELD)
    assert found is ALL if expected is None else set(found or ()) == expected


def test_endpoints_are_named_as_their_service() -> None:
    change = Change(Depends.SERVICES, frozenset({"shop/web"}))
    assert affected(change, TOPOLOGY, ENDPOINTS, []) == {"shop/web"}


def test_a_change_that_a_chain_does_not_depend_on_concerns_nothing() -> None:
    assert affected(Change(OWN, frozenset({"n1"})), Depends.HUB, SERVICES, HELD) == ()
    assert affected(Change(Depends.HUB), Depends.HUB, SERVICES, HELD) is ALL
