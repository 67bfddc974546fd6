"""The embedded server: starts, survives, stops, and is never left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.demo.wan import Wan
from bus.connection import Connection
from bus.errors import BusError, ServerFailed, StorageFull
from bus.jetstream import ensure_stream, last
from bus.jetstream import store as put
from bus.server import ServerUser
from bus.server.files import running_pid
from tests.bus.heard import SOON, Heard
from tests.bus.server.conftest import Make

LinkTo = Callable[..., Connection]
STREAM = {"name": "S", "subjects": ["s.>"], "storage": "file", "allow_direct": True}


async def until(condition: Callable[[], bool]) -> None:
    """For what nothing tells us of: another process's end."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def test_starts_quickly_and_stops_without_a_trace(make: Make, store: Path) -> None:
    server = make()
    began = time.monotonic()
    await server.start()
    assert time.monotonic() - began < 3
    pid = server.pid
    assert pid is not None
    assert server.url.startswith("nats://127.0.0.1:")
    await server.stop()
    await server.stop()
    assert not is_alive(pid)
    assert (server.pid, server.is_up) == (None, False)
    assert not list(store.glob("*.ports"))


async def test_listens_on_loopback_only(make: Make) -> None:
    server = make()
    await server.start()
    port = int(server.url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {row[1].partition(":")[0] for row in rows if int(row[1].partition(":")[2], 16) == port}
    listening = {row[1] for row in rows if row[3] == "0A"}
    assert f"0100007F:{port:04X}" in listening
    assert bound == {"0100007F"}


async def test_the_port_is_kept_from_start_to_start(make: Make) -> None:
    first, second = make(), make()
    await first.start()
    await first.stop()
    await second.start()
    assert second.url == first.url


async def test_another_port_if_it_was_taken_meanwhile(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(), make()
    await first.start()
    port = int(first.url.rpartition(":")[2])
    await first.stop()
    with socket.create_server(("127.0.0.1", port)):
        await second.start()
        assert second.url != first.url
    assert "taken" in caplog.text


async def test_a_fixed_port_that_is_taken_is_an_error(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = make(port=taken.getsockname()[1])
        with pytest.raises(ServerFailed, match="address already in use"):
            await server.start()
    assert not server.is_up


async def test_what_it_said_is_in_the_error(make: Make) -> None:
    server = make(users=(ServerUser("no key at all", (">",), (">",)),))
    with pytest.raises(ServerFailed, match="nkey"):
        await server.start()


async def test_a_start_that_is_cancelled_leaves_nothing(make: Make, store: Path) -> None:
    server = make()
    task = asyncio.create_task(server.start())
    await until(lambda: running_pid(store) is not None or task.done())
    pid = running_pid(store)
    task.cancel()
    await asyncio.wait([task])
    await server.stop()
    assert pid is None or not is_alive(pid)


async def test_killed_it_comes_back_with_links_and_data(
    make: Make, link: LinkTo, caplog: pytest.LogCaptureFixture
) -> None:
    server, heard, exits = make(), Heard(), list[str]()
    await server.start()
    server.on_exit(exits.append)
    connection = link("admin", server.url)
    await connection.start()
    await connection.wait_up(SOON)
    await connection.subscribe("t.back", heard)
    await ensure_stream(connection, STREAM, SOON)
    await put(connection, "s.a", b"kept", {}, SOON)
    url, pid, down, up = server.url, server.pid, asyncio.Event(), asyncio.Event()
    connection.on_link(lambda is_up: up.set() if is_up else down.set())
    assert pid is not None
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await asyncio.wait_for(down.wait(), SOON)
    await asyncio.wait_for(up.wait(), SOON)
    assert time.monotonic() - began < 3
    assert server.url == url
    assert server.pid not in (None, pid)
    assert server.restarts == len(exits) == 1
    await connection.publish("t.back", b"")
    await heard.at_least(1)
    stored = await last(connection, "S", "s.a", SOON)
    assert stored is not None
    assert stored.data == b"kept"
    assert "ended unasked" in caplog.text


async def test_it_keeps_trying_to_come_back(
    make: Make, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails: here its configuration is broken for a while."""
    server = make()
    await server.start()
    pid = server.pid
    assert pid is not None
    port = int(server.url.rpartition(":")[2])
    config = store / "users.conf"
    users = config.read_text()
    config.write_text("no such thing {")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.restarts >= 2)
    assert not server.is_up
    config.write_text(users)
    await until(lambda: server.is_up)
    assert int(server.url.rpartition(":")[2]) == port
    assert "did not come back" in caplog.text


async def test_stop_while_it_is_coming_back(make: Make, store: Path) -> None:
    server = make()
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.restarts == 1)
    await server.stop()
    assert running_pid(store) is None


async def test_killed_owner_leaves_no_server(store: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bus.server.owner", str(store), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    url, pid = (await asyncio.wait_for(owner.stdout.readline(), 20)).decode().split()
    assert url.startswith("nats://")
    assert is_alive(int(pid))
    owner.kill()
    await owner.wait()
    await until(lambda: not is_alive(int(pid)))
    assert running_pid(store) is None


async def test_the_guard_s_death_is_mended(make: Make) -> None:
    server = make()
    await server.start()
    pid, url = server.pid, server.url
    assert pid is not None
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    await until(lambda: not is_alive(pid))
    await until(lambda: server.is_up and server.pid not in (None, pid))
    assert server.url == url


async def test_a_frozen_server_is_stopped_by_force(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.server.embedded.STOP_SECONDS", 0.2)
    server = make()
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(SOON):
        await server.stop()
    assert not is_alive(pid)


async def test_dead_clients_are_noticed(make: Make, link: LinkTo) -> None:
    """Whoever asks one that is gone hears so, instead of waiting for him."""
    server = make(silence_seconds=0.6)
    await server.start()
    async with Wan(int(server.url.rpartition(":")[2])) as wan:
        far = link("admin", f"nats://127.0.0.1:{wan.port}")
        near = link("admin", server.url, ping_seconds=0.2)
        for connection in (far, near):
            await connection.start()
            await connection.wait_up(SOON)
        await far.subscribe("t.dead", lambda message: None)
        await far.flush(SOON)
        wan.cut()
        began = time.monotonic()
        while time.monotonic() - began < SOON:
            try:
                await near.request("t.dead", b"", timeout=0.1)
            except BusError as error:
                if type(error).__name__ == "NoResponders":
                    break
        assert time.monotonic() - began < 0.6 + 0.3
        await far.close()


async def test_storage_is_bounded(make: Make, link: LinkTo) -> None:
    server = make(storage_bytes=1 << 20)
    await server.start()
    connection = link("admin", server.url)
    await connection.start()
    await connection.wait_up(SOON)
    await ensure_stream(connection, STREAM, SOON)
    for number in (1, 2):  # the bound is looked at before a message is added
        await put(connection, f"s.{number}", b"x" * (600 << 10), {}, SOON)
    with pytest.raises(StorageFull):
        await put(connection, "s.3", b"x", {}, SOON)


@pytest.mark.parametrize("always", [False, True])
async def test_sync_interval_is_set_on_purpose(make: Make, store: Path, always: bool) -> None:
    server = make(sync_always=always)
    await server.start()
    wanted = '"sync_interval": "always"' if always else '"sync_interval": "2m"'
    assert wanted in (store / "nats.conf").read_text()


async def test_nothing_is_logged_for_an_orderly_life(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = make()
    await server.start()
    await server.stop()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
