"""Who reads what: which requests may share one upstream watch. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from actors.kube.continue_token import decode_token
from actors.kube.fields import FieldReader
from actors.kube.resource import Resource, path_of
from actors.kube.selectors import SelectorError, parse_fields
from actors.kube.serve.api import RequestInfo
from edge.cache import ListQuery, list_query

TOKEN = "token:"  # identities of components that come with tokens of their own
_EVERYWHERE = frozenset(
    {"metadata.name", "metadata.namespace"}
)  # every resource can be so selected


def owner_of(identity: str) -> str:
    """Whose view it is on disk: what one user may read is not for others."""
    return f"hub:{identity}" if identity else "hub"


@dataclass(frozen=True, slots=True)
class Scope:
    """Selectors are canonical; make it with `scope_of` or `Scope.of`.

    `identity` is whom ApiGate acts as: "" the node itself, a user, or "token:<user>" for who has a
    token of his own.
    """

    identity: str
    resource: Resource
    namespace: str = ""  # "": all
    labels: str = ""
    fields: str = ""

    @classmethod
    def of(
        cls, identity: str, resource: Resource, namespace: str = "", labels: str = "",
        fields: str = "",
    ) -> Scope:  # fmt: skip
        """Raises SelectorError."""
        query = list_query(resource.name, namespace, labels, fields)
        return cls(identity, resource, namespace, query.labels, query.fields)

    def __str__(self) -> str:
        parts = (self.resource.name, self.namespace, self.labels, self.fields)
        what = " ".join(part for part in parts if part)
        return f"{what} as {self.identity or 'the node'}"

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What makes it the same, however the resource's description changes."""
        return self.identity, self.resource.name, self.namespace, self.labels, self.fields

    @property
    def query(self) -> ListQuery:
        return ListQuery(
            resource=self.resource.name,
            namespace=self.namespace,
            labels=self.labels,
            fields=self.fields,
        )

    @property
    def component(self) -> str:
        """Whose view it is on disk."""
        return owner_of(self.identity)

    @property
    def target(self) -> str:
        """Path and query as on the wire."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        query = urlencode({name: text for name, text in selectors.items() if text})
        path = path_of(self.resource, self.namespace)
        return f"{path}?{query}" if query else path

    def covers(self, other: Scope) -> bool:
        """Whether all that `other` is about can be selected from this one's contents."""
        if (self.identity, self.resource.name) != (other.identity, other.resource.name):
            return False
        is_plain = not (self.labels or self.fields)
        return self.key == other.key or (is_plain and self.namespace in ("", other.namespace))


def scope_of(info: RequestInfo, identity: str, resource: Resource) -> Scope | None:
    """The scope of a list or watch; None for what cannot be answered from a mirror.

    That is: a state of the past that was asked for exactly, pages that begin elsewhere, and what
    the API server has to refuse.
    """
    if info.verb not in ("list", "watch") or info.name or info.subresource:
        return None
    version = info.query.get("resourceVersion", "")
    if info.query.get("resourceVersionMatch", "") == "Exact" and version not in ("", "0"):
        return None
    if not _is_readable(info.query.get("continue", ""), info.namespace):
        return None
    labels, fields = info.query.get("labelSelector", ""), info.query.get("fieldSelector", "")
    try:
        known = _EVERYWHERE | FieldReader(resource).names.keys()
        if any(term.name not in known for term in parse_fields(fields)):
            return None
        return Scope.of(identity, resource, info.namespace, labels, fields)
    except (SelectorError, ValueError):
        return None


def _is_readable(token: str, namespace: str) -> bool:
    try:
        return not token or bool(decode_token(token, namespace))
    except ValueError:
        return False
