"""The mix: requests as real clients make them and as they might, for `NS`, one side's namespace.

Made in code, always the same ones: kubectl's, client-go's and the Python and JavaScript clients'
(seen on the wire, see `tests/interop/test_captured.py`), and what the parameters allow besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from urllib.parse import quote

NS = "{ns}"
AGENTS = {
    "kubelet": "kubelet/v1.36.2 (linux/amd64) kubernetes/98b3519",  # mirrored, kept
    "kube-proxy": "kube-proxy/v1.36.2 (linux/amd64) kubernetes/98b3519",  # kept, another user
    "kubectl": "kubectl/v1.36.2 (linux/amd64) kubernetes/98b3519",  # passed on
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIALS = PARTIAL.replace("Metadata;", "MetadataList;")
GO = "application/vnd.kubernetes.protobuf,application/json"
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    agent: str = "kubectl"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    is_watch: bool = field(default=False)

    def __str__(self) -> str:
        kind = dict(self.headers).get("Accept") or dict(self.headers).get("Content-Type", "")
        return f"{self.agent}: {self.method} {self.path} {kind} {self.body[:60]}"


def accept(value: str) -> tuple[tuple[str, str], ...]:
    return (("Accept", value),)


# -- reads ----------------------------------------------------------------------------------------

QUERIES = (
    "",
    "limit=500",
    "resourceVersion=0",
    "limit=500&resourceVersion=0",
    "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    "resourceVersion=0&resourceVersionMatch=Exact",
    "resourceVersionMatch=Exact",
    "resourceVersionMatch=Nonsense&resourceVersion=1",
    "resourceVersion=nonsense",
    "resourceVersion=-1",
    "limit=nonsense",
    "limit=-1",
    "continue=nonsense",
    "limit=2",
    "labelSelector=app%3Da",
    "labelSelector=app%21%3Da",
    "labelSelector=app%20in%20%28a%2Cb%29%2Ctier",
    "labelSelector=%21tier",
    "labelSelector=app%20notin%20%28a%29",
    "labelSelector=%3D%3D",
    "labelSelector=app%20in%20a",
    "fieldSelector=metadata.name%3Done",
    "fieldSelector=metadata.name%21%3Done",
    "fieldSelector=metadata.name%3Dnone",
    "fieldSelector=spec.nonsense%3Da",
    "fieldSelector=metadata.name",
    "labelSelector=app%3Da&fieldSelector=metadata.name%3Done",
    "sendInitialEvents=true",
    "timeoutSeconds=10&pretty=true",
)
WATCHES = (
    "watch=true",
    "watch=1&resourceVersion=0",
    "watch=true&resourceVersion=0&allowWatchBookmarks=true",
    "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    "watch=true&sendInitialEvents=true",
    "watch=true&resourceVersion=nonsense",
    "watch=true&resourceVersion=0&labelSelector=app%3Da",
    "watch=true&resourceVersion=0&fieldSelector=metadata.name%3Done",
    "watch=true&resourceVersion=0&fieldSelector=spec.nonsense%3D1",
    "watch=true&resourceVersion=0&labelSelector=%3D%3D",
    "watch=true&resourceVersionMatch=Exact&resourceVersion=1",
)
PLURALS = ("configmaps", "pods", "secrets", "services")


def reads() -> Iterator[Asked]:
    for plural, agent in product(PLURALS, AGENTS):
        path = f"/api/v1/namespaces/{NS}/{plural}"
        for query in QUERIES:
            yield Asked("GET", f"{path}?{query}" if query else path, agent)
        for kind in (
            TABLE,
            PARTIALS,
            GO,
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ):
            yield Asked("GET", path, agent, headers=accept(kind))
        for kind in ("*/*", TABLE, PARTIAL, GO, "application/yaml", "text/html"):
            yield Asked("GET", f"{path}/one", agent, headers=accept(kind))
        yield Asked("GET", f"{path}/one?resourceVersion=0", agent)
        yield Asked("GET", f"{path}/none", agent)
        yield Asked("GET", f"{path}/one/nonsense", agent)


def watches() -> Iterator[Asked]:
    for plural, agent, query in product(PLURALS, AGENTS, WATCHES):
        path = f"/api/v1/namespaces/{NS}/{plural}?{query}&timeoutSeconds=1"
        yield Asked("GET", path, agent, is_watch=True)
    for kind in (TABLE, PARTIAL):
        path = f"/api/v1/namespaces/{NS}/pods?watch=true&resourceVersion=0&timeoutSeconds=1"
        yield Asked("GET", path, "kubectl", headers=accept(kind), is_watch=True)
        yield Asked("GET", path, "kubelet", headers=accept(kind), is_watch=True)


def documents() -> Iterator[Asked]:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for agent in ("kubelet", "kubectl"):
        for path in (
            "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/nonsense/v1",
            "/version", "/openapi/v3", "/nonsense", "/api/v2",
        ):  # fmt: skip
            yield Asked("GET", path, agent)
        for path in ("/api", "/apis"):
            yield Asked("GET", path, agent, headers=accept(aggregated))
        yield Asked("POST", "/api", agent)


# -- writes ---------------------------------------------------------------------------------------


def named(kind: str, name: str, **rest: object) -> str:
    meta = {"name": name, "labels": {"app": "w"}}
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": meta, **rest})


def writes() -> Iterator[Asked]:
    """In this order: each finds what those before it left."""
    for agent in ("kubectl", "kubelet"):
        base = f"/api/v1/namespaces/{NS}/configmaps"
        one = f"{base}/w-{agent}"
        body = named("ConfigMap", f"w-{agent}", data={"a": "1"})
        yield from (
            Asked("POST", f"{base}?dryRun=All", agent, body),
            Asked("POST", f"{base}?fieldManager=test&fieldValidation=Strict", agent, body),
            Asked("POST", base, agent, body),
            Asked("POST", base, agent, named("ConfigMap", "Not_A_Name")),
            Asked("POST", base, agent, named("Secret", "x")),
            Asked("POST", base, agent, "{"),
            Asked("POST", base, agent, ""),
            Asked("POST", base, agent, "a: b", (("Content-Type", "text/plain"),)),
            Asked("POST", f"{base}?fieldValidation=Strict", agent,
                  named("ConfigMap", "strict", nonsense=1)),
            Asked("POST", f"{base}?dryRun=nonsense", agent, body),
            Asked("POST", one, agent, body),
            Asked("PUT", base, agent, body),
            Asked("PUT", one, agent, named("ConfigMap", f"w-{agent}", data={"a": "2"})),
            Asked("PUT", one, agent, named("ConfigMap", "another", data={"a": "2"})),
            Asked("PUT", f"{base}/none-{agent}", agent, named("ConfigMap", f"none-{agent}")),
            Asked("PUT", one, agent, json.dumps({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": f"w-{agent}", "resourceVersion": "1"},
            })),
        )  # fmt: skip
        yield from _patches(one, agent)
        yield from _pods(agent)
        yield from (
            Asked("DELETE", one, agent, json.dumps({"preconditions": {"uid": "nobody"}})),
            Asked("DELETE", f"{one}?dryRun=All", agent),
            Asked("DELETE", one, agent),
            Asked("DELETE", one, agent),
            Asked("DELETE", f"{base}?labelSelector=app%3Dnone", agent),
            Asked("DELETE", f"{base}?labelSelector=app%3Dw", agent),
            Asked("POST", f"/api/v1/namespaces/none-{NS}/configmaps", agent, body),
            Asked("PATCH", base, agent, "{}", (("Content-Type", PATCHES["merge"]),)),
            Asked("POST", f"/api/v1/namespaces/{NS}/nonsense", agent, "{}"),
            Asked("GET", f"/apis/example.com/v1/namespaces/{NS}/widgets", agent),
        )


def _patches(one: str, agent: str) -> Iterator[Asked]:
    cases = {
        "json": (
            '[{"op":"add","path":"/data/b","value":"2"}]',
            '[{"op":"remove","path":"/data/none"}]',
            '[{"op":"test","path":"/data/a","value":"no"}]',
            '{"data":{}}',
            "[",
        ),
        "merge": ('{"data":{"c":"3","b":null}}', '{"metadata":{"name":"other"}}', "[]", "{"),
        "strategic": ('{"metadata":{"labels":{"x":"y"}}}', '{"$patch":"nonsense"}', "{"),
        "apply": (
            named("ConfigMap", f"w-{agent}", data={"z": "1"}),
            named("ConfigMap", "another"),
            "nonsense",
        ),
    }
    for kind, bodies in cases.items():
        for body in bodies:
            path = f"{one}?fieldManager=m" if kind == "apply" else one
            yield Asked("PATCH", path, agent, body, (("Content-Type", PATCHES[kind]),))
    yield Asked("PATCH", one, agent, "{}", (("Content-Type", "application/nonsense"),))
    yield Asked("PATCH", one, agent, "{}", (("Content-Type", PATCHES["apply"]),))
    missing = one.rpartition("/")[0] + "/missing"
    yield Asked("PATCH", missing, agent, "{}", (("Content-Type", PATCHES["merge"]),))


def _pods(agent: str) -> Iterator[Asked]:
    status = f"/api/v1/namespaces/{NS}/pods/one/status"
    for body in (
        {"status": {"phase": "Running", "message": agent}},
        {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": agent}]}},
        {"spec": {"nodeName": "other"}},
    ):
        for kind in ("merge", "strategic"):
            yield Asked(
                "PATCH", status, agent, json.dumps(body), (("Content-Type", PATCHES[kind]),)
            )
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"e-{agent}", "namespace": NS},
        "involvedObject": {"kind": "Pod", "name": "one", "namespace": NS},
        "reason": "Started",
        "type": "Normal",
    }
    path = f"/api/v1/namespaces/{NS}/events"
    selector = quote("involvedObject.name=one", safe="")
    yield Asked("POST", path, agent, json.dumps(event))
    yield Asked("POST", path, agent, json.dumps(event))
    yield Asked("GET", f"{path}?fieldSelector={selector}", agent)
