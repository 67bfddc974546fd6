"""Puts the demo together: world, story, and a screen or a line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from actors import log
from actors.demo.figures import Figures
from actors.demo.screen import human, render
from actors.demo.story import Story
from actors.demo.workload import Workload
from actors.demo.world import NODES, World
from actors.runtimes import create
from actors.specs import LogSettings

STOP_SECONDS = 20.0
REPAINT = 0.15  # seconds


@dataclass(frozen=True)
class DemoOptions:
    seconds: float = 60.0  # of the story, start and stop not counted
    runtime: str = "ray"
    headless: bool = False
    as_json: bool = False
    services: int = 200
    endpoints: int = 50  # OpenYurt's published load has 50 a service


class Demo:
    """One run of it. `kill` is for the second Ctrl-C."""

    def __init__(self, options: DemoOptions) -> None:
        self._options = options
        self._runtime = create(options.runtime)
        self._world: World | None = None
        self.figures = Figures(options.runtime, len(NODES), options.services, options.endpoints)

    async def run(self) -> int:
        """0 if every step passed, else 1. Cancelled: stops what it started, then raises."""
        # Cuts are part of the story: only surprises are told.
        log.setup(LogSettings(level="ERROR"))
        with tempfile.TemporaryDirectory(prefix="atoll-", ignore_cleanup_errors=True) as directory:
            self._world = world = World(Path(directory), self._runtime, self._options.runtime)
            try:
                await self._tell_story(world)
            finally:
                await world.stop()
                await self._runtime.stop(STOP_SECONDS)
        _report(self.figures, self._options)
        return 0 if self.figures.passed else 1

    def kill(self) -> None:
        """Everything, at once."""
        if self._world is not None:
            self._world.kill()
        self._runtime.kill()

    async def _tell_story(self, world: World) -> None:
        options = self._options
        workload = Workload(options.services, options.endpoints, NODES)
        if options.headless or not sys.stdout.isatty():
            tell = _progress(self.figures)
            await Story(world, workload, self.figures, options.seconds, tell).run()
            return
        story = Story(world, workload, self.figures, options.seconds)
        with Live(console=Console(), refresh_per_second=8) as live:
            painting = asyncio.create_task(_paint(live, story, world), name="demo screen")
            try:
                await story.run()
            finally:
                painting.cancel()
                await asyncio.wait([painting])
                live.update(_picture(story, world))


async def _paint(live: Live, story: Story, world: World) -> None:
    while True:
        live.update(_picture(story, world))
        await asyncio.sleep(REPAINT)


def _picture(story: Story, world: World) -> RenderableType:
    return render(story.figures, world.wan_bytes(), story.clients.native_bytes())


def _progress(figures: Figures) -> Callable[[], None]:
    """A line to stderr for each step that ended."""
    told: set[str] = set()

    def tell() -> None:
        for step in figures.steps:
            if step.state in ("passed", "failed") and step.name not in told:
                told.add(step.name)
                line = f"{step.state:7} {step.name:11} {step.seconds:6.1f} s  {step.detail}"
                log.to_stderr(line + "\n")

    return tell


def _report(figures: Figures, options: DemoOptions) -> None:
    if options.as_json:
        sys.stdout.write(json.dumps(figures.as_json()) + "\n")
        return
    verdict = "every step passed" if figures.passed else "a step FAILED"
    sys.stdout.write(
        f"{verdict}: WAN {human(figures.wan_steady_bytes)} for "
        f"{human(figures.native_steady_bytes)} of plain Kubernetes "
        f"({figures.wan_share_percent} %), change to node p50 {figures.latency_p50_ms} ms, "
        f"takeover {figures.takeover_seconds} s, catch-up {figures.catchup_seconds} s\n"
    )
