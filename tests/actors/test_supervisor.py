"""The supervisor, on a runtime that does what the test says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.backoff import RestartPolicy
from actors.runner import SettingsRefused
from actors.runtimes import HostGone
from actors.specs import HostSpec, LogSettings
from actors.supervisor import HostSupervisor
from tests.actors.samples import host, toy
from tests.actors.until import until

QUICK = RestartPolicy(first=0.01, ceiling=0.02)


class ScriptedHandle:
    def __init__(self, spec: HostSpec) -> None:
        self.name = spec.name
        self.pid = 1
        self.settings = {actor.name: actor.settings for actor in spec.actors}
        self.log = spec.log
        self.stops: list[float] = []
        self.death = asyncio.get_running_loop().create_future()
        self.refuse = ""

    async def status(self) -> dict[str, Any]:
        self._check()
        return {"state": "running", "ready": True}

    async def metrics(self) -> str:
        self._check()
        return "text"

    async def configure(self, actor: str, settings: Any) -> None:
        self._check()
        if settings.word == self.refuse:
            raise SettingsRefused("no")
        self.settings[actor] = settings

    async def set_log(self, settings: LogSettings) -> None:
        self._check()
        self.log = settings

    async def stop(self, deadline: float) -> None:
        self.stops.append(deadline)

    async def wait_exit(self) -> str:
        return str(await asyncio.shield(self.death))

    def die(self, reason: str) -> None:
        self.death.set_result(reason)

    def _check(self) -> None:
        if self.death.done():
            raise HostGone(self.death.result())


class ScriptedRuntime:
    name = "scripted"

    def __init__(self) -> None:
        self.handles: list[ScriptedHandle] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None: ...

    async def start_host(self, spec: HostSpec) -> ScriptedHandle:
        if self.failures:
            raise self.failures.pop(0)
        handle = ScriptedHandle(spec)
        self.handles.append(handle)
        await self.gate.wait()
        return handle

    async def stop(self, deadline: float) -> None: ...

    def kill(self) -> None: ...


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
def spec(tmp_path: Path) -> HostSpec:
    return host(tmp_path, toy("a", tmp_path / "journal", word="old"))


def with_word(spec: HostSpec, word: str) -> HostSpec:
    actor = spec.actors[0]
    return replace(spec, actors=(replace(actor, settings=replace(actor.settings, word=word)),))


async def test_a_dead_host_is_started_anew_and_the_death_stays_visible(
    runtime: ScriptedRuntime, spec: HostSpec
) -> None:
    changes: list[str] = []
    supervisor = HostSupervisor(runtime, spec, lambda: changes.append("x"), QUICK)
    await supervisor.start()
    runtime.handles[0].die("killed by signal 9")
    await until(lambda: len(runtime.handles) == 2, "a new host")
    await until(lambda: supervisor.handle is runtime.handles[1], "it runs")
    status = await supervisor.status()
    assert (status["state"], status["restarts"]) == ("running", 1)
    assert status["error"] == "killed by signal 9"
    assert runtime.handles[0].stops == [0.0]  # nothing of the old one stays
    assert changes
    await supervisor.stop(1.0)
    assert runtime.handles[1].stops == [1.0]


async def test_failing_starts_are_a_visible_crash_loop_and_heal(
    runtime: ScriptedRuntime, spec: HostSpec
) -> None:
    runtime.failures = [HostGone("no Ray"), *(RuntimeError("odd") for _ in range(3))]
    supervisor = HostSupervisor(runtime, spec, policy=QUICK)
    await supervisor.start()
    status = await supervisor.status()
    assert (status["state"], status["error"], status["ready"]) == ("backoff", "no Ray", False)
    await until(lambda: supervisor.restarts >= 3, "three restarts")
    assert (await supervisor.status())["state"] == "crash-looping"
    await until(lambda: supervisor.handle is not None, "healed")
    assert (await supervisor.status())["ready"]
    await supervisor.stop(1.0)


async def test_a_restart_takes_the_settings_of_now_but_not_refused_ones(
    runtime: ScriptedRuntime, spec: HostSpec
) -> None:
    supervisor = HostSupervisor(runtime, spec, policy=QUICK)
    await supervisor.start()
    runtime.handles[0].refuse = "bad"
    assert await supervisor.configure(with_word(spec, "new")) == {}
    assert await supervisor.configure(with_word(spec, "bad")) == {"a": "no"}
    runtime.handles[0].die("x")
    await until(lambda: len(runtime.handles) == 2, "a new host")
    assert runtime.handles[1].settings["a"].word == "new"
    await supervisor.stop(1.0)


async def test_settings_for_a_dead_host_wait_for_its_restart(
    runtime: ScriptedRuntime, spec: HostSpec
) -> None:
    supervisor = HostSupervisor(runtime, spec, policy=RestartPolicy(first=0.05))
    await supervisor.start()
    runtime.handles[0].die("x")
    edit = replace(with_word(spec, "new"), log=LogSettings("DEBUG"))
    assert await supervisor.configure(edit) == {}
    await until(lambda: len(runtime.handles) == 2, "a new host")
    assert runtime.handles[1].settings["a"].word == "new"
    assert runtime.handles[1].log == LogSettings("DEBUG")
    await supervisor.stop(1.0)


async def test_settings_that_come_during_a_start_are_applied_after_it(
    runtime: ScriptedRuntime, spec: HostSpec
) -> None:
    runtime.gate.clear()
    supervisor = HostSupervisor(runtime, spec, policy=QUICK)
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: bool(runtime.handles), "starting")
    assert await supervisor.configure(with_word(spec, "late")) == {}
    runtime.gate.set()
    await starting
    await until(lambda: runtime.handles[0].settings["a"].word == "late", "applied")
    assert supervisor.spec.actors[0].settings.word == "late"
    await supervisor.stop(1.0)


async def test_log_settings_reach_a_running_host(runtime: ScriptedRuntime, spec: HostSpec) -> None:
    supervisor = HostSupervisor(runtime, spec, policy=QUICK)
    await supervisor.start()
    await supervisor.configure(replace(spec, log=LogSettings("DEBUG")))
    assert runtime.handles[0].log == LogSettings("DEBUG")
    await supervisor.stop(1.0)


async def test_a_stop_during_the_start_ends_it(runtime: ScriptedRuntime, spec: HostSpec) -> None:
    runtime.gate.clear()
    supervisor = HostSupervisor(runtime, spec, policy=QUICK)
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: bool(runtime.handles), "starting")
    await supervisor.stop(1.0)
    await starting
    assert (await supervisor.status())["state"] == "stopped"
    await supervisor.stop(1.0)
