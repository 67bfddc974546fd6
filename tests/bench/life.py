"""What a node's components ask of an API server in a node's life; the same against hub and server.

The requests are those of real components (kube-proxy, kubelet, CoreDNS of Kubernetes 1.36, seen on
the wire): watch-lists first, then registration, leases, status patches (each after a GET), events,
tokens. JSON over HTTP/1.1, gzip accepted, each watch a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
EVENTS = ("Pulling", "Pulled", "Created", "Started")
RESTARTED = STATUS_PATCHES  # the status that a pod gets after a reboot
RESTART_EVENT = "SandboxChanged"
SPACE = f"{CORE}/namespaces/default"
SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCESS = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
]
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
_USUAL = {("GET", 404), ("POST", 409)}  # not there yet; there already
_READ = 1 << 20
Json = dict[str, Any]


def text(size: int, seed: int) -> str:
    """Letters that do not compress to nothing."""
    return "".join(random.Random(seed).choices(string.ascii_letters, k=size))


def pod_of(node: str, number: int) -> Json:
    """About 5 KB, as kubectl shows a pod of two containers; `managedFields` come on top."""
    container = {
        "image": f"registry.example.com/team/app-{number % 7}@sha256:{text(64, number)}",
        "command": ["/app/server", "--listen=:8080", "--config=/etc/app/config.yaml"],
        "env": [{"name": f"SETTING_{i}", "value": text(20, number + i)} for i in range(12)],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {name: {"cpu": "500m", "memory": "256Mi"} for name in ("limits", "requests")},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "kube-api-access", "readOnly": True, "mountPath": SECRETS},
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True},
    }
    container |= {
        f"{kind}Probe": {
            "httpGet": {"path": path, "port": 8080, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
        for kind, path in (("liveness", "/healthz"), ("readiness", "/readyz"))
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
            "serviceAccountName": "default",
            "containers": [container | {"name": "main"}, container | {"name": "sidecar"}],
            "volumes": [
                {"name": "config", "configMap": {"name": f"{node}-config-{number}"}},
                {"name": "kube-api-access", "projected": {"sources": _ACCESS}},
            ],
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
                for key in ("not-ready", "unreachable")
            ],
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
        self.renewed = ""

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
            if answer.status >= 400 and (method, answer.status) not in _USUAL:
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
        proxied = "labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"
        headed = "labelSelector=%21service.kubernetes.io%2Fheadless"
        await self.watch("kube-proxy", f"{CORE}/services?{proxied}&{cluster_ip}")
        await self.watch("kube-proxy", f"{SLICES}?{headed}")
        await self.watch("kube-proxy", "/apis/networking.k8s.io/v1/servicecidrs")
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
        await self.ask("kubelet", "GET", f"{CSI_NODES}/{self.name}?resourceVersion=0")
        await self.ask("kubelet", "GET", f"{LEASES}/{self.name}")
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

    async def come_back(self, pods: int, beat: int) -> None:
        """After a reboot: registered already; each pod's containers are started again."""
        await self.ask("kubelet", "GET", f"{CSI_NODES}/{self.name}?resourceVersion=0")
        self._lease = await self.ask("kubelet", "GET", f"{LEASES}/{self.name}")
        await self.ask("kubelet", "GET", f"{CORE}/nodes/{self.name}")
        await self.beat(beat)
        for number in range(pods):
            await self._told_of(number)
            await self.follow_configs(number)
            await self.report(number, RESTARTED)
            await self.tell(number, RESTART_EVENT)

    async def beat(self, number: int) -> None:
        path = f"{CORE}/nodes/{self.name}/status"
        await self.ask("kubelet", "PATCH", path, node_status(number), _STRATEGIC)

    async def renew(self) -> None:
        """With the time of day: one that has run out is worth nothing to anyone."""
        self.renewed = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        self._lease["spec"]["renewTime"] = self.renewed
        self._lease = await self.ask("kubelet", "PUT", f"{LEASES}/{self.name}", self._lease)

    async def reopen(self) -> None:
        """Each watch ends, as by its timeoutSeconds, and goes on from its version."""
        old, self.watches = self.watches, []
        for watch in old:
            watch.response.close()
            await self.watch(watch.agent, watch.path, watch.version)

    async def run_pod(self, number: int) -> None:
        """What a kubelet does for a pod that it has just been told of."""
        await self._told_of(number)
        await self.follow_configs(number)
        await self._token(number)
        for step in range(STATUS_PATCHES):
            await self.report(number, step)
        for reason in EVENTS:
            await self.tell(number, reason)

    async def _told_of(self, number: int) -> None:
        pods = next(w for w in self.watches if w.path.startswith(f"{CORE}/pods"))
        async with asyncio.timeout(30):
            while self.pod(number) not in pods.names:
                pods.changed.clear()
                await pods.changed.wait()

    async def follow_configs(self, number: int) -> None:
        """What the pod mounts: a kubelet watches each by its name."""
        for kind in ("configmaps", "secrets"):
            one = f"{self.name}-config-{number}"
            await self.watch("kubelet", f"{SPACE}/{kind}?fieldSelector=metadata.name%3D{one}")

    async def _token(self, number: int) -> None:
        bound = {"kind": "Pod", "apiVersion": "v1", "name": self.pod(number)}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        spec = {"expirationSeconds": 3607, "boundObjectRef": bound}
        path = f"{SPACE}/serviceaccounts/default/token"
        answer = await self.ask("kubelet", "POST", path, body | {"spec": spec})
        if "token" not in answer["status"]:
            raise RuntimeError(f"no token: {answer}")

    async def report(self, number: int, step: int) -> None:
        """A pod's status: read first, then patched."""
        path = f"{SPACE}/pods/{self.pod(number)}"
        await self.ask("kubelet", "GET", path)
        await self.ask("kubelet", "PATCH", f"{path}/status", pod_status(step), _STRATEGIC)

    async def tell(self, number: int, reason: str) -> None:
        body = self._event(self.pod(number), reason)
        await self.ask("kubelet", "POST", f"{SPACE}/events", body)

    def pod(self, number: int) -> str:
        return f"{self.name}-app-{number}"

    def event(self, number: int, reason: str) -> str:
        return f"{self.pod(number)}.{reason.lower()}"

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
