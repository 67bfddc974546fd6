"""A site in this process (on the local runtime) and in one of its own: start, reload, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import configs
from actors.runfile import AlreadyRunning
from actors.runtimes.local import LocalHandle, LocalRuntime
from actors.site import SiteRunner, make_site
from actors.specs import HostSpec, LogSettings
from tests.actors.processes import REPOSITORY, site_process
from tests.actors.toysite import ToyServer, ToySite, journal, write
from tests.actors.until import until


class OpenRuntime(LocalRuntime):
    """Lets a test reach for the handles, to kill hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: dict[str, LocalHandle] = {}
        self.starts: list[str] = []

    async def start_host(self, spec: HostSpec) -> LocalHandle:
        handle = await super().start_host(spec)
        self.handles[spec.name] = handle
        self.starts.append(spec.name)
        return handle


@pytest.fixture
def runtime() -> OpenRuntime:
    return OpenRuntime()


Running = Callable[..., Any]


@pytest.fixture
def running(runtime: OpenRuntime) -> Running:
    @asynccontextmanager
    async def run(path: Path, **options: Any) -> AsyncIterator[SiteRunner]:
        site = SiteRunner(
            path, runtime=runtime, make_site=ToySite, make_server=ToyServer, **options
        )
        await site.start()
        try:
            yield site
        finally:
            await site.stop()

    return run


async def word(site: SiteRunner, node: str = "node-1", actor: str = "a") -> str:
    status = await site.status()
    return str(status["hosts"][node]["actors"][actor]["status"]["word"])


async def is_ready(site: SiteRunner) -> bool:
    return not await site.why_not_ready()


async def eventually(condition: Callable[[], Any], what: str, timeout: float = 5.0) -> float:
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < timeout, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_site_starts_tells_where_it_is_and_leaves_nothing(
    running: Running, tmp_path: Path, runtime: OpenRuntime
) -> None:
    run_file = tmp_path / "state" / "run" / "pool-a.json"
    async with running(write(tmp_path, "node-1", "node-2")) as site:
        assert runtime.starts == ["node-1", "node-2"]
        assert await is_ready(site)
        told = json.loads(run_file.read_text())
        assert (told["site"], told["kind"], told["pid"]) == ("pool-a", "pool", os.getpid())
        assert told["servers"] == {"pool": site.server_urls["pool"]}
        async with aiohttp.ClientSession(told["health"]) as http:
            for page in ("/healthz", "/readyz"):
                async with http.get(page) as answer:
                    assert answer.status == 200
            async with http.get("/metrics") as answer:
                text = await answer.text()
            assert 'atoll_actor_up{actor="a",node="node-2",site="pool-a"} 1.0' in text
            assert 'atoll_host_up{host="node-1",site="pool-a"} 1.0' in text
            async with http.get("/status") as answer:
                status = await answer.json()
        assert status["hosts"]["node-1"]["actors"]["b"]["state"] == "running"
        assert status["servers"]["pool"]["up"]
    assert not run_file.exists()
    assert [line for line in journal(tmp_path, "node-2").lines() if "stopp" in line] == [
        *("b stopping", "b stopped", "a stopping", "a stopped")
    ]


async def test_one_node_of_a_site(running: Running, tmp_path: Path) -> None:
    async with running(write(tmp_path, "node-1", "node-2"), node="node-2") as site:
        assert list((await site.status())["hosts"]) == ["node-2"]
        assert (tmp_path / "state" / "run" / "pool-a.node-2.json").exists()


async def test_the_same_site_does_not_start_twice_on_one_state(
    running: Running, tmp_path: Path
) -> None:
    path = write(tmp_path, "node-1", "node-2")
    async with running(path) as site:
        for node in ("", "node-2"):
            with pytest.raises(AlreadyRunning, match=f"runs already, as process {os.getpid()}"):
                async with running(path, node=node):
                    pass
        assert await is_ready(site)
        assert (tmp_path / "state" / "run" / "pool-a.json").exists()
    async with running(path) as site:
        assert await is_ready(site)


async def test_a_killed_host_starts_anew_with_the_settings_of_now(
    running: Running, tmp_path: Path, runtime: OpenRuntime
) -> None:
    path = write(tmp_path, "node-1")
    async with running(path) as site:
        write(tmp_path, "node-1", hub={"stale_after": "7s"})
        await eventually(lambda: _is(site, "7"), "the edit applied")
        runtime.handles["node-1"].kill("gone")
        assert not await is_ready(site)
        assert await eventually(lambda: is_ready(site), "restarted") < 2.0
        assert await word(site) == "7"
        status = (await site.status())["hosts"]["node-1"]
        assert (status["restarts"], status["error"]) == (1, "gone")
        assert 'atoll_host_restarts{host="node-1",site="pool-a"} 1.0' in await site.metrics()


async def _is(site: SiteRunner, expected: str) -> bool:
    return await word(site) == expected


async def _told_both(tmp_path: Path) -> bool:
    return journal(tmp_path, "node-1").lines()[-2:] == ["a config 6", "b config 6"]


async def test_a_live_edit_takes_effect_within_a_second(running: Running, tmp_path: Path) -> None:
    logs: list[LogSettings] = []
    async with running(write(tmp_path, "node-1"), on_log=logs.append) as site:
        assert await word(site) == "5"
        write(tmp_path, "node-1", hub={"stale_after": "6s"}, log={"level": "debug"})
        assert await eventually(lambda: _told_both(tmp_path), "applied by both actors") < 1.0
        assert await _is(site, "6")
        assert logs == [LogSettings("INFO"), LogSettings("DEBUG")]
        assert "a stopping" not in journal(tmp_path, "node-1").lines()


async def test_what_actors_refuse_is_told_and_they_keep_the_old(
    running: Running, tmp_path: Path
) -> None:
    async with running(write(tmp_path, "node-1")) as site:
        write(tmp_path, "node-1", hub={"stale_after": "13s"})
        await eventually(lambda: _config_error(site, "node-1/a refused"), "told")
        assert await word(site) == "5"
        assert await is_ready(site)
        assert "atoll_config_ok" in (metrics := await site.metrics())
        assert any(
            line.startswith("atoll_config_ok{") and line.endswith(" 0.0")
            for line in metrics.splitlines()
        )
        write(tmp_path, "node-1", hub={"stale_after": "5s"})
        await eventually(lambda: _config_error(site, ""), "healed")


async def _config_error(site: SiteRunner, part: str) -> bool:
    error = (await site.status())["config"]["error"]
    return part in error if part else error == ""


async def test_a_broken_file_and_one_that_needs_a_restart_keep_the_last_good_one(
    running: Running, tmp_path: Path
) -> None:
    async with running(path := write(tmp_path, "node-1")) as site:
        path.write_text("kind: [")
        await eventually(lambda: _config_error(site, "site.yaml"), "broken")
        write(tmp_path, "node-1", name="other")
        await eventually(lambda: _config_error(site, "needs a restart: name"), "refused")
        assert await is_ready(site)
        write(tmp_path, "node-1")
        await eventually(lambda: _config_error(site, ""), "healed")


async def test_not_ready_says_why(running: Running, tmp_path: Path, runtime: OpenRuntime) -> None:
    async with running(write(tmp_path, "node-1")) as site:
        runtime.handles["node-1"].kill("gone")
        await asyncio.sleep(0)
        assert (await site.why_not_ready())[0].startswith("host node-1: ")


async def test_a_failing_start_leaves_nothing(running: Running, tmp_path: Path) -> None:
    class Broken(ToySite):
        def hosts(self, urls: Any) -> Any:
            raise ValueError("nodes: none is of this machine")

    path = write(tmp_path, "node-1")
    site = SiteRunner(path, runtime=LocalRuntime(), make_site=Broken, make_server=ToyServer)
    with pytest.raises(ValueError, match="none is of this machine"):
        await site.start()
    async with running(path) as again:  # the locks are free again
        assert await is_ready(again)


async def test_a_cancelled_start_stops_what_it_started(
    tmp_path: Path, runtime: OpenRuntime
) -> None:
    class Slow(ToyServer):
        async def start(self) -> None:
            await asyncio.Event().wait()

    path = write(tmp_path, "node-1")
    site = SiteRunner(path, runtime=runtime, make_site=ToySite, make_server=Slow)
    starting = asyncio.create_task(site.start())
    await until(lambda: site.health_url != "", "health")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert runtime.starts == []


async def test_a_broken_site_file_is_told_in_full(running: Running, tmp_path: Path) -> None:
    with pytest.raises(configs.ConfigError, match="hub"):
        async with running(write(tmp_path, "node-1", hub={"stale_aftr": "5s"})):
            pass


def test_the_entry_points_name_both_kinds_of_site() -> None:
    class Config:
        kind = "nothing"

    with pytest.raises(LookupError, match=r"no atoll\.sites entry point for kind 'nothing'"):
        make_site(Config(), "")  # type: ignore[arg-type]


async def test_ctrl_c_stops_in_order_and_says_so(tmp_path: Path) -> None:
    with site_process(write(tmp_path, "node-1")) as site:
        await site.up()
        site.send(signal.SIGINT)
        assert await site.ended() == 0
        assert "SIGINT: stopping in order" in site.log
        assert site.left() == []
    assert journal(tmp_path, "node-1").lines()[-1] == "a stopped"
    assert not list((tmp_path / "state" / "run").glob("*.json"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_second_signal_ends_at_once(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with site_process(write(tmp_path, "stuck")) as site:
        await site.up()
        site.send(signal.SIGTERM)
        await until(lambda: "stopping host stuck" in site.log, "the orderly stop begun")
        began = time.monotonic()
        site.send(number)
        assert await site.ended() == code
        assert time.monotonic() - began < 1.0
    assert not list((tmp_path / "state" / "run").glob("*.json"))


async def test_exit_codes_tell_a_bad_file_and_a_second_start(tmp_path: Path) -> None:
    path = write(tmp_path, "node-1")
    with site_process(path) as first:
        await first.up()
        second = await asyncio.to_thread(_run, path)
        assert second[0] == 3
        assert f"as process {first.process.pid}" in second[1]
        path.write_text("kind: pool\n")
        bad = await asyncio.to_thread(_run, path)
        assert bad[0] == 2
        assert "version" in bad[1]
        first.send(signal.SIGTERM)
        assert await first.ended() == 0


def _run(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.toysite", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.returncode, done.stderr
