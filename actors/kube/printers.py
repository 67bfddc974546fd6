"""The columns that kubectl users know, for built-in resources.

Source: kubernetes/pkg/printers/internalversion/printers.go. A printer's cells begin with the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from actors.kube.builtin import RBAC
from actors.kube.durations import age
from actors.kube.resource import Column

Object = dict[str, Any]
Cells = Callable[[Object, float], list[Any]]

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"


class Printer(NamedTuple):
    """`columns` without Name."""

    columns: tuple[Column, ...]
    cells: Cells


def _columns(*names: str) -> tuple[Column, ...]:
    """ "Age", "Ready" ...; "+Labels" is shown with -o wide only, "#Data" is a number."""
    return tuple(
        Column(
            name=name.lstrip("+#"),
            type="integer" if "#" in name[:2] else "string",
            priority=1 if name.startswith("+") else 0,
        )
        for name in names
    )


def _meta(obj: Object) -> Object:
    return obj.get("metadata") or {}


def _part(obj: Object, name: str) -> Object:
    part = obj.get(name)
    return part if isinstance(part, dict) else {}


def _name(obj: Object) -> str:
    return str(_meta(obj).get("name", ""))


def _age(obj: Object, now: float) -> str:
    return age(_meta(obj).get("creationTimestamp"), now)


def _short(items: Iterable[str], most: int = 3) -> str:
    """ "a,b,c + 2 more..." """
    listed = list(items)
    if not listed:
        return NONE
    more = f" + {len(listed) - most} more..." if len(listed) > most else ""
    return ",".join(listed[:most]) + more


def _selector(labels: Object | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or NONE


def _label_selector(selector: Object | None) -> str:
    """A LabelSelector of the API, as text."""
    selector = selector or {}
    terms = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or []:
        values = ",".join(sorted(term.get("values") or []))
        terms.append(
            {
                "In": f"{term['key']} in ({values})",
                "NotIn": f"{term['key']} notin ({values})",
                "Exists": term["key"],
                "DoesNotExist": f"!{term['key']}",
            }.get(term.get("operator", ""), "<error>")
        )
    return ",".join(terms) or NONE


def _containers(template: Object) -> list[str]:
    """[names, images] of a pod template."""
    containers = _part(_part(template, "template"), "spec").get("containers") or []
    return [
        ",".join(str(c.get("name", "")) for c in containers),
        ",".join(str(c.get("image", "")) for c in containers),
    ]


# -- core -----------------------------------------------------------------------------------------


def _namespace(obj: Object, now: float) -> list[Any]:
    return [_name(obj), _part(obj, "status").get("phase", ""), _age(obj, now)]


def _node(obj: Object, now: float) -> list[Any]:
    status = _part(obj, "status")
    info = _part(status, "nodeInfo")
    addresses = {a["type"]: a["address"] for a in reversed(status.get("addresses") or [])}
    return [
        _name(obj),
        _node_status(obj),
        _node_roles(obj),
        _age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: Object) -> str:
    conditions = _part(obj, "status").get("conditions") or []
    ready = [c.get("status") for c in conditions if c.get("type") == "Ready"]
    text = "Unknown" if not ready else "Ready" if ready[-1] == "True" else "NotReady"
    return text + (",SchedulingDisabled" if _part(obj, "spec").get("unschedulable") else "")


def _node_roles(obj: Object) -> str:
    roles = set()
    for label, value in (_meta(obj).get("labels") or {}).items():
        if label.startswith("node-role.kubernetes.io/"):
            roles.add(label.removeprefix("node-role.kubernetes.io/"))
        elif label == "kubernetes.io/role":
            roles.add(value)
    return ",".join(sorted(roles - {""})) or NONE


def _service(obj: Object, now: float) -> list[Any]:
    spec = _part(obj, "spec")
    ips = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        _name(obj),
        spec.get("type", "ClusterIP"),
        ips[0] if ips else NONE,
        _external_ip(obj),
        _service_ports(spec.get("ports") or []),
        _age(obj, now),
        _selector(spec.get("selector")),
    ]


def _external_ip(obj: Object) -> str:
    spec = _part(obj, "spec")
    external = list(spec.get("externalIPs") or [])
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") != "LoadBalancer":
        return ",".join(external) or NONE
    ingress = _part(_part(obj, "status"), "loadBalancer").get("ingress") or []
    found = [i.get("ip") or i.get("hostname", "") for i in ingress]
    return ",".join([*found, *external]) or "<pending>"


def _service_ports(ports: list[Object]) -> str:
    def one(port: Object) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(map(one, ports)) or NONE


def _endpoints(obj: Object, now: float) -> list[Any]:
    found = [
        _host_port(address.get("ip", ""), port.get("port"))
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or [{}]
        for address in subset.get("addresses") or []
    ]
    return [_name(obj), _short(found), _age(obj, now)]


def _host_port(ip: str, port: object) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"{host}:{port}" if port else ip


def _config_map(obj: Object, now: float) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [_name(obj), count, _age(obj, now)]


def _secret(obj: Object, now: float) -> list[Any]:
    return [_name(obj), obj.get("type", "Opaque"), len(obj.get("data") or ()), _age(obj, now)]


def _service_account(obj: Object, now: float) -> list[Any]:
    return [_name(obj), len(obj.get("secrets") or ()), _age(obj, now)]


# -- pods -----------------------------------------------------------------------------------------


def _pod(obj: Object, now: float) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(s.get("ready") and "running" in _part(s, "state")) for s in statuses)
    ips = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return [
        _name(obj),
        f"{ready}/{len(spec.get('containers') or [])}",
        _pod_reason(obj),
        _restarts(obj, now),
        _age(obj, now),
        ips[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = [g.get("conditionType") for g in spec.get("readinessGates") or []]
    if not gates:
        return NONE
    well = {c.get("type") for c in status.get("conditions") or [] if c.get("status") == "True"}
    return f"{sum(g in well for g in gates)}/{len(gates)}"


def _pod_reason(obj: Object) -> str:
    status = _part(obj, "status")
    reason = status.get("reason") or status.get("phase", "")
    reason = _init_reason(obj) or _container_reason(status, reason)
    if _meta(obj).get("deletionTimestamp"):
        return UNKNOWN if status.get("reason") == "NodeLost" else "Terminating"
    return str(reason)


def _init_reason(obj: Object) -> str:
    """What the first unfinished init container waits for; "" when all are done."""
    spec, status = _part(obj, "spec"), _part(obj, "status")
    sidecars = {
        c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"
    }
    total = len(spec.get("initContainers") or [])
    for index, container in enumerate(status.get("initContainerStatuses") or []):
        state = _part(container, "state")
        ended, waiting = state.get("terminated"), _part(state, "waiting").get("reason", "")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if container.get("name") in sidecars and container.get("started"):
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def _container_reason(status: Object, reason: str) -> str:
    has_running = False
    for container in reversed(status.get("containerStatuses") or []):
        state = _part(container, "state")
        if waiting := _part(state, "waiting").get("reason"):
            reason = waiting
        elif state.get("terminated") is not None:
            reason = _ended(state["terminated"])
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
    if reason == "Completed" and has_running:
        ready = any(
            c.get("type") == "Ready" and c.get("status") == "True"
            for c in status.get("conditions") or []
        )
        return "Running" if ready else "NotReady"
    return reason


def _ended(state: Object) -> str:
    if state.get("reason"):
        return str(state["reason"])
    if state.get("signal"):
        return f"Signal:{state['signal']}"
    return f"ExitCode:{state.get('exitCode', 0)}"


def _restarts(obj: Object, now: float) -> str:
    statuses = _part(obj, "status").get("containerStatuses") or []
    count = sum(s.get("restartCount", 0) for s in statuses)
    ends = [
        _part(_part(s, "lastState"), "terminated").get("finishedAt")
        for s in statuses
        if s.get("restartCount")
    ]
    last = max((e for e in ends if e), default="")
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


# -- events, leases, slices ------------------------------------------------------------------------


def _event(obj: Object, now: float) -> list[Any]:
    involved = _part(obj, "involvedObject") or _part(obj, "regarding")
    kind, name = str(involved.get("kind", "")).lower(), involved.get("name", "")
    series = _part(obj, "series")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    source = _part(obj, "source") or _part(obj, "deprecatedSource")
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        age(series.get("lastObservedTime") or last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        ", ".join(filter(None, [component, source.get("host")])),
        str(obj.get("message") or obj.get("note") or "").strip(),
        age(first, now),
        series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1,
        _name(obj),
    ]


def _lease(obj: Object, now: float) -> list[Any]:
    return [_name(obj), _part(obj, "spec").get("holderIdentity") or "", _age(obj, now)]


def _endpoint_slice(obj: Object, now: float) -> list[Any]:
    ports = [str(p.get("port") or "*") for p in obj.get("ports") or []]
    found = [str(a) for e in obj.get("endpoints") or [] for a in e.get("addresses") or []]
    return [
        _name(obj),
        obj.get("addressType", ""),
        _short(ports) if ports else UNSET,
        _short(found) if found else UNSET,
        _age(obj, now),
    ]


def _service_cidr(obj: Object, now: float) -> list[Any]:
    return [_name(obj), ",".join(_part(obj, "spec").get("cidrs") or []), _age(obj, now)]


def _runtime_class(obj: Object, now: float) -> list[Any]:
    return [_name(obj), obj.get("handler", ""), _age(obj, now)]


def _crd(obj: Object, now: float) -> list[Any]:
    return [_name(obj), _meta(obj).get("creationTimestamp", "")]


# -- workloads -------------------------------------------------------------------------------------


def _deployment(obj: Object, now: float) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(obj, now),
        *_containers(spec),
        _label_selector(spec.get("selector")),
    ]


def _replica_set(obj: Object, now: float) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    return [
        _name(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(obj, now),
        *_containers(spec),
        _label_selector(spec.get("selector")),
    ]


def _stateful_set(obj: Object, now: float) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [_name(obj), ready, _age(obj, now), *_containers(spec)]


def _daemon_set(obj: Object, now: float) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    numbers = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        _name(obj),
        *(status.get(name, 0) for name in numbers),
        _selector(_part(_part(_part(spec, "template"), "spec"), "nodeSelector")),
        _age(obj, now),
        *_containers(spec),
        _label_selector(spec.get("selector")),
    ]


def _role(obj: Object, now: float) -> list[Any]:
    """Roles tell when they were made, not how long ago (as upstream)."""
    return [_name(obj), _meta(obj).get("creationTimestamp")]


def _role_binding(obj: Object, now: float) -> list[Any]:
    ref = _part(obj, "roleRef")
    subjects: list[Object] = obj.get("subjects") or []
    by_kind = {kind: [s for s in subjects if s.get("kind") == kind] for kind in _SUBJECTS}
    names = [", ".join(map(_subject, by_kind[kind])) for kind in _SUBJECTS]
    return [_name(obj), f"{ref.get('kind', '')}/{ref.get('name', '')}", _age(obj, now), *names]


_SUBJECTS = ("User", "Group", "ServiceAccount")


def _subject(subject: Object) -> str:
    name = str(subject.get("name", ""))
    return f"{subject.get('namespace', '')}/{name}" if subject["kind"] == _SUBJECTS[2] else name


_ROLE = Printer(_columns("Created At"), _role)
_BINDING = Printer(_columns("Role", "Age", "+Users", "+Groups", "+ServiceAccounts"), _role_binding)

_POD_COLUMNS = _columns(
    "Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"
)
_WORKLOAD = ("Age", "+Containers", "+Images", "+Selector")

PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "namespaces"): Printer(_columns("Status", "Age"), _namespace),
    ("", "nodes"): Printer(
        _columns(
            "Status",
            "Roles",
            "Age",
            "Version",
            "+Internal-IP",
            "+External-IP",
            "+OS-Image",
            "+Kernel-Version",
            "+Container-Runtime",
        ),
        _node,
    ),
    ("", "pods"): Printer(_POD_COLUMNS, _pod),
    ("", "services"): Printer(
        _columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), _service
    ),
    ("", "endpoints"): Printer(_columns("Endpoints", "Age"), _endpoints),
    ("", "configmaps"): Printer(_columns("#Data", "Age"), _config_map),
    ("", "secrets"): Printer(_columns("Type", "#Data", "Age"), _secret),
    ("", "serviceaccounts"): Printer(_columns("#Secrets", "Age"), _service_account),
    ("coordination.k8s.io", "leases"): Printer(_columns("Holder", "Age"), _lease),
    ("discovery.k8s.io", "endpointslices"): Printer(
        _columns("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice
    ),
    ("networking.k8s.io", "servicecidrs"): Printer(_columns("CIDRs", "Age"), _service_cidr),
    ("node.k8s.io", "runtimeclasses"): Printer(_columns("Handler", "Age"), _runtime_class),
    ("apiextensions.k8s.io", "customresourcedefinitions"): Printer(_columns("Created At"), _crd),
    (RBAC, "roles"): _ROLE,
    (RBAC, "clusterroles"): _ROLE,
    (RBAC, "rolebindings"): _BINDING,
    (RBAC, "clusterrolebindings"): _BINDING,
    ("apps", "deployments"): Printer(
        _columns("Ready", "#Up-to-date", "#Available", *_WORKLOAD), _deployment
    ),
    ("apps", "replicasets"): Printer(
        _columns("#Desired", "#Current", "#Ready", *_WORKLOAD), _replica_set
    ),
    ("apps", "statefulsets"): Printer(
        _columns("Ready", "Age", "+Containers", "+Images"), _stateful_set
    ),
    ("apps", "daemonsets"): Printer(
        _columns(
            "#Desired",
            "#Current",
            "#Ready",
            "#Up-to-date",
            "#Available",
            "Node Selector",
            *_WORKLOAD,
        ),
        _daemon_set,
    ),
}

EVENT_COLUMNS = (
    *_columns("Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message"),
    *_columns("+First Seen", "+#Count"),
    Column(name="Name", format="name", priority=1),
)
EVENTS = Printer(EVENT_COLUMNS, _event)
