"""Contradictions across keys that are each valid alone; every message names the keys.

A rule gets the sections it names and yields (key, reason). It runs as soon as those sections are
valid, so one look at a file shows its contradictions together with its other problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from itertools import combinations
from typing import Any

from configs.schema import (
    Api,
    BusServer,
    CloudLink,
    Feeds,
    FilterRule,
    HubSettings,
    Leases,
    Node,
    PatchOperation,
    PoolBus,
    Section,
)
from configs.source import Location
from configs.units import format_duration, format_size, is_loopback, split_address

Finding = tuple[Location, str]
Rule = Callable[..., Iterator[Finding]]

FILTERS = "atoll.filters"
"""The entry point group of Python filters."""

_IDENTITY = (
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/resourceVersion",
)
_WILDCARDS = {"0.0.0.0", "::", ""}


def findings(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """All contradictions among `sections`: a site's valid top-level values by field name."""
    for names, rule in _RULES:
        if all(name in sections for name in names):
            yield from rule(*(sections[name] for name in names))


def _bus_alone(bus: BusServer) -> Iterator[Finding]:
    own = [key for key in ("listen", "tls", "storage", "sync", "server") if _is_set(bus, key)]
    if bus.url and own:
        keys = ", ".join(f"bus.{key}" for key in own)
        yield ("bus", "url"), f"an external server contradicts {keys}: those are for our own"
    host, _ = split_address(bus.listen)
    if not bus.url and not is_loopback(host) and not bus.tls:
        yield ("bus", "listen"), f"{bus.listen} is reachable by others, so bus.tls is needed"


def _api(api: Api) -> Iterator[Finding]:
    kinds = {
        "api.embedded": api.embedded is not None,
        "api.kubeconfig": api.kubeconfig is not None,
        "api.in_cluster": api.in_cluster,
    }
    chosen = [name for name, given in kinds.items() if given]
    if not chosen:
        hint = "(`embedded: {}` takes its defaults)"
        yield ("api",), f"needs exactly one of {', '.join(kinds)} {hint}"
    if len(chosen) > 1:
        yield ("api",), f"{' and '.join(chosen)} contradict each other: keep one"
    if api.context is not None and api.kubeconfig is None:
        yield ("api", "context"), "is of use only with api.kubeconfig"
    if api.embedded and not api.embedded.tokens and not _loopback(api.embedded.listen):
        reason = (
            "is reachable by others and everyone would be system:admin: set api.embedded.tokens"
        )
        yield ("api", "embedded", "listen"), f"{api.embedded.listen} {reason}"


def _leases(leases: Leases) -> Iterator[Finding]:
    if leases.ttl < 1:
        yield ("leases", "ttl"), "must be at least 1s: NATS keeps no shorter ones"
    limit = round(leases.ttl * 0.4, 6)  # two tries while a holder may believe in itself
    if leases.renew > limit:
        reason = f"must be at most 0.4 of leases.ttl, so {format_duration(limit)}"
        yield ("leases", "renew"), reason


def _sizes(bus: BusServer, feeds: Feeds) -> Iterator[Finding]:
    if feeds.max_object >= bus.max_payload:
        limit = format_size(bus.max_payload)
        yield ("feeds", "max_object"), f"must be smaller than bus.max_payload, which is {limit}"


def _cloud_link(cloud: CloudLink) -> Iterator[Finding]:
    if cloud.ca and cloud.url.startswith("nats://"):
        yield ("cloud", "ca"), 'is of use only with a "tls://" cloud.url'


def _secure_ports(nodes: tuple[Node, ...]) -> Iterator[Finding]:
    for index, node in enumerate(nodes):
        if node.secure is None and node.secure_tls is not None:
            yield ("nodes", index, "secure_tls"), f"is of use only with nodes[{index}].secure"
        for other, each in enumerate(nodes):
            is_near = node.secure is not None and node.host == each.host
            if is_near and _clash(node.secure or "", each.listen):
                reason = f"{node.secure} is already taken by nodes[{other}].listen"
                yield ("nodes", index, "secure"), reason
            if is_near and each.secure and other < index and _clash(node.secure or "", each.secure):
                reason = f"{node.secure} is already taken by nodes[{other}].secure"
                yield ("nodes", index, "secure"), reason


def _nodes(nodes: tuple[Node, ...]) -> Iterator[Finding]:
    for (first, one), (second, other) in combinations(enumerate(nodes), 2):
        where = f"nodes[{first}]"
        if one.name == other.name:
            yield ("nodes", second, "name"), f"{other.name} is already {where}"
        elif one.host == other.host and _clash(one.listen, other.listen):
            reason = f"{other.listen} is already taken by {where} ({one.name}) on the same host"
            yield ("nodes", second, "listen"), reason


def _pool_bus(bus: PoolBus, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    names = [node.name for node in nodes]
    if bus.server and bus.server not in names:
        yield ("bus", "server"), f"{bus.server} is none of nodes: {', '.join(names)}"
        return
    server = next((node for node in nodes if node.name == bus.server), nodes[0])
    strangers = [node.name for node in nodes if node.host != server.host]
    if strangers and not bus.url and _loopback(bus.listen):
        reason = f"{', '.join(strangers)} on another host cannot reach it: {bus.listen} is loopback"
        yield ("bus", "listen"), reason
    for index, node in enumerate(nodes):
        if node.host == server.host and not bus.url and _clash(node.listen, bus.listen):
            yield ("nodes", index, "listen"), f"{node.listen} is already taken by bus.listen"


def _filters(hub: HubSettings) -> Iterator[Finding]:
    where = ("hub", "filters")
    offered = (
        sorted(each.name for each in entry_points(group=FILTERS)) if hub.filters.python else []
    )
    for index, name in enumerate(hub.filters.python):
        if name not in offered:
            known = f"installed: {', '.join(offered)}" if offered else "none is installed"
            reason = f'no package offers "{name}" as entry point of "{FILTERS}"; {known}'
            yield (*where, "python", index), reason
    first: dict[str, int] = {}
    for index, rule in enumerate(hub.filters.rules):
        before = first.setdefault(rule.name, index)
        if before != index:
            yield (*where, "rules", index, "name"), f"{rule.name} is already rules[{before}]"
        yield from _rule((*where, "rules", index), rule)


def _rule(where: Location, rule: FilterRule) -> Iterator[Finding]:
    if rule.action == "patch" and not rule.patch:
        yield (*where, "action"), "patch needs the key patch: a list of operations"
    if rule.action != "patch" and rule.patch:
        yield (*where, "patch"), f"is of use only with action patch; not {rule.action}"
    for index, operation in enumerate(rule.patch):
        yield from _operation((*where, "patch", index), operation)


def _operation(where: Location, operation: PatchOperation) -> Iterator[Finding]:
    needs = "from" if operation.op in ("move", "copy") else "value"
    given = {"from": operation.source is not None, "value": "value" in operation.model_fields_set}
    if operation.op != "remove" and not given[needs]:
        yield where, f"{operation.op} needs {needs}"
    changed = [operation.path] if operation.op != "test" else []
    if operation.op == "move" and operation.source:
        changed.append(operation.source)
    for path in changed:
        if any(f"{fixed}/".startswith(f"{path.rstrip('/')}/") for fixed in _IDENTITY):
            yield (
                (*where, "path"),
                f"{path} holds what makes it this object: {', '.join(_IDENTITY)}",
            )


def _is_set(section: Section, key: str) -> bool:
    return key in section.model_fields_set and getattr(section, key) is not None


def _loopback(address: str) -> bool:
    return is_loopback(split_address(address)[0])


def _clash(one: str, other: str) -> bool:
    (host, port), (other_host, other_port) = split_address(one), split_address(other)
    same_host = host == other_host or bool({host, other_host} & _WILDCARDS)
    return port == other_port != 0 and same_host


_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("bus",), _bus_alone),
    (("api",), _api),
    (("leases",), _leases),
    (("bus", "feeds"), _sizes),
    (("cloud",), _cloud_link),
    (("nodes",), _nodes),
    (("nodes",), _secure_ports),
    (("bus", "nodes"), _pool_bus),
    (("hub",), _filters),
)
