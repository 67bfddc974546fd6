"""What every site's file says alike, as settings of logs and of the site's own bus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from actors.specs import LogSettings
from bus.server import ServerSettings, ServerUser
from configs.schema import AnySiteFile
from configs.units import split_address


def log_settings(config: AnySiteFile) -> LogSettings:
    return LogSettings(config.log.level.upper(), config.log.json_lines)


def bus_store(config: AnySiteFile) -> Path:
    return config.state / "bus"


def bus_server(config: AnySiteFile, name: str, users: Iterable[ServerUser]) -> ServerSettings:
    """The site's own server; `name` is what its hosts call it."""
    bus = config.bus
    host, port = split_address(bus.listen)
    return ServerSettings(
        name=name,
        domain=config.name,
        store=bus_store(config),
        users=tuple(users),
        host=host,
        port=port,
        certificate=bus.tls.certificate if bus.tls else None,
        key=bus.tls.key if bus.tls else None,
        storage_bytes=bus.storage,
        sync_always=bus.sync == "always",
        max_payload=bus.max_payload,
    )
