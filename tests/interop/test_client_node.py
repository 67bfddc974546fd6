"""`@kubernetes/client-node`: informers of services and endpoint slices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import kill_and_start
from tests.interop.samples import collection, endpoint_slice, service
from tests.interop.target import DEADLINE, Api, Target, version_of
from tests.interop.world import World

HERE = Path(__file__).with_name("node")
PACKAGE = "@kubernetes/client-node"

CONNECT = ("services", "connect")

Json = dict[str, Any]


@pytest.fixture(scope="session")
def modules() -> None:
    """Installed once, beside the script and ignored by git; a missing npm is a failure."""
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"][PACKAGE]
    there = HERE / "node_modules" / PACKAGE / "package.json"
    if there.exists() and json.loads(there.read_text())["version"] == wanted:
        return
    flags = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(
        ["npm", "install", *flags, "--prefix", str(HERE)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Informers:
    """What the script tells."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.told: list[Json] = []
        self._process = process

    async def until(self, reached: Callable[[Json], bool], timeout: float = DEADLINE) -> Json:
        """The next line that is wanted."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                while line := await self._process.stdout.readline():
                    self.told.append(json.loads(line))
                    if reached(self.told[-1]):
                        return self.told[-1]
        except TimeoutError:
            raise AssertionError(f"not told within {timeout} s: {self.told}") from None
        assert self._process.stderr is not None
        raise AssertionError((await self._process.stderr.read()).decode())

    async def event(self, of: str, event: str, name: str) -> Json:
        return await self.until(lambda told: _is(told, of, event, name))

    def count(self, of: str, event: str) -> int:
        return sum((each["of"], each["event"]) == (of, event) for each in self.told)


def _is(told: Json, of: str, event: str, name: str) -> bool:
    return (told["of"], told["event"], told.get("name")) == (of, event, name)


@contextlib.asynccontextmanager
async def informing(target: Target, ns: str, seconds: int) -> AsyncIterator[Informers]:
    async with informing_by(target.reads.kubeconfig, ns, seconds) as informers:
        yield informers


@contextlib.asynccontextmanager
async def informing_by(kubeconfig: Path, ns: str, seconds: int) -> AsyncIterator[Informers]:
    pipe = asyncio.subprocess.PIPE
    script = [str(HERE / "informer.mjs"), str(kubeconfig), ns, str(seconds)]
    process = await asyncio.create_subprocess_exec(
        "node", *script, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield Informers(process)
    finally:
        await process.communicate(b"")
    assert process.returncode == 0


@pytest.mark.usefixtures("modules")
async def test_initial_list_and_events(target: Target, reads: Api, writes: Api, ns: str) -> None:
    made = await writes.create(service("a"), ns)
    slice_ = await writes.create(endpoint_slice("a"), ns)
    await reads.sees(collection("Service", ns), version_of(made))
    await reads.sees(collection("EndpointSlice", ns), version_of(slice_))
    async with informing(target, ns, 60) as informers:
        first = await informers.event("services", "add", "a")
        assert first["version"] == str(version_of(made))
        await informers.event("endpointslices", "add", "a")
        made = await writes.create(service("b"), ns)
        added = await informers.event("services", "add", "b")
        assert (added["version"], added["held"]) == (str(version_of(made)), 2)
        change = {"metadata": {"labels": {"x": "y"}}}
        changed = await writes.patch("EndpointSlice", ns, "a", change)
        updated = await informers.event("endpointslices", "update", "a")
        assert updated["version"] == str(version_of(changed))
        await writes.delete("Service", ns, "a")
        assert (await informers.event("services", "delete", "a"))["held"] == 1
        await writes.delete("EndpointSlice", ns, "a")
        assert (await informers.event("endpointslices", "delete", "a"))["held"] == 0
        assert [informers.count(of, "error") for of in ("services", "endpointslices")] == [0, 0]


@pytest.mark.usefixtures("modules")
async def test_it_goes_on_after_each_end(target: Target, reads: Api, writes: Api, ns: str) -> None:
    """The server ends each watch after a second: nothing is told twice, nothing is missed."""
    made = await writes.create(service("a"), ns)
    await reads.sees(collection("Service", ns), version_of(made))
    async with informing(target, ns, 1) as informers:
        await informers.event("services", "add", "a")
        for name in ("b", "c"):
            await informers.until(lambda told: (told["of"], told["event"]) == CONNECT)
            await writes.create(service(name), ns)
            await informers.event("services", "add", name)
        await writes.delete("Service", ns, "a")
        await informers.event("services", "delete", "a")
    told = [(each["event"], each["name"]) for each in informers.told if "name" in each]
    assert told == [("add", "a"), ("add", "b"), ("add", "c"), ("delete", "a")]
    assert informers.count("services", "connect") >= 3
    assert informers.count("services", "error") == 0


@pytest.mark.usefixtures("modules")
async def test_it_comes_back_after_a_crash(own_target: Target, world: World) -> None:
    """The server is killed with the watch open; what changed meanwhile is told afterwards."""
    async with own_target.writes.open() as writes, informing(own_target, "default", 60) as told:
        await told.event("services", "add", "kubernetes")
        await told.event("endpointslices", "add", "kubernetes")
        await kill_and_start(own_target, world)
        await writes.create(service("after"), "default")
        await told.event("services", "add", "after")
        await writes.delete("Service", "default", "after")
        await told.event("services", "delete", "after")
        assert told.count("services", "error") >= 1
