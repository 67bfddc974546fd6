"""TLS: on where it is asked for, and never quietly off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from actors.demo.wan import Wan
from bus.connection import Connection
from bus.errors import BusDown
from bus.server import EmbeddedServer, ServerSettings
from tests.bus.heard import SOON, Heard
from tests.bus.rig import Rig
from tests.support.certs import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(
    rig: Rig, store: Path, certificates: Certificates
) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(
        ServerSettings(
            "s",
            "d",
            store,
            (rig.user("admin"),),
            certificate=certificates.certificate,
            key=certificates.key,
        )
    )
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def link(rig: Rig, stack: AsyncExitStack, url: str, ca: Path | None) -> Connection:
    settings = replace(rig.settings("admin", url), ca=ca, ping_seconds=0.3, reconnect_seconds=0.05)
    connection = Connection(settings)
    stack.push_async_callback(connection.close)
    await connection.start()
    return connection


async def test_works_and_notices_a_black_hole(
    rig: Rig, server: EmbeddedServer, certificates: Certificates, stack: AsyncExitStack
) -> None:
    assert server.url.startswith("tls://")
    wan = await stack.enter_async_context(Wan(int(server.url.rpartition(":")[2])))
    connection = await link(rig, stack, f"tls://127.0.0.1:{wan.port}", certificates.ca)
    await connection.wait_up(SOON)
    heard, links = Heard(), Heard()
    await connection.subscribe("t.tls", heard)
    await connection.publish("t.tls", b"x" * 1_000_000)
    await heard.at_least(1)
    connection.on_link(lambda up: links(heard[0]))
    wan.cut()
    await links.at_least(1)
    wan.heal()
    await connection.wait_up(SOON)


async def test_another_authority_is_refused(
    rig: Rig, server: EmbeddedServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    other = make_certificates(tmp_path / "other")
    connection = await link(rig, stack, server.url, other.ca)
    with pytest.raises(BusDown, match="CERTIFICATE_VERIFY_FAILED"):
        await connection.wait_up(0.5)


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_without_tls_gets_nothing(
    rig: Rig, certificates: Certificates, stack: AsyncExitStack, scheme: str
) -> None:
    port = int(rig.server.url.rpartition(":")[2])
    wan = await stack.enter_async_context(Wan(port))
    connection = await link(rig, stack, f"{scheme}://127.0.0.1:{wan.port}", certificates.ca)
    with pytest.raises(BusDown, match="TLS"):
        await connection.wait_up(0.3)
    assert wan.up_bytes == 0


async def test_a_missing_authority_is_a_reason(
    rig: Rig, server: EmbeddedServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    connection = await link(rig, stack, server.url, tmp_path / "none.pem")
    with pytest.raises(BusDown, match=r"none\.pem"):
        await connection.wait_up(0.2)


async def test_a_pinned_certificate_is_trusted_by_any_name(
    rig: Rig, store: Path, tmp_path: Path, stack: AsyncExitStack
) -> None:
    """The site's own actors reach over loopback what is named for the WAN's address."""
    elsewhere = make_certificates(tmp_path / "wan", address="192.0.2.7")
    server = EmbeddedServer(
        ServerSettings(
            "s",
            "d",
            store,
            (rig.user("admin"),),
            certificate=elsewhere.certificate,
            key=elsewhere.key,
        )
    )
    await server.start()
    stack.push_async_callback(server.stop)
    with pytest.raises(BusDown, match="CERTIFICATE_VERIFY_FAILED"):
        await (await link(rig, stack, server.url, elsewhere.ca)).wait_up(0.3)
    pinned = replace(rig.settings("admin", server.url), ca=elsewhere.certificate, pinned=True)
    connection = Connection(pinned)
    stack.push_async_callback(connection.close)
    await connection.start()
    await connection.wait_up(SOON)


async def test_a_pinned_certificate_trusts_no_other(
    rig: Rig, server: EmbeddedServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    other = make_certificates(tmp_path / "other")
    settings = replace(rig.settings("admin", server.url), ca=other.certificate, pinned=True)
    connection = Connection(settings)
    stack.push_async_callback(connection.close)
    await connection.start()
    with pytest.raises(BusDown, match="CERTIFICATE_VERIFY_FAILED"):
        await connection.wait_up(0.3)
