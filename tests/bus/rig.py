"""What the bus tests run against: one server that knows a user for each row of the permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bus import permissions
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey
from bus.permissions import Permissions
from bus.server import EmbeddedServer, ServerSettings, ServerUser


class Connect(Protocol):
    async def __call__(self, who: str, **changes: object) -> Connection: ...


POOL = "pool-a"

USERS: dict[str, tuple[str, Permissions]] = {
    "admin": (permissions.ADMIN_INBOX, permissions.cloud_admin()),
    "cloud-1": (permissions.inbox_prefix(POOL, "n1"), permissions.cloud_node(POOL, "n1")),
    "cloud-2": (permissions.inbox_prefix(POOL, "n2"), permissions.cloud_node(POOL, "n2")),
    "cloud-b": (permissions.inbox_prefix("pool-b", "n1"), permissions.cloud_node("pool-b", "n1")),
    "pool-1": (permissions.inbox_prefix(POOL, "n1"), permissions.pool_node(POOL, "n1")),
    "pool-2": (permissions.inbox_prefix(POOL, "n2"), permissions.pool_node(POOL, "n2")),
}
"""Who: his inbox prefix and what he may. (Cloud and pool users share a server only here.)"""


class Rig:
    def __init__(self, directory: Path) -> None:
        self.keys = {who: NodeKey.load_or_create(directory / f"{who}.seed") for who in USERS}
        users = tuple(self.user(who) for who in USERS)
        self.server = EmbeddedServer(ServerSettings("bus", "test", directory / "bus", users))

    def user(self, who: str) -> ServerUser:
        allowed = USERS[who][1]
        return ServerUser(self.keys[who].public, allowed.publish, allowed.subscribe)

    def settings(self, who: str, url: str = "") -> BusSettings:
        return BusSettings(
            name="pool" if who.startswith("pool") else "cloud",
            urls=(url or self.server.url,),
            seed_file=self.keys[who].seed_file,
            client=who,
            inbox_prefix=USERS[who][0],
        )
