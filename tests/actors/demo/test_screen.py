from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from actors.demo.figures import Figures, Step
from actors.demo.screen import human, render


def _figures(*states: str) -> Figures:
    figures = Figures("local", 3, 200, 50)
    figures.steps = [Step(f"s{n}", f"Step {n}", state) for n, state in enumerate(states)]
    return figures


@pytest.mark.parametrize("width", [60, 80, 150])
def test_tells_every_step_and_both_sums(width: int) -> None:
    out = StringIO()
    figures = _figures("passed", "running", "failed", "waiting")
    Console(file=out, width=width).print(render(figures, 12_000, 3_400_000))
    text = out.getvalue()
    for wanted in ("Step 0", "Step 3", "✔", "▶", "✘", "12.0 kB", "3.4 MB", "0.4 %"):
        assert wanted in text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.50 GB")]
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert human(size) == text


def test_passed_means_every_step() -> None:
    assert _figures("passed", "passed").passed
    assert not _figures("passed", "waiting").passed
    assert not _figures("passed", "failed").passed
    assert not Figures("local", 3, 1, 1).passed
