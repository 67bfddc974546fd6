"""Pods and pod templates: defaults and validation. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.kube.status_errors import Cause
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.names import dns_label, forbidden, invalid_value, not_supported, required

RESTART_POLICIES = ("Always", "OnFailure", "Never")
GRACE = 30  # seconds; terminationGracePeriodSeconds where none is given

_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def default_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", GRACE)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for group in ("initContainers", "containers"):
        for container in spec.get(group, ()):
            _default_container(container, bool(spec.get("hostNetwork")))


def _default_container(container: Object, host_network: bool) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = container.get("image", "")
    if image:
        tag = image.rpartition("/")[2].partition(":")[2]
        latest = "@" not in image and tag in ("", "latest")
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network:
            port.setdefault("hostPort", port.get("containerPort"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _default_probe(container[name])


def _default_probe(probe: Object) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(name, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def default(pod: Object, old: Object | None) -> None:
    spec = pod.setdefault("spec", {})
    default_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    if old is None:
        pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def qos_class(spec: Object) -> str:
    """Guaranteed: each container's limits for both resources, equal to its requests."""
    resources = [c.get("resources", {}) for c in spec.get("containers", ())]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits", {})
        requests = limits | each.get("requests", {})
        if any(name not in limits or requests[name] != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def validate_spec(spec: Object, path: str = "spec") -> Iterator[Cause]:
    if spec["restartPolicy"] not in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", spec["restartPolicy"], RESTART_POLICIES)
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, ())):
            at = f"{path}.{group}[{index}]"
            yield from _container_faults(container, at)
            name = container.get("name", "")
            if name in seen:
                yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{at}.name")
            seen.add(name)


def _container_faults(container: Object, path: str) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif fault := dns_label(name):
        yield invalid_value(f"{path}.name", name, fault)
    if not container.get("image"):
        yield required(f"{path}.image")


def validate(pod: Object, old: Object | None) -> Iterator[Cause]:
    yield from validate_spec(pod["spec"])
    if old is not None and _fixed(pod["spec"]) != _fixed(old["spec"]):
        yield forbidden(
            "spec",
            "pod updates may not change fields other than"
            " `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
            " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was"
            " previously negative)",
        )


def _fixed(spec: Object) -> dict[str, Any]:
    """The part of a pod's spec that never changes (but for what a scheduler may set once)."""
    kept = {name: value for name, value in spec.items() if name not in _MUTABLE}
    for group in ("initContainers", "containers"):
        if group in kept:
            kept[group] = [
                {name: value for name, value in container.items() if name != "image"}
                for container in kept[group]
            ]
    return kept


KIND = Kind(default=default, validate=validate, generation=True, returns_deleted=True)
