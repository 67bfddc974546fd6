"""Users of a running server: added, revoked, and kept where the new ones are wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.errors import BusDown, ServerFailed
from bus.server import ServerUser, reload, write_users
from bus.server.files import running_pid
from tests.bus.heard import SOON, Heard
from tests.bus.rig import Rig
from tests.bus.server.conftest import Make

LinkTo = Callable[..., Connection]


async def opened(link: LinkTo, who: str, url: str) -> Connection:
    connection = link(who, url)
    await connection.start()
    await connection.wait_up(SOON)
    return connection


async def test_enrolled_while_others_talk(make: Make, link: LinkTo, rig: Rig, store: Path) -> None:
    server = make()
    await server.start()
    admin = await opened(link, "admin", server.url)
    heard, links = Heard(), list[bool]()
    await admin.subscribe("beat.>", heard)
    admin.on_link(links.append)
    await server.set_users((rig.user("admin"), rig.user("cloud-1")))
    node = await opened(link, "cloud-1", server.url)
    await node.publish("beat.pool-a.n1", b"")
    await heard.at_least(1)
    assert links == []


async def test_revoked_is_hung_up_on_and_stays_out(make: Make, link: LinkTo, rig: Rig) -> None:
    server = make(users=(rig.user("admin"), rig.user("cloud-1")))
    await server.start()
    admin, node = await opened(link, "admin", server.url), await opened(link, "cloud-1", server.url)
    down = asyncio.Event()
    node.on_link(lambda up: None if up else down.set())
    await server.set_users((rig.user("admin"),))
    await asyncio.wait_for(down.wait(), SOON)
    with pytest.raises(BusDown, match="Authorization Violation"):
        await node.wait_up(0.3)
    assert admin.is_up
    assert admin.stats().reconnects == 0


async def test_narrowed_permissions_take_effect(make: Make, link: LinkTo, rig: Rig) -> None:
    wide = ServerUser(rig.keys["cloud-1"].public, (">",), (">",))
    server = make(users=(rig.user("admin"), wide))
    await server.start()
    admin, node = await opened(link, "admin", server.url), await opened(link, "cloud-1", server.url)
    heard = Heard()
    await admin.subscribe("t.>", heard)
    await admin.flush(SOON)
    await node.publish("t.x", b"before")
    await heard.at_least(1)
    await server.set_users((rig.user("admin"), rig.user("cloud-1")))
    async with asyncio.timeout(SOON):
        while node.denied == 0:  # the server takes a moment; it may also hang up meanwhile
            try:
                await node.wait_up(SOON)
                await node.publish("t.x", b"after")
                await node.flush(SOON)
            except BusDown:
                continue


async def test_wrong_users_change_nothing(make: Make, link: LinkTo, store: Path) -> None:
    server = make()
    await server.start()
    admin = await opened(link, "admin", server.url)
    before = (store / "users.conf").read_text()
    with pytest.raises(ServerFailed, match="nkey"):
        await server.set_users((ServerUser("not a key", (), ()),))
    assert (store / "users.conf").read_text() == before
    await admin.flush(SOON)


async def test_from_another_process(make: Make, link: LinkTo, rig: Rig, store: Path) -> None:
    server = make()
    await server.start()
    admin, node = rig.user("admin"), rig.user("cloud-1")
    script = (
        "import pathlib, bus.server as s\n"
        f"store = pathlib.Path({str(store)!r})\n"
        f"users = [s.ServerUser(*each) for each in {[_plain(admin), _plain(node)]!r}]\n"
        "assert s.write_users(store, users)\n"
        "s.reload(store)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    await opened(link, "cloud-1", server.url)


def _plain(user: ServerUser) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return user.public_key, user.publish, user.subscribe


def test_unchanged_users_are_said_to_be(store: Path, rig: Rig) -> None:
    assert write_users(store, [rig.user("admin")])
    assert not write_users(store, [rig.user("admin")])
    assert write_users(store, [])


def test_writers_take_turns(store: Path, rig: Rig) -> None:
    sets = [[rig.user("admin")], [rig.user("cloud-1")], [rig.user("cloud-2")]] * 8
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda users: write_users(store, users), sets))
    assert (store / "users.conf").read_text().count('"nkey"') == 1
    assert not list(store.glob("*.partial"))


def test_a_pid_that_is_somebody_else_s_by_now_is_left_alone(store: Path) -> None:
    """A killed server leaves its pid file; a SIGHUP would end most programs, this one too."""
    store.mkdir()
    (store / "nats.pid").write_text(str(os.getpid()))
    assert running_pid(store) is None
    reload(store)


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "99999999"])
def test_a_useless_pid_file(store: Path, content: str) -> None:
    store.mkdir()
    (store / "nats.pid").write_text(content)
    assert running_pid(store) is None
    reload(store)
