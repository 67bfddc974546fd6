"""Who is enrolled, read from the directory of public keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.places import PUBLIC_SUFFIX
from bus import permissions
from bus.keys import BadKey, check_public
from bus.server import ServerUser

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"  # a pool's or node's name is a DNS label
_NAME = re.compile(rf"({_LABEL})\.({_LABEL})\.pub")
_KEY_LIMIT = 256  # bytes; a key is 56 characters


@dataclass(frozen=True)
class Roster:
    nodes: Mapping[str, str]  # "pool/node" -> public key
    faults: Mapping[str, str]  # file name -> what is wrong with it

    def users(self, admin: str) -> tuple[ServerUser, ...]:
        """The server's users: the site itself (`admin`: its public key) and each node."""
        allowed = permissions.cloud_admin()
        site = ServerUser(admin, allowed.publish, allowed.subscribe)
        return (site, *(_user(node, key) for node, key in sorted(self.nodes.items())))


def _user(node: str, key: str) -> ServerUser:
    allowed = permissions.cloud_node(*node.split("/"))
    return ServerUser(key, allowed.publish, allowed.subscribe)


def read_roster(directory: Path, admin: str) -> Roster:
    """What the directory holds right now; one that is not there enrols nobody."""
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        entries = []
    return make_roster(((entry.name, _read(entry)) for entry in entries), admin)


def _read(path: Path) -> str | None:
    """The text; None if it cannot be read (or went away meanwhile)."""
    try:
        with path.open("rb") as file:
            return file.read(_KEY_LIMIT).decode()
    except (OSError, UnicodeDecodeError):
        return None


def make_roster(files: Iterable[tuple[str, str | None]], admin: str) -> Roster:
    """From (file name, text). One key serves one node: a second file with it is a fault."""
    nodes: dict[str, str] = {}
    faults: dict[str, str] = {}
    owners = {admin: "the cloud site itself"}
    for name, text in files:
        if not name.endswith(PUBLIC_SUFFIX) or name.startswith("."):
            continue  # editors' and copiers' temporary files
        try:
            node, key = _entry(name, text)
        except BadKey as error:
            faults[name] = str(error)
            continue
        if key in owners:
            faults[name] = f"its key is already that of {owners[key]}"
            continue
        owners[key] = node
        nodes[node] = key
    return Roster(nodes, faults)


def _entry(name: str, text: str | None) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadKey("the name is not <pool>.<node>.pub (lower-case letters, digits and '-')")
    if text is None:
        raise BadKey("cannot be read as text")
    return f"{match[1]}/{match[3]}", check_public(text)
