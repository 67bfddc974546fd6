"""Namespaces, secrets, config maps, leases and workloads: defaults and validation. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from actors.kube.status_errors import Cause
from cloud.apiserver.kinds import pod
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.names import (
    dns_label,
    forbidden,
    immutable,
    invalid_value,
    required,
)

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
MAX_DATA = 1024 * 1024  # bytes of a Secret or ConfigMap


def _default_namespace(namespace: Object, old: Object | None) -> None:
    name = namespace["metadata"]["name"]
    namespace["metadata"].setdefault("labels", {})[NAMESPACE_LABEL] = name
    if old is None:
        namespace["spec"] = {"finalizers": ["kubernetes"]}
        namespace["status"] = {"phase": "Active"}
    else:  # only /finalize changes them
        namespace["spec"] = old.get("spec", {})


def _default_node(node: Object, old: Object | None) -> None:
    node.setdefault("spec", {})
    node.setdefault("status", {})


def _default_secret(secret: Object, old: Object | None) -> None:
    for name, text in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()
    secret.setdefault("type", "Opaque")


def _secret_faults(secret: Object, old: Object | None) -> Iterator[Cause]:
    size = 0
    for name, value in secret.get("data", {}).items():
        try:
            size += len(base64.b64decode(value, validate=True))
        except binascii.Error as error:
            yield invalid_value(f"data[{name}]", value, f"illegal base64 data: {error}")
    yield from _size_faults(size)
    if old is not None and secret["type"] != old.get("type"):
        yield immutable("type", secret["type"])
    yield from _frozen_faults(secret, old)


def _size_faults(size: int) -> Iterator[Cause]:
    if size > MAX_DATA:
        text = f"Too long: may not be more than {MAX_DATA} bytes"
        yield Cause("FieldValueTooLong", text, "data")


def _frozen_faults(obj: Object, old: Object | None) -> Iterator[Cause]:
    """`immutable: true` holds for good."""
    if old is None or not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for name in ("data", "binaryData"):
        if obj.get(name) != old.get(name):
            yield forbidden(name, "field is immutable when `immutable` is set")


def _config_map_faults(config: Object, old: Object | None) -> Iterator[Cause]:
    texts = config.get("data", {})
    yield from _size_faults(sum(map(len, texts.values())))
    for name in config.get("binaryData", {}):
        if name in texts:
            yield invalid_value("binaryData", name, f"duplicate of key present in data[{name}]")
    yield from _frozen_faults(config, old)


def _lease_faults(lease: Object, old: Object | None) -> Iterator[Cause]:
    spec = lease.get("spec", {})
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0")
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        why = "must be greater than or equal to 0"
        yield invalid_value("spec.leaseTransitions", transitions, why)


# -- workloads: nobody here acts on them, but they are kept as upstream would keep them ------------


def _default_workload(workload: Object, old: Object | None) -> None:
    spec = workload.setdefault("spec", {})
    pod.default_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    if old is None:
        workload["status"] = {}


def _default_replicated(workload: Object, old: Object | None) -> None:
    _default_workload(workload, old)
    workload["spec"].setdefault("replicas", 1)


def _default_deployment(deployment: Object, old: Object | None) -> None:
    _default_replicated(deployment, old)
    spec = deployment["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _workload_faults(workload: Object, old: Object | None) -> Iterator[Cause]:
    spec = workload["spec"]
    yield from pod.validate_spec(spec["template"]["spec"], "spec.template.spec")
    selector = spec.get("selector")
    if not selector:
        yield required("spec.selector")
        return
    labels = spec["template"].get("metadata", {}).get("labels", {})
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", labels, why)
    if old is not None and old["spec"].get("selector") != selector:
        yield immutable("spec.selector", selector)


def _default_job(job: Object, old: Object | None) -> None:
    _default_workload(job, old)
    for name, value in (("parallelism", 1), ("completions", 1), ("backoffLimit", 6)):
        job["spec"].setdefault(name, value)


def _job_faults(job: Object, old: Object | None) -> Iterator[Cause]:
    return pod.validate_spec(job["spec"]["template"]["spec"], "spec.template.spec")


NAMESPACE = Kind(name_check=dns_label, default=_default_namespace)
NODE = Kind(default=_default_node, free_status=True)
SECRET = Kind(default=_default_secret, validate=_secret_faults)
CONFIG_MAP = Kind(validate=_config_map_faults)
LEASE = Kind(validate=_lease_faults, unconditional=False, create_on_update=True)
EVENT = Kind(create_on_update=True)
STRICT_UPDATE = Kind(unconditional=False)
SERVICE_ACCOUNT = Kind(returns_deleted=True)
CSI = Kind(unconditional=False, returns_deleted=True)
COUNTED = Kind(generation=True)
DEPLOYMENT = Kind(default=_default_deployment, validate=_workload_faults, generation=True)
REPLICATED = Kind(default=_default_replicated, validate=_workload_faults, generation=True)
DAEMON_SET = Kind(default=_default_workload, validate=_workload_faults, generation=True)
JOB = Kind(default=_default_job, validate=_job_faults, generation=True)
