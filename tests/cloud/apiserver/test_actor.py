"""The actor, the port it keeps, TLS with client certificates."""

from __future__ import annotations

import datetime
import json
import pickle
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Context
from actors.tasks import OwnedTasks
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from cloud.apiserver.actor import ApiServer
from cloud.apiserver.server import TlsFiles
from tests.cloud.apiserver.api import CONFIG_MAPS, Api, config_map


def context(state: Path, tasks: OwnedTasks) -> Context:
    return Context(
        site="cloud",
        node="",
        actor="apiserver",
        buses={},
        log=logger,
        metrics=CollectorRegistry(),
        tasks=tasks,
        state=state,
    )


def fail(name: str, error: BaseException) -> None:
    raise AssertionError(f"task {name} failed") from error


async def test_actor_serves_and_tells_where(tmp_path: Path) -> None:
    tasks = OwnedTasks("apiserver", logger, fail)
    settings = pickle.loads(pickle.dumps(ApiServerSettings()))
    actor = ApiServer(context(tmp_path, tasks), settings)
    assert actor.status() == {"url": ""}
    await actor.on_start()
    status = json.loads(json.dumps(actor.status()))
    api = Api(status["url"])
    assert (await api.post(CONFIG_MAPS, config_map())).code == 201
    await api.close()
    assert actor.status()["objects"]["configmaps"] == 1
    assert json.loads(Path(status["kubeconfig"]).read_bytes())["current-context"] == "atoll"
    await actor.on_config(settings)
    with pytest.raises(ValueError, match="restart"):
        await actor.on_config(ApiServerSettings(history=5))
    await actor.on_stop()
    assert await tasks.close(3) == []


async def test_actor_bears_being_stopped_half_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tasks = OwnedTasks("apiserver", logger, fail)
        settings = ApiServerSettings(port=taken.getsockname()[1])
        actor = ApiServer(context(tmp_path, tasks), settings)
        with pytest.raises(OSError, match="in use"):
            await actor.on_start()
        await actor.on_stop()
        await tasks.close(3)


async def test_kept_port_that_another_took(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        async with EmbeddedApiServer(tmp_path) as server:
            assert server.url != f"http://127.0.0.1:{port}"
            api = Api(server.url)
            slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
            (told,) = (await api.get(slices)).body["ports"]
            assert server.url.endswith(f":{told['port']}")
            await api.close()


async def test_failed_task_leaves_the_server_serving(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as server:

        async def explode() -> None:
            raise RuntimeError("tidying broke")

        server.janitor.tidy = explode  # type: ignore[method-assign]
        api = Api(server.url)
        finalized = config_map() | {"metadata": {"name": "c", "finalizers": ["a/b"]}}
        await api.post(CONFIG_MAPS, finalized)
        await api.delete(f"{CONFIG_MAPS}/c")
        assert (await api.get(f"{CONFIG_MAPS}/c")).code == 200
        await api.close()


# -- TLS ----------------------------------------------------------------------------------------


def certificate(directory: Path, name: str, ca: Path | None, organization: str = "") -> TlsFiles:
    """A fresh key and certificate; without `ca` its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    subject = issuer = x509.Name(parts)
    signer: Any = key
    if ca is not None:
        signer = serialization.load_pem_private_key(ca.with_suffix(".key").read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(ca.read_bytes()).subject
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    path = directory / f"{name.replace(':', '-')}.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return TlsFiles(certificate=path, key=path.with_suffix(".key"), client_ca=ca)


async def test_client_certificates_are_users(tmp_path: Path) -> None:
    ca = certificate(tmp_path, "ca", None).certificate
    settings = ApiServerSettings(
        tls=certificate(tmp_path, "localhost", ca), tokens={"secret": "alice"}
    )
    client = certificate(tmp_path, "system:node:n1", ca, "system:nodes")
    async with EmbeddedApiServer(tmp_path, settings) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        for files, code in ((None, 401), (client, 201)):
            trust = ssl.create_default_context(cafile=str(ca))
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # ours name no keys
            if files is not None:
                trust.load_cert_chain(files.certificate, files.key)
            async with (
                aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=trust)) as session,
                session.post(CONFIG_MAPS, json=config_map()) as response,
            ):
                assert response.status == code
    lines = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["user"] for line in lines] == ["", "system:node:n1"]
