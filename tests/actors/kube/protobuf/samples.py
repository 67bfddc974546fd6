"""Bodies as sent, with the JSON of the same objects, and a few bytes of one's own.

`bodies.jsonl`: what kubectl 1.32 sent for the command told (its JSON is that of `--dry-run=client`;
for `debug` that of the pod it copied), and what kubelet and kube-proxy write, as encoded by the
protobuf runtime with the descriptors published with Kubernetes 1.33.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple


class Sample(NamedTuple):
    origin: str
    body: bytes
    obj: dict[str, Any]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(held) for name, held in value.items() if held is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _read(line: str) -> Sample:
    record = json.loads(line)
    body = base64.b64decode(record["body"])
    return Sample(record["from"], body, _without_nulls(record["json"]))


LINES = Path(__file__).with_name("bodies.jsonl").read_text(encoding="utf-8").splitlines()
SAMPLES = [_read(line) for line in LINES]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sent(number: int, value: int | bytes) -> bytes:
    """One field on the wire."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def enveloped(api_version: str, kind: str, raw: bytes, more: bytes = b"") -> bytes:
    head = sent(1, api_version.encode()) + sent(2, kind.encode())
    return b"k8s\0" + sent(1, head) + sent(2, raw) + more
