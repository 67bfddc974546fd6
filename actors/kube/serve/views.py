"""How one object, a list and a watch event look in the view the client wants. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import yaml

from actors.kube import table
from actors.kube.meta import metadata_only
from actors.kube.resource import Resource
from actors.kube.serve.negotiate import View, Wanted

Render = Callable[[bytes], bytes]


def to_yaml(value: object) -> bytes:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, default_flow_style=False, sort_keys=True)
    return text.encode()


class Presenter(NamedTuple):
    """One request's view of one resource. Equal ones give equal bytes (but for ages in tables)."""

    resource: Resource
    wanted: Wanted
    include: str = "Metadata"  # of the object in table rows

    # -- single objects ---------------------------------------------------------------------------

    def one(self, raw: bytes) -> bytes:
        """The object as JSON, in its view."""
        if self.wanted.view is View.PARTIAL:
            return metadata_only(raw, version=self.wanted.version)
        if self.wanted.view is View.TABLE:
            return self._table_of([raw], msgspec.json.decode(raw).get("metadata", {}))
        return raw

    def body(self, raw: bytes) -> bytes:
        """The same, in YAML where asked."""
        shown = self.one(raw)
        return to_yaml(msgspec.json.decode(shown)) if self.wanted.yaml else shown

    def _table_of(self, raws: Sequence[bytes], metadata: dict[str, Any]) -> bytes:
        layout = table.layout_of(self.resource)
        kept = {k: v for k, v in metadata.items() if k in ("resourceVersion", "continue")}
        rows = [table.row(layout, raw, time.time(), self.include) for raw in raws]
        return table.head(layout, self.wanted.version, kept) + b",".join(rows) + b"]}"

    # -- lists ------------------------------------------------------------------------------------

    def item(self) -> Render:
        """What turns an object into a list's item."""
        if self.wanted.view is View.TABLE:
            layout, now, include = table.layout_of(self.resource), time.time(), self.include
            return lambda raw: table.row(layout, raw, now, include)
        render = self.one if self.wanted.view is View.PARTIAL else _as_is
        if self.wanted.yaml:
            return lambda raw: to_yaml([msgspec.json.decode(render(raw))])
        return render

    def frame(self, metadata: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        """(head, separator, tail) around the items."""
        kind, api_version = self.resource.list_kind_or_default, self.resource.api_version
        if self.wanted.view is View.TABLE:
            layout = table.layout_of(self.resource)
            return table.head(layout, self.wanted.version, metadata), b",", b"]}"
        if self.wanted.view is View.PARTIAL:
            kind = "PartialObjectMetadataList"
            api_version = f"meta.k8s.io/{self.wanted.version}"
        start = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
        if self.wanted.yaml:
            return to_yaml(start) + b"items:\n", b"", b""
        return msgspec.json.encode(start)[:-1] + b',"items":[', b",", b"]}"

    # -- watches ----------------------------------------------------------------------------------

    def bookmark(self, version: int, is_initial_end: bool) -> bytes:
        """The object of a BOOKMARK event."""
        metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
        if is_initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind, api_version = self.resource.kind, self.resource.api_version
        if self.wanted.view is View.TABLE:
            layout = table.layout_of(self.resource)
            return table.head(layout, self.wanted.version, metadata) + b"]}"
        if self.wanted.view is View.PARTIAL:
            kind, api_version = "PartialObjectMetadata", f"meta.k8s.io/{self.wanted.version}"
        return msgspec.json.encode({"kind": kind, "apiVersion": api_version, "metadata": metadata})


def _as_is(raw: bytes) -> bytes:
    return raw


def event_line(type_: str, obj: bytes) -> bytes:
    return b"".join((EVENT_START[type_], obj, EVENT_END))


EVENT_START = {
    name: b'{"type":"%s","object":' % name.encode()
    for name in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
}
EVENT_END = b"}\n"
