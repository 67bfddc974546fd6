"""Objects, a hub's knowledge of them, and API servers: one in memory, one real over HTTP."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from loguru import logger
from multidict import MultiDict

from actors.kube import builtin
from actors.kube.resource import Resource, key_of, path_of
from actors.kube.serve.api import RequestInfo, WriteResult
from actors.kube.status_errors import service_unavailable
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from edge.offline import Offline, OfflineSettings

Object = dict[str, Any]
JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
NODE = "n1"
NOW = 1_700_000_000.0
WIDGETS = Resource(
    group="demo.io", version="v1", plural="widgets", kind="Widget", namespaced=True,
    subresources=("status",),
)  # fmt: skip
CSI_NODES = builtin.CSI_NODES
FOUND = {resource.name: resource for resource in (*builtin.BUILTIN, *builtin.REVIEWS, WIDGETS)}


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Known:
    """Implements `edge.offline.Objects`: what the cloud told, and what is shown instead."""

    def __init__(self) -> None:
        self.cloud: dict[tuple[str, str], bytes] = {}
        self.revised: dict[tuple[str, str], bytes | None] = {}
        self.shown: list[tuple[str, str, bytes | None]] = []

    def get(self, resource: Resource, key: str) -> bytes | None:
        place = (resource.name, key)
        return self.revised[place] if place in self.revised else self.cloud.get(place)

    def revise(self, resource: Resource, key: str, raw: bytes | None) -> None:
        self.revised[resource.name, key] = raw
        self.shown.append((resource.name, key, raw))

    def restore(self, resource: Resource, key: str) -> None:
        self.revised.pop((resource.name, key), None)

    # The cloud tells

    def tell(self, offline: Offline, resource: Resource, key: str, obj: Object | None) -> None:
        """As a hub does when a watch brings something."""
        raw = None if obj is None else msgspec.json.encode(obj)
        visible = offline.on_server_object(resource, key, raw)
        place = (resource.name, key)
        self.cloud.pop(place, None)
        if raw is not None:
            self.cloud[place] = raw
        self.revised.pop(place, None)
        if visible != raw:
            self.revise(resource, key, visible)
        else:
            self.shown.append((*place, raw))

    def put(self, resource: Resource, obj: Object) -> None:
        meta = obj["metadata"]
        key = key_of(meta.get("namespace", ""), meta["name"])
        self.cloud[resource.name, key] = msgspec.json.encode(obj)

    def read(self, resource: Resource, key: str) -> Object:
        raw = self.get(resource, key)
        assert raw is not None
        found: Object = msgspec.json.decode(raw)
        return found


@asynccontextmanager
async def opened(
    path: Path,
    known: Known | None = None,
    settings: OfflineSettings | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Offline]:
    offline = Offline(
        path, settings or OfflineSettings(node=NODE), known or Known(), clock or Clock(), log=logger
    )
    await offline.start()
    try:
        yield offline
    finally:
        await offline.stop()


async def write(
    offline: Offline,
    verb: str,
    resource: Resource,
    name: str = "",
    body: Object | list[Any] | bytes = b"",
    *,
    namespace: str | None = None,
    subresource: str = "",
    content_type: str = "",
    identity: str = "",
    component: str = "kubelet",
    query: Mapping[str, str] | None = None,
) -> WriteResult:
    namespace = ("default" if resource.namespaced else "") if namespace is None else namespace
    info = RequestInfo(
        verb, "/x", True, resource.group, resource.version, resource.plural, namespace, name,
        subresource, resource, MultiDict(query or {}),
    )  # fmt: skip
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    content_type = content_type or (STRATEGIC if verb == "patch" else JSON)
    return await offline.write(info, raw, content_type, identity, component)


async def patch_status(
    offline: Offline, resource: Resource, name: str, status: Object, **more: Any
) -> Object:
    more.setdefault("content_type", MERGE if resource is WIDGETS else STRATEGIC)
    result = await write(
        offline, "patch", resource, name, {"status": status}, subresource="status", **more
    )
    return answered(result)


def answered(result: WriteResult) -> Object:
    found: Object = msgspec.json.decode(result.body)
    return found


# -- objects --------------------------------------------------------------------------------------


def node(name: str = NODE, version: int = 10, **status: Any) -> Object:
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {"zone": "a"},
        },
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"conditions": [condition("Ready", "True"), condition("Disk", "False")]} | status,
    }


def condition(kind: str, status: str, at: int = 0) -> Object:
    return {"type": kind, "status": status, "lastHeartbeatTime": f"2023-11-14T22:13:{at:02}Z"}


def pod(name: str = "p1", version: int = 10, on: str = NODE, notes: Object | None = None) -> Object:
    noted = {"annotations": notes} if notes else {}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
        }
        | noted,
        "spec": {"nodeName": on, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Pending"},
    }


def widget(name: str = "w1", version: int = 10, **status: Any) -> Object:
    return {
        "kind": "Widget",
        "apiVersion": "demo.io/v1",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "generation": 3,
        },
        "spec": {"size": 1, "colour": "red"},
        "status": status,
    }


def event(name: str = "e1", count: int = 1) -> Object:
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p1", "namespace": "default", "uid": "uid-p1"},
        "reason": "Started",
        "message": "m",
        "type": "Normal",
        "count": count,
        "source": {"component": "kubelet"},
    }


def lease(
    name: str = NODE, at: str = "2023-11-14T22:13:20.000000Z", holder: str = NODE, version: int = 0
) -> Object:
    meta: Object = {"name": name, "namespace": "default"}
    if version:
        meta |= {"uid": f"uid-{name}", "resourceVersion": str(version)}
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": meta,
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": at},
    }


def mirror_pod(name: str = "static", on: str = NODE, mark: str = "h1") -> Object:
    found = pod(name, on=on, notes={"kubernetes.io/config.mirror": mark})
    for member in ("uid", "resourceVersion"):
        del found["metadata"][member]
    return found


# -- API servers ----------------------------------------------------------------------------------


@dataclass
class Scripted:
    """Implements `Upstream`: answers in turn, then the default; notes what it was asked."""

    answers: list[tuple[int, Object] | Exception] = field(default_factory=list)
    default: tuple[int, Object] | None = None
    asked: list[tuple[str, str, Object, str]] = field(default_factory=list)
    on_request: Callable[[], None] | None = None

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        await asyncio.sleep(0)
        found = msgspec.json.decode(body) if body else {}
        self.asked.append((method, path, found, identity))
        if self.on_request is not None:
            self.on_request()
        answer = self.answers.pop(0) if self.answers else self.default
        if answer is None:
            raise service_unavailable("no link")
        if isinstance(answer, Exception):
            raise answer
        return answer[0], msgspec.json.encode(answer[1])


def status(code: int, reason: str = "") -> tuple[int, Object]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": f"no: {reason}"}


class Http:
    """Implements `Upstream` over HTTP. `cut_after`: the answer to the n-th request from now is lost
    on the way, though the API server has done it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(url)
        self.asked: list[tuple[str, str]] = []
        self.cut_after = -1

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        async with self._session.request(method, path, headers=headers, data=body) as answer:
            found = answer.status, await answer.read()
        self.asked.append((method, path))
        if method != "GET":
            self.cut_after -= 1
            if self.cut_after == 0:
                raise ConnectionError("cut before the answer came")
        return found

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Object | None:
        where = namespace if resource.namespaced else ""
        async with self._session.get(path_of(resource, where, name)) as answer:
            found: Object = msgspec.json.decode(await answer.read())
            return found if answer.status == 200 else None

    async def list(self, resource: Resource) -> list[Object]:
        async with self._session.get(path_of(resource)) as answer:
            return list(msgspec.json.decode(await answer.read())["items"])

    async def send(self, method: str, path: str, body: Object, content_type: str = JSON) -> Object:
        headers = {"Content-Type": content_type}
        raw = msgspec.json.encode(body)
        async with self._session.request(method, path, headers=headers, data=raw) as answer:
            found: Object = msgspec.json.decode(await answer.read())
            assert answer.status < 300, found
            return found


@asynccontextmanager
async def api_server(clock: Callable[[], float] | None = None) -> AsyncIterator[Http]:
    with tempfile.TemporaryDirectory() as folder:
        settings = ApiServerSettings(audit_bytes=0)
        async with EmbeddedApiServer(Path(folder), settings, wall=clock or time.time) as server:
            http = Http(server.url)
            try:
                yield http
            finally:
                await http.close()


def without_server_fields(obj: Object) -> Object:
    own = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")
    meta = {name: value for name, value in obj["metadata"].items() if name not in own}
    return obj | {"metadata": meta}
