"""What a node's components ask of an API server in a node's life; the same against hub and server.

The requests are those of real components (kube-proxy, kubelet, CoreDNS of Kubernetes 1.36, seen on
the wire): watch-lists first, then registration, leases, status patches, events. JSON over HTTP/1.1,
gzip accepted, each watch a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

AGENTS = {
    name: f"{name}/v1.36.2 (linux/amd64) kubernetes/98b3519"
    for name in ("kubelet", "kube-proxy", "coredns")
}
CORE = "/api/v1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
STATUS_PATCHES = 4  # Pending, ContainerCreating, Running, Ready
EVENTS = ("Pulling", "Pulled", "Started")
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
_READ = 1 << 20
Json = dict[str, Any]


def text(size: int, seed: int) -> str:
    """Letters that do not compress to nothing."""
    return "".join(random.Random(seed).choices(string.ascii_letters, k=size))


def pod_of(node: str, number: int) -> Json:
    """About 4 KB, as kubectl shows a pod of two containers with probes and a sidecar."""
    container = {
        "image": f"registry.example.com/team/app-{number % 7}@sha256:{text(64, number)}",
        "command": ["/app/server", "--listen=:8080", "--config=/etc/app/config.yaml"],
        "env": [{"name": f"SETTING_{i}", "value": text(20, number + i)} for i in range(12)],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{node}-app-{number}",
            "labels": {"app": f"app-{number % 7}", "pod-template-hash": text(10, number)},
            "annotations": {"example.com/checksum": text(64, number + 1)},
        },
        "spec": {
            "nodeName": node,
            "containers": [container | {"name": "main"}, container | {"name": "sidecar"}],
            "volumes": [{"name": "config", "configMap": {"name": f"{node}-config-{number}"}}],
        },
    }


def pod_status(step: int) -> Json:
    moment = f"2026-11-25T10:00:{step:02}Z"
    conditions = [
        {"type": kind, "status": "True" if step >= at else "False", "lastTransitionTime": moment}
        for at, kind in enumerate(("PodScheduled", "Initialized", "ContainersReady", "Ready"))
    ]
    containers = [
        {
            "name": name,
            "ready": step >= 3,
            "restartCount": 0,
            "image": "registry.example.com/team/app",
            "imageID": f"sha256:{text(64, step)}",
            "containerID": f"containerd://{text(64, step + 9)}",
            "state": {"running": {"startedAt": moment}},
        }
        for name in ("main", "sidecar")
    ]
    phase = "Running" if step >= 2 else "Pending"
    return {"status": {"phase": phase, "conditions": conditions, "containerStatuses": containers}}


def node_status(beat: int) -> Json:
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    conditions = [
        {
            "type": kind,
            "status": "True" if kind == "Ready" else "False",
            "lastHeartbeatTime": f"2026-11-25T{10 + beat // 12 % 12}:{beat % 12 * 5:02}:00Z",
            "reason": f"Kubelet{kind}",
            "message": f"kubelet says that {kind} is as it should be",
        }
        for kind in kinds
    ]
    images = [
        {"names": [f"registry.example.com/team/image-{i}@sha256:{text(64, i)}"], "sizeBytes": i}
        for i in range(50 if beat == 0 else 0)
    ]
    return {"status": {"conditions": conditions} | ({"images": images} if images else {})}


@dataclass
class Watch:
    path: str
    agent: str
    response: aiohttp.ClientResponse
    version: str = ""
    names: set[str] = field(default_factory=set)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Node:
    """One node's components as clients of `url`. `async with Node.at(url, name) as node`."""

    def __init__(self, url: str, name: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.name = name
        self.watches: list[Watch] = []
        self._stack = stack
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._lease: Json = {}

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, name: str) -> AsyncIterator[Node]:
        async with AsyncExitStack() as stack:
            node = cls(url, name, stack)
            for agent, user in AGENTS.items():
                connector = aiohttp.TCPConnector(limit=0)
                session = aiohttp.ClientSession(
                    url, headers={"User-Agent": user}, connector=connector, read_bufsize=_READ
                )
                node._sessions[agent] = await stack.enter_async_context(session)
            try:
                yield node
            finally:
                await node.leave()

    async def leave(self) -> None:
        """All components stop."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for watch in self.watches:
            watch.response.close()
        self._readers, self.watches = [], []

    # -- requests ---------------------------------------------------------------------------------

    async def ask(
        self, agent: str, method: str, path: str, body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:  # fmt: skip
        data = json.dumps(body) if body is not None else None
        sent = {"Content-Type": "application/json"} | dict(headers or {})
        async with self._sessions[agent].request(method, path, data=data, headers=sent) as answer:
            found: Json = await answer.json(content_type=None)
            if answer.status >= 400 and answer.status not in (404, 409):
                raise RuntimeError(f"{method} {path}: {answer.status} {found}")
            return found

    async def watch(self, agent: str, path: str, version: str = "") -> Watch:
        query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=500"
        if version:
            query += f"&resourceVersion={version}"
        else:
            query += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        joined = f"{path}{'&' if '?' in path else '?'}{query}"
        response = await self._sessions[agent].get(joined)
        if response.status != 200:
            raise RuntimeError(f"{joined}: {response.status} {await response.text()}")
        watch = Watch(path, agent, response, version)
        self.watches.append(watch)
        self._readers.append(asyncio.create_task(self._read(watch), name=f"watch {path}"))
        if not version:
            async with asyncio.timeout(60):
                await watch.synced.wait()
        return watch

    async def _read(self, watch: Watch) -> None:
        while line := await watch.response.content.readline():
            event = json.loads(line)
            meta = event["object"].get("metadata", {})
            watch.version = meta.get("resourceVersion", watch.version)
            if event["type"] == "BOOKMARK":
                watch.synced.set()
            elif event["type"] != "DELETED":
                watch.names.add(meta["name"])
            watch.changed.set()

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """All components list and watch what they need."""
        mine = f"fieldSelector=metadata.name%3D{self.name}"
        cluster_ip = "fieldSelector=spec.clusterIP%21%3DNone"
        await self.watch("kube-proxy", f"{CORE}/nodes?{mine}")
        await self.watch("kube-proxy", f"{CORE}/services?{cluster_ip}")
        await self.watch("kube-proxy", SLICES)
        await self.watch("kubelet", f"{CORE}/nodes?{mine}")
        await self.watch("kubelet", f"{CORE}/services?{cluster_ip}")
        await self.watch("kubelet", "/apis/storage.k8s.io/v1/csidrivers")
        await self.watch("kubelet", "/apis/node.k8s.io/v1/runtimeclasses")
        await self.watch("kubelet", f"{CORE}/pods?fieldSelector=spec.nodeName%3D{self.name}")
        await self.watch("coredns", f"{CORE}/services")
        await self.watch("coredns", SLICES)
        await self.watch("coredns", f"{CORE}/namespaces")

    async def register(self) -> None:
        meta = {"name": self.name}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
        await self.ask("kubelet", "GET", f"{CORE}/nodes/{self.name}")
        await self.ask("kubelet", "POST", f"{CORE}/nodes", node)
        csi = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": meta}
        await self.ask("kubelet", "POST", CSI_NODES, csi | {"spec": {"drivers": []}})
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40},
        }
        self._lease = await self.ask("kubelet", "POST", LEASES, lease)
        await self.beat(0)

    async def beat(self, number: int) -> None:
        path = f"{CORE}/nodes/{self.name}/status"
        await self.ask("kubelet", "PATCH", path, node_status(number), _STRATEGIC)

    async def renew(self, number: int) -> None:
        spec = self._lease["spec"]
        spec["renewTime"] = f"2026-11-25T{number // 360:02}:{number // 6 % 60:02}:00.{number:06}Z"
        self._lease = await self.ask("kubelet", "PUT", f"{LEASES}/{self.name}", self._lease)

    async def reopen(self) -> None:
        """Each watch ends, as by its timeoutSeconds, and goes on from its version."""
        old, self.watches = self.watches, []
        for watch in old:
            watch.response.close()
            await self.watch(watch.agent, watch.path, watch.version)

    async def run_pod(self, number: int) -> None:
        """What a kubelet does for a pod that it has just been told of."""
        pods = next(w for w in self.watches if w.path.startswith(f"{CORE}/pods"))
        name = f"{self.name}-app-{number}"
        async with asyncio.timeout(30):
            while name not in pods.names:
                pods.changed.clear()
                await pods.changed.wait()
        space = f"{CORE}/namespaces/default"
        for kind in ("configmaps", "secrets"):
            one = f"{self.name}-config-{number}"
            await self.watch("kubelet", f"{space}/{kind}?fieldSelector=metadata.name%3D{one}")
        for step in range(STATUS_PATCHES):
            path = f"{space}/pods/{name}/status"
            await self.ask("kubelet", "PATCH", path, pod_status(step), _STRATEGIC)
        for reason in EVENTS:
            await self.ask("kubelet", "POST", f"{space}/events", self._event(name, reason))

    def _event(self, pod: str, reason: str) -> Json:
        involved = {"kind": "Pod", "namespace": "default", "name": pod, "apiVersion": "v1"}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pod}.{reason.lower()}", "namespace": "default"},
            "involvedObject": involved,
            "reason": reason,
            "message": f"{reason} image registry.example.com/team/app in 1.2 s",
            "type": "Normal",
            "source": {"component": "kubelet", "host": self.name},
        }
