"""Certificates: made, kept, mended, renewed; and what those who trust the former CA see."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from loguru import logger

from actors.kube.serve.api import Hooks, ServeSettings
from actors.kube.serve.backend import CacheBackend
from edge.hub.secure.certificates import CA_LIFE, CA_RENEW, DAY, LIFE, RENEW, Files, OwnCertificate
from edge.hub.secure.port import SecurePort, SecureSettings
from edge.hub.secure.reviews import Reviews

NOW = 1_800_000_000.0
SECONDS = DAY.total_seconds()


class Nobody:
    async def request(self, *_: object) -> tuple[int, bytes]:
        raise TimeoutError


def own(path: Path, *names: str) -> OwnCertificate:
    return OwnCertificate(path / "secure", path / "hub-ca.crt", names or ("10.0.0.1", "node-1"))


def after(life: timedelta, renew: timedelta) -> float:
    return NOW + (life - renew + DAY).total_seconds()


def read(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())


def test_it_names_all_by_which_pods_know_their_api_server(tmp_path: Path) -> None:
    files = own(tmp_path).ensure(NOW)
    (made,) = read(files.chain)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name) for name in names.get_values_for_type(x509.IPAddress)} == {
        "10.0.0.1",
        "127.0.0.1",
    }
    assert {
        "node-1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    } <= set(names.get_values_for_type(x509.DNSName))
    assert files.key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "hub-ca.crt").stat().st_mode & 0o444 == 0o444


def test_it_stays_as_it_is_while_it_is_good(tmp_path: Path) -> None:
    before = own(tmp_path).ensure(NOW).contents()
    assert own(tmp_path).ensure(NOW + SECONDS).contents() == before


def test_it_is_renewed_before_its_end_under_the_same_ca(tmp_path: Path) -> None:
    first = own(tmp_path).ensure(NOW)
    before, ca = first.contents(), (tmp_path / "hub-ca.crt").read_bytes()
    files = own(tmp_path).ensure(after(LIFE, RENEW))
    assert files.contents() != before
    assert (tmp_path / "hub-ca.crt").read_bytes() == ca
    read(files.chain)[0].verify_directly_issued_by(read(tmp_path / "hub-ca.crt")[0])


def test_another_address_is_another_certificate(tmp_path: Path) -> None:
    before = own(tmp_path).ensure(NOW).contents()
    assert own(tmp_path, "10.0.0.2").ensure(NOW).contents() != before


def test_a_new_ca_is_told_beside_the_former_one(tmp_path: Path) -> None:
    own(tmp_path).ensure(NOW)
    (former,) = read(tmp_path / "hub-ca.crt")
    files = own(tmp_path).ensure(after(CA_LIFE, CA_RENEW))
    new, second = read(tmp_path / "hub-ca.crt")
    assert second == former
    read(files.chain)[0].verify_directly_issued_by(new)


@pytest.mark.parametrize("name", ["serving.crt", "serving.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("text", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_what_a_power_cut_left_is_mended(tmp_path: Path, name: str, text: bytes | None) -> None:
    own(tmp_path).ensure(NOW)
    file = tmp_path / "secure" / name
    file.unlink() if text is None else file.write_bytes(text)
    files = own(tmp_path).ensure(NOW)
    read(files.chain)[0].verify_directly_issued_by(read(tmp_path / "hub-ca.crt")[0])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.chain, files.key)


def test_a_key_of_another_certificate_is_none(tmp_path: Path) -> None:
    ours, other = own(tmp_path / "a"), own(tmp_path / "b")
    for path in ("a", "b"):
        (tmp_path / path).mkdir()
    ours.ensure(NOW)
    ours.files.key.write_bytes(other.ensure(NOW).key.read_bytes())
    files = ours.ensure(NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.chain, files.key)


class Place(NamedTuple):
    port: SecurePort
    files: Files
    path: Path

    def renew(self) -> None:
        self.files.chain.unlink()
        own(self.path, "127.0.0.1").ensure(self.port._wall())

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path / "hub-ca.crt"))


def a_port(path: Path, settings: SecureSettings) -> SecurePort:

    reviews = Reviews(Nobody(), time.monotonic, time.time)
    (path / "hub").mkdir()
    backend, serve = CacheBackend(), ServeSettings()
    return SecurePort(
        settings, backend, Hooks(), serve, reviews, path / "hub", "node-1", time.time, logger
    )


@asynccontextmanager
async def connected(trust: ssl.SSLContext, port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def serial(self) -> int:
        held = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(held).serial_number

    async def is_served(self) -> bool:
        self.writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.reader.readexactly(2)
        return head.startswith(b"HTTP/1.1 200")


async def test_files_that_are_given_are_used_and_followed(tmp_path: Path) -> None:
    files = own(tmp_path, "127.0.0.1").ensure(time.time())
    port = a_port(tmp_path, SecureSettings("127.0.0.1", 0, files.chain, files.key))
    place = Place(port, files, tmp_path)
    await port.start()
    assert port.ca is None
    trust = place.trust()
    try:
        async with connected(trust, port.port) as kept:
            first = kept.serial
            assert first == read(files.chain)[0].serial_number
            assert await kept.is_served()
            place.renew()
            await port.look()
            async with connected(trust, port.port) as fresh:
                assert fresh.serial == read(files.chain)[0].serial_number != first
            assert await kept.is_served()  # the open connection went on
            files.key.write_bytes(b"half a key")
            await port.look()
            async with connected(trust, port.port) as fresh:
                assert fresh.serial == read(files.chain)[0].serial_number
    finally:
        await port.stop()


async def test_an_address_that_comes_later_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("edge.hub.secure.port.AGAIN", 0.01)
    files = Files(tmp_path / "a.crt", tmp_path / "a.key")
    port = a_port(tmp_path, SecureSettings("127.0.0.1", 0, files.chain, files.key))
    open_ = asyncio.Event()
    running = asyncio.create_task(port.run(lambda _host, _port: open_.set()), name="port")
    try:
        await asyncio.sleep(0.03)
        assert not open_.is_set()
        assert not running.done()
        made = own(tmp_path, "127.0.0.1").ensure(port._wall())
        files.key.write_bytes(made.key.read_bytes())
        files.chain.write_bytes(made.chain.read_bytes())
        async with asyncio.timeout(5):
            await open_.wait()
    finally:
        running.cancel()
        await asyncio.wait([running])
        await port.stop()
