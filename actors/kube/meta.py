"""Surgery on raw JSON objects: read or change metadata without decoding the rest."""

from __future__ import annotations

from typing import Any

import msgspec

_top = msgspec.json.Decoder(dict[str, msgspec.Raw])


def with_resource_version(raw: bytes, version: int) -> bytes:
    """The same object with another `metadata.resourceVersion`; all else byte by byte as it was."""
    members = _top.decode(raw)
    metadata = _top.decode(members["metadata"]) if "metadata" in members else {}
    metadata["resourceVersion"] = msgspec.Raw(b'"%d"' % version)
    members["metadata"] = msgspec.Raw(msgspec.json.encode(metadata))
    return msgspec.json.encode(members)


def metadata_only(raw: bytes, version: str = "v1") -> bytes:
    """The object as PartialObjectMetadata of meta.k8s.io/`version`."""
    metadata = _top.decode(raw).get("metadata", msgspec.Raw(b"{}"))
    kept: dict[str, Any] = {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
    }
    return msgspec.json.encode(kept)
