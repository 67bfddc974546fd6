"""Writes `variants.jsonl`: what clients may ask by the API's rules, as several components.

python -m tests.interop.differential.variants
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.actors.kube.captured import captured
from tests.interop.conftest import NODE
from tests.interop.differential.malformed import PATCHES, malformed
from tests.interop.differential.state import GROUP, MAKERS, PATHS, lease
from tests.interop.differential.steps import OWN, SHARED, VARIANTS, Json, Step, text_of

KUBELET = "kubelet/v1.36.2 (linux/amd64) kubernetes/98b3519"
PROXY = "kube-proxy/v1.36.2 (linux/amd64) kubernetes/98b3519"
KUBECTL = "kubectl/v1.36.2 (linux/amd64) kubernetes/98b3519"
NOBODY = ""
READERS = {  # resource: who reads it; with and without a feed, kept (mirrored) and passed on
    "services": (PROXY,),
    "configmaps": (KUBECTL,),
    "secrets": (KUBELET, KUBECTL),
    "gizmos": (KUBELET, NOBODY),
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"

LISTS = (
    "",
    "limit=500",
    "limit=0",
    "limit=-1",
    "limit=x",
    "limit=2&labelSelector=tier",
    "labelSelector=tier%3Dweb",
    "labelSelector=tier%3D%3Ddb",
    "labelSelector=tier!%3Dweb",
    "labelSelector=tier+in+(web,db),n!%3D3",
    "labelSelector=tier+notin+(web)",
    "labelSelector=!tier",
    "labelSelector=n+%3E+2",
    "labelSelector=tier%3D%3D%3Dweb",
    "labelSelector=tier+in+web",
    "labelSelector=-bad",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=metadata.name!%3Da",
    f"fieldSelector=metadata.namespace%3D{SHARED}",
    "fieldSelector=metadata.name%3Da,metadata.name%3Db",
    "fieldSelector=spec.absent%3Da",
    "fieldSelector=metadata.name%3E1",
    "fieldSelector=nonsense",
    "resourceVersion=0",
    "resourceVersion=0&limit=2",
    "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    "resourceVersion=0&resourceVersionMatch=Exact",
    "resourceVersion=1&resourceVersionMatch=NotOlderThan",
    "resourceVersionMatch=NotOlderThan",
    "resourceVersion=1&resourceVersionMatch=Nonsense",
    "resourceVersion=x",
    "resourceVersion=-1",
    "resourceVersion=99999999999999999999999",
    "continue=nonsense",
    "continue=nonsense&resourceVersion=1",
    "sendInitialEvents=true",
    "pretty=true",
    "timeout=10s",
    "watch=false",
    "nonsense=1",
)
WATCHES = (
    "",
    "resourceVersion=0",
    "resourceVersion=x",
    "resourceVersion=-1",
    "allowWatchBookmarks=true",
    "labelSelector=tier%3Dweb",
    "labelSelector=tier%3D%3D%3Dweb",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=spec.absent%3Da",
    "resourceVersionMatch=NotOlderThan",
    "sendInitialEvents=true",
    "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
    "sendInitialEvents=true&resourceVersionMatch=Exact",
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    "&labelSelector=tier%3Dweb",
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0",
    "continue=x",
    "limit=2",
)
ACCEPTS = (
    "*/*",
    "application/yaml",
    TABLE,
    TABLE.replace("v=v1;", "v=v1beta1;"),
    "application/json;as=Table;v=v9;g=meta.k8s.io",
    "application/yaml;as=Table;v=v1;g=meta.k8s.io",
    PARTIAL.format("List"),
    PARTIAL.format(""),
    f"{PROTOBUF},application/json",
    f"{PROTOBUF}, */*",
    "application/json;q=0.5,application/yaml",
    "text/html",
    "image/png, nonsense",
)


class Sessions:
    """Numbers them: each is on its own, and those that read run beside each other."""

    def __init__(self) -> None:
        self._count = 0

    def one(self, path: str, agent: str, **more: object) -> Step:
        self._count += 1
        return Step(f"read {self._count}", path, agent=agent, **more)  # type: ignore[arg-type]

    def several(self, agent: str, *steps: tuple[str, dict[str, str]], **headers: str) -> list[Step]:
        self._count += 1
        name = f"read {self._count}"
        return [Step(name, path, agent=agent, keep=keep, headers=headers) for path, keep in steps]


def reads(sessions: Sessions) -> Iterator[Step]:
    for plural, agents in READERS.items():
        path = PATHS[plural].format(SHARED)
        for agent in agents:
            for query in LISTS:
                yield sessions.one(f"{path}?{query}".rstrip("?"), agent)
            for query in WATCHES:
                yield sessions.one(f"{path}?watch=true&timeoutSeconds=1&{query}", agent)
            for accept in ACCEPTS:
                yield sessions.one(path, agent, headers={"Accept": accept})
                yield sessions.one(f"{path}/a", agent, headers={"Accept": accept})
            yield from _pages(sessions, path, agent)
            yield from _versions(sessions, path, agent)
            yield from _single(sessions, path, agent)


def _pages(sessions: Sessions, path: str, agent: str) -> Iterator[Step]:
    token = {"next": "metadata.continue"}
    for select in ("", "&labelSelector=n!%3D1"):
        first, more = f"{path}?limit=2{select}", f"{path}?limit=2{select}&continue={{next}}"
        yield from sessions.several(agent, (first, token), (more, token), (more, {}))
    first = f"{path}?limit=4"
    yield from sessions.several(agent, (first, token), (f"{path}?continue={{next}}", {}))
    wrong = f"{path}?continue={{next}}&resourceVersion=1"
    yield from sessions.several(agent, (first, token), (wrong, {}))
    wrong = f"{path}?continue={{next}}&resourceVersion=1&resourceVersionMatch=Exact"
    yield from sessions.several(agent, (first, token), (wrong, {}))
    table = sessions.several(agent, (first, token), (f"{path}?continue={{next}}", {}), Accept=TABLE)
    yield from table


def _versions(sessions: Sessions, path: str, agent: str) -> Iterator[Step]:
    """What a client asks that has a version of a list, or of an object."""
    of_list, of_object = (
        {"v": "metadata.resourceVersion"},
        {"v": "items.1.metadata.resourceVersion"},
    )
    end = "watch=true&timeoutSeconds=1&resourceVersion={v}"
    for keep in (of_list, of_object):
        for query in (
            "resourceVersion={v}",
            "resourceVersion={v}&limit=2",
            "resourceVersion={v}&resourceVersionMatch=NotOlderThan",
            "resourceVersion={v}&resourceVersionMatch=Exact",
            end,
            f"{end}&allowWatchBookmarks=true",
            f"{end}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
            "&allowWatchBookmarks=true",
        ):
            yield from sessions.several(agent, (path, keep), (f"{path}?{query}", {}))
    for accept in (TABLE, PARTIAL.format(""), "application/yaml", PROTOBUF, f"{PROTOBUF}, */*"):
        steps: tuple[tuple[str, dict[str, str]], ...] = (
            (path, of_list),
            (f"{path}?watch=true&timeoutSeconds=1&resourceVersion=0", {}),
        )
        yield from sessions.several(agent, *steps, Accept=accept if accept != PROTOBUF else "*/*")


def _single(sessions: Sessions, path: str, agent: str) -> Iterator[Step]:
    for rest in (
        "/a",
        "/absent",
        "/a?resourceVersion=0",
        "/a?resourceVersion=x",
        "/absent?resourceVersion=0",
        "/a?pretty=true",
        "/a/absent",
        "/a/status",
        "/a?watch=true&timeoutSeconds=1",
        "?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dabsent",
    ):
        yield sessions.one(path + rest, agent)
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH"):
        yield sessions.one(path, agent, method=method)
    for method in ("HEAD", "POST"):
        yield sessions.one(f"{path}/a", agent, method=method)
    watch = path.replace("/v1/", "/v1/watch/", 1)
    for rest in ("", "/a"):
        yield sessions.one(f"{watch}{rest}?timeoutSeconds=1", agent)


PLACES = (
    "/api",
    "/apis",
    "/api/v1",
    "/api/v2",
    "/apis/apps",
    "/apis/apps/v1",
    "/apis/apps/v9",
    "/apis/absent.example",
    "/apis/absent.example/v1",
    f"/apis/{GROUP}",
    f"/apis/{GROUP}/v1",
    "/apis/discovery.k8s.io/v1",
    "/version",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    f"/openapi/v3/apis/{GROUP}/v1",
    "/openapi/v3/apis/absent.example/v1",
    "/absent",
    "/",
    "/api/v1/absents",
    f"/api/v1/namespaces/{SHARED}/absents",
    f"/api/v1/namespaces/{SHARED}/absents/a",
    "/apis/absent.example/v1/absents",
    f"/apis/{GROUP}/v1/absents",
    "/api/v1/namespaces",
    f"/api/v1/namespaces/{SHARED}",
    f"/api/v1/namespaces/{SHARED}/status",
    "/api/v1/namespaces/absent",
    "/api/v1/namespaces/absent/configmaps",
    "/api/v1/namespaces/absent/secrets",
    f"/api/v1/nodes/{NODE}",
    f"/api/v1/nodes/{NODE}/status",
    "/api/v1/nodes/absent",
    "/api/v1/nodes?fieldSelector=metadata.name%3Dabsent",
    f"/api/v1/namespaces/{SHARED}/nodes",
    "/api/v1/secrets/a",
    "/apis/apps/v1/deployments?limit=1",
    "/api/v1/persistentvolumes",
    f"/api/v1/namespaces/{SHARED}/pods?fieldSelector=spec.nodeName%3Dnode-1",
    f"/api/v1/namespaces/{SHARED}/pods?fieldSelector=status.phase%3DPending,spec.nodeName%3Dnode-1",
    f"/api/v1/namespaces/{SHARED}/pods?fieldSelector=spec.absent%3D1",
    f"/api/v1/namespaces/{SHARED}/events?fieldSelector=involvedObject.name%3Da",
    f"/apis/coordination.k8s.io/v1/namespaces/{SHARED}/leases/a",
    f"/apis/interop.atoll.example/v1/namespaces/{SHARED}/widgets?fieldSelector=spec.colour%3Dred",
    f"/apis/{GROUP}/v1/namespaces/{SHARED}/gizmos?fieldSelector=spec.colour%3Dblue",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=1",
)
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def places(sessions: Sessions) -> Iterator[Step]:
    for path in PLACES:
        for agent in (KUBELET, KUBECTL):
            yield sessions.one(path, agent, headers={"Accept": "application/json, */*"})
    for path in ("/api", "/apis"):
        for accept in (AGGREGATED, "application/yaml", "text/html"):
            yield sessions.one(path, KUBECTL, headers={"Accept": accept})
    for path in ("/version", "/openapi/v3", "/api/v1"):
        for method in ("HEAD", "POST", "DELETE"):
            yield sessions.one(path, KUBECTL, method=method)
    yield sessions.one(
        f"/api/v1/namespaces/{SHARED}/configmaps", KUBECTL, headers={"Accept-Encoding": "gzip"}
    )
    yield sessions.one("/openapi/v3/api/v1", KUBECTL, headers={"Accept-Encoding": "gzip"})


def seen(sessions: Sessions) -> Iterator[Step]:
    """What real components sent; the versions that they had are taken from a list."""
    for each in captured():
        agent = each.headers.get("User-Agent", "")
        headers = {name: value for name, value in each.headers.items() if name != "User-Agent"}
        path = each.path.replace("{NODE}", NODE).replace("{ABSENT}", "absent").replace("{T}", "1")
        if "watch=true" in path and "timeoutSeconds" not in path:
            path += "&timeoutSeconds=1"
        if "{N}" not in path:
            yield sessions.one(path, agent, headers=headers)
            continue
        keep = {"N": "metadata.resourceVersion"}
        yield from sessions.several(agent, (path.partition("?")[0], keep), (path, {}))


MERGE, STRATEGIC = PATCHES["merge"], PATCHES["strategic"]
JSON_PATCH, APPLY = PATCHES["json"], PATCHES["apply"]
WRITERS = {
    "configmaps": (KUBELET, KUBECTL),
    "secrets": (KUBELET, KUBECTL),
    "gizmos": (KUBELET, NOBODY),
    "services": (KUBECTL,),
    "pods": (KUBELET,),
    "leases": (KUBELET, KUBECTL),
}


def writes() -> Iterator[Step]:
    for plural, agents in WRITERS.items():
        for agent in agents:
            name = f"write {plural} as {agent.partition('/')[0] or 'nobody'}"
            yield from Writes(name, plural, agent).steps()
    yield from nodes()
    for agent in (KUBELET, KUBECTL):
        yield from malformed(agent)


class Writes:
    """An object's life, with all that may be refused, and a watch of it."""

    def __init__(self, session: str, plural: str, agent: str) -> None:
        self._session, self._plural, self._agent = session, plural, agent
        self._path = PATHS[plural].format(OWN)

    def _step(self, method: str, rest: str = "", body: object = None, kind: str = "",
              **more: object) -> Step:  # fmt: skip
        headers = {"Content-Type": kind} if kind else {}
        return Step(
            self._session,
            self._path + rest,
            method,
            self._agent,
            headers=headers,
            body=body,
            **more,  # type: ignore[arg-type]
        )

    def steps(self) -> Iterator[Step]:
        step, made = self._step, MAKERS[self._plural]("it", tier="web")
        version = {"v": "metadata.resourceVersion"}
        yield step("GET", keep=version)
        yield step("GET", "?watch=true&resourceVersion={v}", open="all")
        yield step("GET", "?watch=true&resourceVersion={v}&labelSelector=tier%3Dweb", open="web")
        yield step("POST", body=made, keep={"uid": "metadata.uid", "old": version["v"]})
        yield step("POST", body=made)
        yield step("GET", "/it")
        yield from self._refused(made)
        yield from self._patched()
        yield from self._updated(made)
        yield from self._applied(made)
        yield step("GET")
        yield from self._deleted(made)
        yield step("GET", ends="all", take=6)
        yield step("GET", ends="web", take=2)

    def _refused(self, made: Json) -> Iterator[Step]:
        step = self._step
        yield step("POST", body={**made, "metadata": {"name": "Not A Name"}})
        yield step("POST", body={**made, "metadata": {}})
        yield step("POST", body={**made, "kind": "Absent"})
        yield step("POST", body={**made, "metadata": {"name": "x", "namespace": "other"}})
        yield step("POST", body=made, kind="text/plain")
        yield step("POST", body=[1])
        yield step("POST")
        yield step("POST", "?dryRun=All", {**made, "metadata": {"name": "dry"}})
        yield step("POST", "?dryRun=Some", {**made, "metadata": {"name": "dry"}})
        for check in ("Strict", "Warn", "Ignore", "Nonsense"):
            body = {**made, "metadata": {"name": "dry"}, "nonsense": 1}
            yield step("POST", f"?dryRun=All&fieldValidation={check}", body)
        yield step("PUT", "/absent", {**made, "metadata": {"name": "absent"}})
        yield step("PUT", "/it", {**made, "metadata": {"name": "other"}})
        yield step("PATCH", "/absent", {}, MERGE)
        yield step("PATCH", "/it", {}, "application/json")
        yield step("PATCH", "/it", {"metadata": {"labels": {"a": 1}}}, MERGE)
        yield step("PATCH", "/it", [{"op": "test", "path": "/kind", "value": "x"}], JSON_PATCH)
        yield step("PATCH", "/it", {"op": "no list"}, JSON_PATCH)
        yield step("DELETE", "/absent")
        yield step("DELETE", "/it?dryRun=All")
        yield step("DELETE", "/it", {"preconditions": {"uid": "wrong"}})
        yield step("GET", "/dry")

    def _patched(self) -> Iterator[Step]:
        step, labels = self._step, {"metadata": {"labels": {"a": "1"}}}
        yield step("PATCH", "/it", labels, MERGE)
        yield step("PATCH", "/it", labels, MERGE)  # changes nothing
        yield step("PATCH", "/it", {"metadata": {"labels": {"a": "2"}}}, STRATEGIC)
        add = {"op": "add", "path": "/metadata/labels/b", "value": "1"}
        yield step("PATCH", "/it", [add], JSON_PATCH, keep={"new": "metadata.resourceVersion"})
        stale = {"metadata": {"resourceVersion": "{old}", "labels": {"c": "1"}}}
        yield step("PATCH", "/it", stale, MERGE)
        yield step("PATCH", "/it?dryRun=All", {"metadata": {"labels": {"c": "1"}}}, MERGE)
        yield step("PATCH", "/it/status", {"status": {"message": "ok"}}, MERGE)
        yield step("GET", "/it/status")
        yield step("GET", "/it?resourceVersion={new}")

    def _updated(self, made: Json) -> Iterator[Step]:
        stale = {**made, "metadata": {**made["metadata"], "resourceVersion": "{old}"}}
        yield self._step("PUT", "/it", stale)
        yield self._step("PUT", "/it?dryRun=All", made)
        if self._plural in ("configmaps", "secrets", "leases"):
            yield self._step("PUT", "/it", made)
        yield self._step("PUT", "/it/absent", made)
        yield self._step("GET", "/it")

    def _applied(self, made: Json) -> Iterator[Step]:
        step = self._step
        own = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": {"name": "it"}}
        own = {**own, "metadata": {"name": "it", "labels": {"tier": "db"}}}
        yield step("PATCH", "/it?fieldManager=one", own, APPLY)
        yield step("PATCH", "/it?fieldManager=one&force=true", own, APPLY)
        yield step("PATCH", "/it", own, APPLY)
        yield step("PATCH", "/it?fieldManager=one&force=true&dryRun=All", own, APPLY)
        yield step("PATCH", "/it?fieldManager=one&force=true", {**own, "kind": "Absent"}, APPLY)

    def _deleted(self, made: Json) -> Iterator[Step]:
        step, labels = self._step, {"labels": {"tier": "web"}}
        yield step("DELETE", "/it", {"propagationPolicy": "Nonsense"})
        yield step("DELETE", "/it?gracePeriodSeconds=0", {"preconditions": {"uid": "{uid}"}})
        yield step("GET", "/it")
        for name in ("x", "y"):
            yield step("POST", body={**made, "metadata": {"name": name, **labels}})
        if self._plural != "services":  # has no deletecollection of old
            yield step("DELETE", "?labelSelector=tier%3Dabsent")
            yield step("DELETE", "?labelSelector=tier%3Dweb&dryRun=All")
            yield step("DELETE", "?labelSelector=tier%3Dweb&gracePeriodSeconds=0")
        yield step("GET", keep={"v": "metadata.resourceVersion"})


def nodes() -> Iterator[Step]:
    """What a kubelet does to register and to stay alive, and what is not of a namespace."""
    session, path = "write: a node", f"/api/v1/nodes/{OWN}"
    made: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": OWN}}
    kube: Json = {"agent": KUBELET}
    patch: Json = {**kube, "headers": {"Content-Type": STRATEGIC}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    yield Step(session, path, **kube)
    yield Step(session, "/api/v1/nodes", "POST", body=made, **kube)
    yield Step(session, "/api/v1/nodes", "POST", body=made, **kube)
    yield Step(
        session, f"{path}/status", "PATCH", body={"status": {"conditions": [condition]}}, **patch
    )
    yield Step(session, path, **kube)
    yield Step(session, f"{leases}/{OWN}", **kube)
    yield Step(
        session, leases, "POST", body=lease(OWN), keep={"v": "metadata.resourceVersion"}, **kube
    )
    renewed = lease(OWN)
    renewed["metadata"]["resourceVersion"] = "{v}"
    renewed["spec"]["leaseDurationSeconds"] = 41
    yield Step(session, f"{leases}/{OWN}", "PUT", body=renewed, **kube)
    yield Step(session, f"{leases}/{OWN}", "PUT", body=renewed, **kube)
    yield Step(session, f"{leases}/{OWN}", "DELETE", **kube)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "it"},
        "involvedObject": {"kind": "Node", "name": OWN},
        "reason": "Starting",
    }
    events = PATHS["events"].format(OWN)
    yield Step(session, events, "POST", body=event | {"involvedObject": {"namespace": OWN}}, **kube)
    yield Step(session, events, **kube)
    yield Step(session, f"{events}/it", "PATCH", body={"count": 2}, **patch)
    sa = f"/api/v1/namespaces/{OWN}/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "it"}}
    yield Step(session, sa, "POST", body=account, **kube)
    ask = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    yield Step(session, f"{sa}/absent/token", "POST", body=ask, **kube)
    yield Step(session, path, "DELETE", **kube)
    yield Step(session, path, **kube)


def variants() -> Iterator[Step]:
    sessions = Sessions()
    yield from seen(sessions)
    yield from places(sessions)
    yield from reads(sessions)
    yield from writes()


def main() -> None:
    VARIANTS.write_bytes(text_of(variants()))


if __name__ == "__main__":
    main()
