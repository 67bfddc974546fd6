"""What a bench found: figures for programs, rows for people, and under which conditions."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table; `good` is None where nothing was wanted."""

    label: str
    value: str
    wanted: str = ""
    good: bool | None = None


@dataclass
class Report:
    bench: str
    conditions: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conditions = {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 2),
            **self.conditions,
        }

    def add(self, label: str, value: str, wanted: str = "", good: bool | None = None) -> None:
        self.rows.append(Row(label, value, wanted, good))

    def at_most(self, label: str, value: float, bound: float, unit: str) -> None:
        """A row for a figure that should be below `bound`."""
        self.add(label, f"{value:.4g} {unit}", f"< {bound:g} {unit}", value < bound)

    def as_json(self) -> str:
        return json.dumps(asdict(self) | {"wanted_met": self.is_good})

    @property
    def is_good(self) -> bool:
        return all(row.good is not False for row in self.rows)

    def table(self) -> str:
        width = max((len(row.label) for row in self.rows), default=0)
        lines = [f"{self.bench}: " + ", ".join(f"{k} {v}" for k, v in self.conditions.items())]
        for row in self.rows:
            mark = {None: " ", True: "✔", False: "✘"}[row.good]
            wanted = f"(wanted {row.wanted})" if row.wanted else ""
            lines.append(f" {mark} {row.label:{width}}  {row.value}  {wanted}".rstrip())
        return "\n".join(lines)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds of a sample: how many, p50, p99, the worst."""
    return {
        "n": len(seconds),
        "p50_ms": round(1000 * statistics.median(seconds), 2),
        "p99_ms": round(1000 * quantile(seconds, 0.99), 2),
        "max_ms": round(1000 * max(seconds), 2),
    }


def human(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:.4g} GB"
