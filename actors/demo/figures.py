"""What the demo found out, for programs (`--json`) and for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Step:
    """One act of the story: passed, failed with a reason, or not reached."""

    name: str
    title: str
    state: str = "waiting"  # waiting, running, passed, failed
    detail: str = ""
    seconds: float = 0.0


@dataclass
class Figures:
    """Units are in the names. `wan_*` is TCP payload, both ways, of all nodes' cloud links."""

    runtime: str
    nodes: int
    services: int
    endpoints: int
    start_seconds: float = 0.0
    changes: int = 0  # written to the API server in the steady step
    wan_steady_bytes: int = 0
    native_steady_bytes: int = 0  # to as many clients directly on the API server, gzip'd lists
    wan_share_percent: float = 0.0
    latency_p50_ms: float = 0.0  # write sent to the API server → event at a node's client
    latency_p99_ms: float = 0.0
    takeover_seconds: float = 0.0  # black hole → a later change is at every node
    cut_seconds: float = 0.0
    cut_changes: int = 0
    catchup_seconds: float = 0.0  # heal → every node equals the API server
    catchup_bytes: int = 0
    client_lists: int = 0  # lists per client over the whole story; 1 is right
    steps: list[Step] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.steps) and all(step.state == "passed" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}
