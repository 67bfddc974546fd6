"""The steps of the differential test, as they are in its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent
RECORDED, VARIANTS = HERE / "recorded.jsonl", HERE / "variants.jsonl"
SHARED = "differ-shared"
"""The namespace that is only read, by both sides."""
OWN = "differ-00-rec"
"""Stands for a session's own namespace, which each side has; all are of this length, since bodies
in protobuf tell lengths."""

Json = dict[str, Any]


class Step(msgspec.Struct, omit_defaults=True, frozen=True):
    """One request. Sessions that write have a namespace of their own and run after the others.

    `keep`: names for parts of the answer, as "metadata.resourceVersion"; they are put where later
    paths and bodies of the session have "{name}". A watch with `open` goes on until a later step
    `ends` it, of which it must then have told `take` events.
    """

    session: str
    path: str = ""
    method: str = "GET"
    agent: str = ""
    headers: dict[str, str] = {}
    body: Any = None  # JSON
    raw: str = ""  # base64, what is not
    keep: dict[str, str] = {}
    open: str = ""
    ends: str = ""
    take: int = 0

    @property
    def writes(self) -> bool:
        return self.session.startswith("write")

    @property
    def is_watch(self) -> bool:
        return self.method == "GET" and ("watch=" in self.path or "/watch/" in self.path)

    def __str__(self) -> str:
        return f"[{self.session}] {self.agent}: {self.method} {self.path}"


def load(path: Path) -> list[Step]:
    return [msgspec.json.decode(line, type=Step) for line in path.read_bytes().splitlines()]


def text_of(steps: Iterable[Step]) -> bytes:
    return b"".join(msgspec.json.encode(step) + b"\n" for step in steps)
