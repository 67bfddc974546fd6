"""What the client wants to read, from its Accept header. Pure.

JSON, YAML, and of these Table and PartialObjectMetadata; protobuf is not spoken, so a client that
takes nothing else gets 406. client-go always offers JSON or `*/*` beside it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from actors.kube.status_errors import not_acceptable

OFFERED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_JSON = frozenset({"application/json", "application/*", "*/*"})
_AGGREGATED = ("APIGroupDiscoveryList", "apidiscovery.k8s.io")
_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})


class View(StrEnum):
    OBJECT = ""
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"


class Wanted(NamedTuple):
    """`version` is that of meta.k8s.io for tables and partial metadata."""

    view: View = View.OBJECT
    yaml: bool = False
    version: str = "v1"

    @property
    def content_type(self) -> str:
        """As upstream names it in Content-Type."""
        return "application/yaml" if self.yaml else "application/json"


class Clause(NamedTuple):
    media_type: str
    params: dict[str, str]
    q: float


def parse_accept(header: str) -> list[Clause]:
    """Clauses, best first, those of equal weight in the client's order; q=0 left out."""
    clauses = [_clause(text) for text in header.split(",") if text.strip()]
    return sorted((c for c in clauses if c.q > 0), key=lambda c: -c.q)


def _clause(text: str) -> Clause:
    media_type, *rest = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in rest)
    params = {name.strip().lower(): value.strip() for name, _, value in pairs}
    try:
        q = float(params.pop("q", "1"))
    except ValueError:
        q = 0.0
    return Clause(media_type.lower(), params, q)


def negotiate(header: str, is_list: bool = False) -> Wanted:
    """Raises ApiError 406."""
    if not header.strip():
        return Wanted()
    for clause in parse_accept(header):
        if clause.media_type in _JSON or clause.media_type in _YAML:
            wanted = _view(clause, is_list)
            if wanted is not None:
                return wanted
    raise not_acceptable(OFFERED)


def _view(clause: Clause, is_list: bool) -> Wanted | None:
    """None for a view that is not known: the next clause decides."""
    yaml = clause.media_type in _YAML
    kind = clause.params.get("as", "")
    if not kind:
        return Wanted(yaml=yaml)
    version = clause.params.get("v", "")
    if clause.params.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    if kind == "Table":
        return Wanted(View.TABLE, yaml, version)
    if kind == ("PartialObjectMetadataList" if is_list else "PartialObjectMetadata"):
        return Wanted(View.PARTIAL, yaml, version)
    return None


def discovery_version(header: str) -> str:
    """ "v2" or "v2beta1" for aggregated discovery, "" for the plain one. Raises ApiError 406."""
    if not header.strip():
        return ""
    for clause in parse_accept(header):
        if clause.media_type not in _JSON:
            continue
        if not clause.params.get("as"):
            return ""
        version = clause.params.get("v", "")
        kind = (clause.params["as"], clause.params.get("g"))
        if kind == _AGGREGATED and version in ("v2", "v2beta1"):
            return version
    raise not_acceptable(OFFERED)
