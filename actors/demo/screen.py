"""What a person sees while the demo runs: the story's steps, and two bars of traffic."""

from __future__ import annotations

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from actors.demo.figures import Figures, Step

_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "passed": ("✔", "bold green"),
    "failed": ("✘", "bold red"),
}


def render(figures: Figures, wan_bytes: int, native_bytes: int) -> RenderableType:
    """The whole picture, from figures alone."""
    subtitle = (
        f"{figures.nodes} nodes · {figures.services} services × {figures.endpoints} endpoints · "
        f"runtime {figures.runtime} · Ctrl-C ends it"
    )
    body = Group(_steps(figures.steps), Text(), _traffic(wan_bytes, native_bytes))
    return Panel(body, title="Atoll", subtitle=subtitle, border_style="cyan", padding=(1, 2))


def _steps(steps: list[Step]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for step in steps:
        mark, style = _MARKS[step.state]
        table.add_row(
            Text(mark, style=style),
            Text(step.title, style=style if step.state != "passed" else ""),
            Text(step.detail, style="red" if step.state == "failed" else "dim"),
        )
    return table


def _traffic(wan_bytes: int, native_bytes: int) -> Table:
    """Both on one scale: what crossed the WAN, and what plain Kubernetes would have sent."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", min_width=10)
    table.add_column(ratio=1)
    top = max(wan_bytes, native_bytes, 1)
    rows = (("Atoll, over the WAN", wan_bytes, "green"), ("plain Kubernetes", native_bytes, "red"))
    for label, size, colour in rows:
        table.add_row(label, human(size), Bar(top, 0, size, color=colour))
    if native_bytes and wan_bytes:
        table.add_row("", f"{100 * wan_bytes / native_bytes:.1f} %", Text("of it", style="dim"))
    return table


def human(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
