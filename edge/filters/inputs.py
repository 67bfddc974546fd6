"""What filters know of the world besides the object at hand.

`Inputs` is what they ask; `KnownInputs` answers from what the hub was told: the site file, and the
objects of Services and Nodes as they come. Each thing told returns the `Change` that it made to
what filters may see, None if it made none; `affected` says whom to look at again then. So watchers
see a node that moves to another pool, or an annotation that is set, without anything being touched
in the API server (OpenYurt's `openyurt.io/update-trigger` is not needed).

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from actors.kube.resource import Resource, key_of
from edge.filters.steps import Depends

TOPOLOGY_KEYS = "openyurt.io/topologyKeys"
POOL_LABEL = "apps.openyurt.io/nodepool"
ZONE_LABEL = "topology.kubernetes.io/zone"
HOST_NETWORK_LABEL = "nodepool.openyurt.io/hostnetwork"

ALL = None
"""As the answer of `affected`: every object, as `DerivedCache.retransform` takes it."""


@dataclass(frozen=True)
class HubAddress:
    """Where this node's pods reach its hub over HTTPS."""

    host: str  # an IP address
    port: int


class Inputs(Protocol):
    """Answers may change between two objects; "" and None mean unknown or none."""

    @property
    def node(self) -> str: ...
    @property
    def hub(self) -> HubAddress | None: ...
    @property
    def host_network(self) -> bool:
        """Whether this node is in a pool whose pods all use the host's network."""
        ...

    def pool_of(self, node: str) -> str: ...
    def zone_of(self, node: str) -> str: ...
    def topologies(self, namespace: str) -> Mapping[str, str]:
        """The namespace's Services that have the topology annotation, by name."""
        ...


@dataclass(frozen=True)
class Change:
    """`names`: keys of Services or names of Nodes."""

    what: Depends
    names: frozenset[str] = frozenset()


class Held(Protocol):
    """An object of a cache."""

    @property
    def key(self) -> str: ...
    @property
    def raw(self) -> bytes: ...


def affected(
    change: Change, depends: Depends, resource: Resource, held: Iterable[Held]
) -> Collection[str] | None:
    """Keys of the objects (of one resource) that a chain which depends on `depends` may now show
    otherwise; ALL for every one. It may name more than there are, but never less.
    """
    touched = change.what & depends
    if not touched:
        return ()
    if touched & (Depends.SELF | Depends.HUB):
        return ALL
    if touched & Depends.SERVICES and resource.plural == "endpoints":
        return change.names
    if touched & Depends.SERVICES:
        return _of_services(change.names, held)
    return _that_mention(change.names, held)


def _of_services(services: Collection[str], held: Iterable[Held]) -> Collection[str]:
    """Slices say whose they are in a label: its value is sought, in the Service's namespace."""
    sought: dict[str, list[bytes]] = defaultdict(list)
    for service in services:
        namespace, _, name = service.rpartition("/")
        sought[namespace].append(b'"%b"' % name.encode())
    return {
        each.key
        for each in held
        if any(name in each.raw for name in sought.get(each.key.rpartition("/")[0], ()))
    }


def _that_mention(nodes: Collection[str], held: Iterable[Held]) -> Collection[str]:
    sought = [b'"%b"' % node.encode() for node in nodes]
    return {each.key for each in held if any(node in each.raw for node in sought)}


class _Meta(msgspec.Struct):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Described(msgspec.Struct):
    metadata: _Meta


_DECODER = msgspec.json.Decoder(_Described)


@dataclass(frozen=True)
class _NodeFacts:
    pool: str = ""
    zone: str = ""
    host_network: bool = False


class KnownInputs:
    """A node that is known to no API server yet is in the pool that the site file says."""

    def __init__(self, node: str, pool: str = "", members: Iterable[str] = ()) -> None:
        """`pool` and `members` as the site file has them."""
        self.node = node
        self.hub: HubAddress | None = None
        self._site = _site(pool, members)
        self._nodes: dict[str, _NodeFacts] = {}
        self._topologies: dict[str, dict[str, str]] = {}
        self._filled = Depends.SELF | Depends.HUB  # told by who made us

    # -- what filters ask -------------------------------------------------------------------------

    @property
    def host_network(self) -> bool:
        return self._facts(self.node).host_network

    def pool_of(self, node: str) -> str:
        return self._facts(node).pool or self._site.get(node, "")

    def zone_of(self, node: str) -> str:
        return self._facts(node).zone

    def topologies(self, namespace: str) -> Mapping[str, str]:
        return self._topologies.get(namespace, {})

    def ready(self, depends: Depends) -> bool:
        """Whether all that a chain depends on was told in full once.

        Without Nodes one can do (the site file knows the pool's), without Services not: a component
        would be shown endpoints that are hidden from it a moment later.
        """
        return (depends & ~Depends.NODES) in self._filled

    # -- what the hub is told ---------------------------------------------------------------------

    def set_site(self, pool: str, members: Iterable[str]) -> Change | None:
        before, self._site = self._site, _site(pool, members)
        names = {
            name for name in before.keys() | self._site if before.get(name) != self._site.get(name)
        }
        return self._nodes_changed(names)

    def set_hub(self, hub: HubAddress | None) -> Change | None:
        before, self.hub = self.hub, hub
        return Change(Depends.HUB) if before != hub else None

    def service(self, key: str, raw: bytes | None) -> Change | None:
        """A Service as it is now; None: it is gone."""
        namespace, _, name = key.rpartition("/")
        value = _annotation(raw) if raw is not None else ""
        if value == self.topologies(namespace).get(name, ""):
            return None
        named = self._topologies.setdefault(namespace, {})
        if value:
            named[name] = value
        else:
            del named[name]
        return Change(Depends.SERVICES, frozenset({key}))

    def services(self, held: Iterable[Held]) -> Change | None:
        """All Services there are."""
        before = self._topologies
        self._topologies = defaultdict(dict)
        for each in held:
            namespace, _, name = each.key.rpartition("/")
            if value := _annotation(each.raw):
                self._topologies[namespace][name] = value
        self._topologies = dict(self._topologies)
        self._filled |= Depends.SERVICES
        old, new = _flat(before), _flat(self._topologies)
        names = frozenset(key for key in old.keys() | new if old.get(key) != new.get(key))
        return Change(Depends.SERVICES, names) if names else None

    def node_is(self, name: str, raw: bytes | None) -> Change | None:
        """A Node as it is now; None: it is gone."""
        before = self._facts(name)
        if raw is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = _facts(raw)
        return self._nodes_changed({name} if self._facts(name) != before else set())

    def nodes(self, held: Iterable[Held]) -> Change | None:
        """All Nodes there are."""
        before, self._nodes = self._nodes, {each.key: _facts(each.raw) for each in held}
        self._filled |= Depends.NODES
        names = {n for n in before.keys() | self._nodes if before.get(n) != self._nodes.get(n)}
        return self._nodes_changed(names)

    def _facts(self, node: str) -> _NodeFacts:
        return self._nodes.get(node, _NOTHING_KNOWN)

    def _nodes_changed(self, names: Collection[str]) -> Change | None:
        if not names:
            return None
        what = Depends.NODES | (Depends.SELF if self.node in names else Depends.NOTHING)
        return Change(what, frozenset(names))


_NOTHING_KNOWN = _NodeFacts()


def _site(pool: str, members: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(members, pool)


def _flat(topologies: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        key_of(ns, name): value for ns, named in topologies.items() for name, value in named.items()
    }


def _annotation(raw: bytes) -> str:
    if TOPOLOGY_KEYS.encode() not in raw:
        return ""
    return (_meta(raw).annotations or {}).get(TOPOLOGY_KEYS, "")


def _facts(raw: bytes) -> _NodeFacts:
    labels = _meta(raw).labels or {}
    host_network = labels.get(HOST_NETWORK_LABEL) == "true"
    return _NodeFacts(labels.get(POOL_LABEL, ""), labels.get(ZONE_LABEL, ""), host_network)


def _meta(raw: bytes) -> _Meta:
    """Of an object that cannot be read nothing is known."""
    try:
        return _DECODER.decode(raw).metadata
    except msgspec.DecodeError:
        return _Meta()
