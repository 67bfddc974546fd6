"""Canonical list queries, who is cached, which list answers which, what to evict. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from actors.kube.selectors import FieldTerm, Op, Requirement, parse_fields, parse_labels


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for, so that equal questions are equal values; make it with `list_query`.

    With `name` it stands for one object read by name. `representation` is "" for whole objects,
    else what the client asked to get instead ("PartialObjectMetadata"): another stored copy.
    """

    resource: str  # `Resource.name`, e.g. "endpointslices.v1.discovery.k8s.io"
    namespace: str = ""  # "" is all of them, or a resource without namespaces
    labels: str = ""
    fields: str = ""
    name: str = ""
    representation: str = ""

    @property
    def kept_as(self) -> str:
        """Under which name its objects are stored."""
        return f"{self.resource}#{self.representation}" if self.representation else self.resource

    @property
    def selects(self) -> bool:
        return bool(self.labels or self.fields)


def list_query(
    resource: str,
    namespace: str = "",
    labels: str = "",
    fields: str = "",
    representation: str = "",
) -> ListQuery:
    """Selectors as clients wrote them, in canonical form. Raises SelectorError."""
    return ListQuery(
        resource=resource,
        namespace=namespace,
        labels=",".join(sorted({_label_text(term) for term in parse_labels(labels)})),
        fields=",".join(sorted({_field_text(term) for term in parse_fields(fields)})),
        representation=representation,
    )


def name_query(resource: str, namespace: str, name: str, representation: str = "") -> ListQuery:
    return ListQuery(
        resource=resource, namespace=namespace, name=name, representation=representation
    )


def _label_text(term: Requirement) -> str:
    values = ",".join(sorted(term.values))
    if term.op is Op.EXISTS:
        return term.key
    if term.op is Op.ABSENT:
        return f"!{term.key}"
    if term.op in (Op.GREATER, Op.LESS):
        return f"{term.key}{term.op.value}{values}"
    return f"{term.key} {term.op.value} ({values})"


def _field_text(term: FieldTerm) -> str:
    value = term.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    return f"{term.name}{'=' if term.equal else '!='}{value}"


def covers(held: ListQuery, asked: ListQuery) -> bool:
    """Whether the answer to `asked` is all within `held`, by `asked`'s own selectors and namespace.

    Only what is certain: equal selectors, or none held at all.
    """
    if held.kept_as != asked.kept_as or held.name:
        return held == asked
    if held.namespace not in ("", asked.namespace):
        return False
    same = (held.labels, held.fields) == (asked.labels, asked.fields)
    return not held.selects or (same and not asked.name)


def best_cover(held: Iterable[ListQuery], asked: ListQuery) -> ListQuery | None:
    """The narrowest of those that cover `asked`."""
    found = [query for query in held if covers(query, asked)]
    return max(found, key=lambda q: (q == asked, bool(q.namespace), q.selects), default=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A view or a document that may be evicted."""

    id: int
    kind: str  # "view" or "document"
    bytes: int  # on disk, if it alone went
    used: float  # when it was last read or written
    is_critical: bool = False


def evictions(candidates: Iterable[Candidate], surplus: int) -> list[Candidate]:
    """The fewest, least recently used, that free `surplus` bytes; critical ones last."""
    chosen: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.is_critical, c.used, c.id)):
        if surplus <= 0:
            break
        chosen.append(candidate)
        surplus -= candidate.bytes
    return chosen
