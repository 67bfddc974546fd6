"""What a request is about: upstream's RequestInfo, from method, path and query. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from multidict import MultiMapping

from actors.kube.resource import Resource
from actors.kube.serve.api import RequestInfo

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})

ResourceKey = tuple[str, str, str]  # group, version, plural


class ResourceIndex:
    """Resources by (group, version, plural); built anew only for another tuple of resources."""

    def __init__(self) -> None:
        self._source: tuple[Resource, ...] = ()
        self._by_key: Mapping[ResourceKey, Resource] = {}

    def find(self, source: tuple[Resource, ...], key: ResourceKey) -> Resource | None:
        if source is not self._source:
            self._source = source
            self._by_key = {(r.group, r.version, r.plural): r for r in source}
        return self._by_key.get(key)


def parse_request(method: str, path: str, query: MultiMapping[str]) -> RequestInfo:
    """`info.resource` is not filled in here."""
    parts = [part for part in path.split("/") if part]
    plain = RequestInfo(verb=method.lower(), path=path, query=query)
    if parts[:1] == ["api"] and len(parts) >= 3:
        info = replace(plain, version=parts[1])
        rest = parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        info = replace(plain, group=parts[1], version=parts[2])
        rest = parts[3:]
    else:
        return plain
    if rest[0] == "watch" and len(rest) > 1:  # the deprecated prefix
        return replace(_with_object(info, rest[1:]), verb="watch")
    return _with_verb(_with_object(info, rest), method)


def _with_object(info: RequestInfo, rest: list[str]) -> RequestInfo:
    """`[namespaces, NS, plural, name, subresource...]`, and namespaces as a resource itself."""
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    plural, name, *subresource = [*rest, ""] if len(rest) == 1 else rest
    return replace(
        info,
        is_resource=True,
        namespace=namespace,
        plural=plural,
        name=name,
        subresource="/".join(subresource),
    )


def _with_verb(info: RequestInfo, method: str) -> RequestInfo:
    verb = _VERBS.get(method, method.lower())
    if not info.name:
        if verb == "get":
            wants_watch = method == "GET" and is_true(info.query.get("watch", "false"))
            verb = "watch" if wants_watch else "list"
        elif verb == "delete":
            verb = "deletecollection"
    return replace(info, verb=verb)


def is_allowed(info: RequestInfo) -> bool:
    """Whether the method makes sense on the path: no PUT on a collection, no POST on an object."""
    if info.verb == "create":
        return not info.name or bool(info.subresource)
    if info.verb in ("update", "patch"):
        return bool(info.name)
    return info.verb in ("get", "list", "watch", "delete", "deletecollection")


_LONG_RUNNING = frozenset({"attach", "exec", "log", "portforward", "proxy"})


def is_long_running(info: RequestInfo) -> bool:
    """Requests that may last; they are not counted among those in flight."""
    return info.verb == "watch" or info.subresource.partition("/")[0] in _LONG_RUNNING


def is_true(text: str) -> bool:
    """As upstream converts a boolean parameter: present means true, but for 0 and false."""
    return text.lower() not in ("false", "0")
