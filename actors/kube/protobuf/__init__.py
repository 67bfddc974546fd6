"""Kubernetes objects sent as protobuf, read into what they are in JSON. Pure.

kubectl's generators, the kubelet and kube-proxy write so: `k8s\\0`, then the message
`runtime.Unknown` that tells apiVersion and kind and holds the object's bytes (Kubernetes API
concepts, "Protobuf encoding"). Nothing here writes protobuf: those clients read JSON.

* `decode`         a body to an object: start here
* `groups/`        the field tables, one file for each API group; `tables.py` has their notation
* `reader.py`      bytes to JSON by the tables
* `wire.py`        bytes to numbered fields
"""

from __future__ import annotations

from typing import Any

from actors.kube.protobuf.errors import NotKnown, Undecodable
from actors.kube.protobuf.groups import KINDS, KINDS_OF_ANY_GROUP, messages
from actors.kube.protobuf.reader import Reader

__all__ = ["CONTENT_TYPE", "NotKnown", "Undecodable", "decode"]

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"
MAX_SIZE = 3 * 1024 * 1024  # bytes, as upstream; who serves may stop larger bodies before
MAX_FIELDS = 250_000  # under a second to read; a megabyte of small config map keys has less


def decode(body: bytes) -> dict[str, Any]:
    """The object, `apiVersion` and `kind` first.

    Raises Undecodable for bytes that are no such object, NotKnown where no table tells what they
    mean: never a wrong or lessened object.
    """
    if not body.startswith(MAGIC):
        raise Undecodable(f"a protobuf body starts with {MAGIC!r}")
    if len(body) > MAX_SIZE:
        raise Undecodable(f"a body of over {MAX_SIZE} bytes")
    reader = Reader(messages(), MAX_FIELDS)
    envelope: dict[str, Any] = reader.read("meta.Unknown", body[len(MAGIC) :])
    if "contentEncoding" in envelope:
        raise NotKnown(f"content encoding {envelope['contentEncoding']!r}")
    if envelope.get("contentType", CONTENT_TYPE) != CONTENT_TYPE:
        raise NotKnown(f"content type {envelope['contentType']!r} in the envelope")
    head: dict[str, Any] = envelope.get("typeMeta", {})
    name = _message_of(head.get("apiVersion", ""), head.get("kind", ""))
    if "raw" not in envelope:
        raise Undecodable("the envelope is empty")  # even of an empty object it tells the length
    obj: dict[str, Any] = reader.read(name, envelope["raw"])
    return head | obj


def _message_of(api_version: str, kind: str) -> str:
    if not kind:
        raise Undecodable("Object 'Kind' is missing")
    name = KINDS.get((api_version, kind)) or KINDS_OF_ANY_GROUP.get(kind)
    if name is None:
        raise NotKnown(f"kind {kind} of {api_version or 'no version'}")
    return name
