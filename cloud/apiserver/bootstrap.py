"""What is there before the first client comes: built-in resources, namespaces, `kubernetes`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from actors.kube.builtin import BUILTIN, RBAC, REVIEWS
from actors.kube.resource import Resource, key_of
from actors.kube.schemas import published
from actors.kube.status_errors import qualified
from actors.kube.watchcache import CacheSettings, WatchCache
from cloud.apiserver import legacy_events
from cloud.apiserver.access import defaults
from cloud.apiserver.addresses import Addresses
from cloud.apiserver.codec import BuiltIn
from cloud.apiserver.kinds import kind_of
from cloud.apiserver.kinds.core import NAMESPACE_LABEL
from cloud.apiserver.metadata import timestamp
from cloud.apiserver.registry import Edit, Registry, Storage, View
from cloud.apiserver.shapes import Shapes

Object = dict[str, Any]
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
UNSERVED = frozenset({"scale"})  # subresources that upstream has and this server has not


def storages(resources: Iterable[Resource] = BUILTIN) -> list[Storage]:
    """One for each built-in resource; both kinds of events share one, as upstream."""
    definitions = published()
    shapes = Shapes(definitions)
    views: dict[str, list[View]] = {}
    for resource in resources:
        name = definitions.name_of(resource.group, resource.version, resource.kind)
        view = View(_served(resource), BuiltIn(definitions, shapes, name))
        views.setdefault(qualified(resource.group, resource.plural), []).append(view)
    newer = views.pop("events.events.k8s.io", None)
    if newer is not None and "events" in views:
        views["events"].append(legacy_events.view_of(newer[0]))
    return [Storage(tuple(each), kind_of(name)) for name, each in views.items()]


def _served(resource: Resource) -> Resource:
    kept = tuple(name for name in resource.subresources if name not in UNSERVED)
    return msgspec.structs.replace(resource, subresources=kept)


def fill(registry: Registry, addresses: Addresses, host: str, port: int) -> None:
    """Adds what is missing. `host:port` is where the API is served."""
    edits = [_edit(registry, "namespaces", _namespace(name)) for name in NAMESPACES]
    edits.append(_edit(registry, "services", _kubernetes_service(addresses.first)))
    registry.commit([edit for edit in edits if edit.storage.get(edit.key) is None])
    _point_at(registry, host, port)


def fill_policy(registry: Registry) -> None:
    """The roles and bindings of a cluster that authorizes; what is there stays as it is."""
    edits = [
        _edit(registry, _POLICY[obj["kind"]], obj | {"metadata": _meta(**obj["metadata"])})
        for obj in defaults.objects()
    ]
    registry.commit([edit for edit in edits if edit.storage.get(edit.key) is None])


_POLICY = {
    "ClusterRole": f"clusterroles.{RBAC}",
    "ClusterRoleBinding": f"clusterrolebindings.{RBAC}",
}


def reviews() -> list[WatchCache]:
    """What is asked and kept nowhere: of each a cache that stays empty."""
    return [WatchCache(resource, CacheSettings()) for resource in REVIEWS]


def _edit(registry: Registry, storage: str, obj: Object) -> Edit:
    meta = obj["metadata"]
    return Edit(registry.storages[storage], key_of(meta.get("namespace", ""), meta["name"]), obj)


def _meta(name: str, **rest: Any) -> Object:
    return {
        "name": name,
        "uid": str(uuid.uuid4()),
        "creationTimestamp": timestamp(time.time()),
        **rest,
    }


def _namespace(name: str) -> Object:
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": _meta(name, labels={NAMESPACE_LABEL: name}),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


_OURS = {"component": "apiserver", "provider": "kubernetes"}


def _kubernetes_service(ip: str) -> Object:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": _meta("kubernetes", namespace="default", labels=_OURS),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    }


def _point_at(registry: Registry, host: str, port: int) -> None:
    """Endpoints and slice of the service `kubernetes`, where they say something else."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": _meta("kubernetes", namespace="default"),
        "subsets": [{"addresses": [{"ip": host}], "ports": ports}],
    }
    slice_ = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": _meta(
            "kubernetes",
            namespace="default",
            generation=1,
            labels={"kubernetes.io/service-name": "kubernetes"},
        ),
        "addressType": "IPv6" if ":" in host else "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": ports,
    }
    edits = [
        _edit(registry, "endpoints", endpoints),
        _edit(registry, "endpointslices.discovery.k8s.io", slice_),
    ]
    registry.commit([edit for edit in edits if not _says_so(edit)])


def _says_so(edit: Edit) -> bool:
    entry = edit.storage.get(edit.key)
    if entry is None or edit.obj is None:
        return False
    held = msgspec.json.decode(entry.raw)
    edit.obj["metadata"] = dict(held["metadata"])
    return bool(held == edit.obj)
