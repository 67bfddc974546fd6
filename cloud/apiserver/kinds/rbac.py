"""Roles and bindings: defaults and validation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from actors.kube.status_errors import Cause
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.names import immutable, not_supported, path_segment, required

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def _role_faults(role: Object, old: Object | None) -> Iterator[Cause]:
    for number, rule in enumerate(role.get("rules") or ()):
        yield from _rule_faults(rule, f"rules[{number}]", not role["metadata"].get("namespace"))


def _rule_faults(rule: Object, where: str, may_have_paths: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{where}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if not may_have_paths:
            text = "namespaced rules cannot apply to non-resource URLs"
            yield Cause("FieldValueInvalid", f"Invalid value: {text}", f"{where}.nonResourceURLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            yield Cause("FieldValueInvalid", f"Invalid value: {text}", f"{where}.nonResourceURLs")
        return
    if not rule.get("apiGroups"):
        yield required(f"{where}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{where}.resources", "resource rules must supply at least one resource")


def _default_binding(binding: Object, old: Object | None) -> None:
    binding.setdefault("roleRef", {}).setdefault("apiGroup", GROUP)
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", GROUP)


def _binding_faults(binding: Object, old: Object | None) -> Iterator[Cause]:
    kinds = ("Role", "ClusterRole") if binding["metadata"].get("namespace") else ("ClusterRole",)
    ref = binding["roleRef"]
    if ref.get("kind") not in kinds:
        yield not_supported("roleRef.kind", ref.get("kind", ""), kinds)
    if ref.get("apiGroup") != GROUP:
        yield not_supported("roleRef.apiGroup", ref.get("apiGroup", ""), (GROUP,))
    if not ref.get("name"):
        yield required("roleRef.name")
    for number, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject_faults(binding, subject, f"subjects[{number}]")
    if old is not None and old["roleRef"] != ref:
        yield immutable("roleRef", ref)


def _subject_faults(binding: Object, subject: Object, where: str) -> Iterator[Cause]:
    if subject.get("kind") not in _SUBJECTS:
        yield not_supported(f"{where}.kind", subject.get("kind", ""), _SUBJECTS)
    if not subject.get("name"):
        yield required(f"{where}.name")
    is_account = subject.get("kind") == "ServiceAccount"
    everywhere = not binding["metadata"].get("namespace")
    if is_account and everywhere and not subject.get("namespace"):
        yield required(f"{where}.namespace")


ROLE = Kind(name_check=path_segment, validate=_role_faults)
BINDING = Kind(name_check=path_segment, default=_default_binding, validate=_binding_faults)
