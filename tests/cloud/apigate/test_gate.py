"""The gate between a bus and an API server that checks who comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.kube.client import ApiAccess, ClusterClient
from bus.memory import MemoryBroker, MemoryBus
from bus.permissions import inbox_prefix
from bus.stream import Request, StreamClient, StreamServer
from cloud.apigate.gate import Gate
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from cloud.apiserver.server import TlsFiles
from tests.support.certs import make_certificates

PATH = "/api/v1/namespaces/default/configmaps"
JSON = ("Content-Type", "application/json")


class Node:
    """A node that asks through its own stream."""

    def __init__(self, client: StreamClient, api: EmbeddedApiServer) -> None:
        self._client = client
        self._api = api

    async def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes = b"", as_: str = ""
    ) -> tuple[int, bytes]:
        request = Request(method, path, headers, as_)
        async with self._client.open(request, body) as answer:
            return answer.status, b"".join([chunk async for chunk in answer.chunks()])

    async def create(self, name: str, *headers: tuple[str, str], as_: str = "") -> int:
        body = json.dumps({"metadata": {"name": name}}).encode()
        return (await self.ask("POST", PATH, JSON, *headers, body=body, as_=as_))[0]

    def log(self) -> list[tuple[str, str, int]]:
        """(who, as whom, code) of each write."""
        lines = (self._api.state / "audit.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [(e["user"], e.get("as", ""), e["code"]) for e in entries if e["verb"] == "create"]


@asynccontextmanager
async def asking(api: EmbeddedApiServer, access: ApiAccess) -> AsyncIterator[Node]:
    broker = MemoryBroker()
    here = MemoryBus(broker, "cloud", inbox_prefix=inbox_prefix("p", "n1"))
    there = MemoryBus(broker, "cloud")
    async with ClusterClient(access) as client:
        server = StreamServer(there, "g", Gate(client, ("system:kube-proxy",)))
        node = StreamClient(here, "p", "n1")
        await server.start()
        await node.start()
        yield Node(node, api)
        await node.stop()
        await server.stop()
    await here.close()
    await there.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """Our own credentials are a client certificate, others have tokens."""
    certs = make_certificates(tmp_path / "certs")
    tls = TlsFiles(certificate=certs.certificate, key=certs.key, client_ca=certs.ca)
    settings = ApiServerSettings(tokens={"secret": "alice"}, tls=tls)
    async with EmbeddedApiServer(tmp_path / "api", settings) as api:
        ours = {"client-certificate": str(certs.certificate), "client-key": str(certs.key)}
        cluster = {"server": api.url, "certificate-authority": str(certs.ca)}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": ours}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        async with asking(api, ApiAccess(kubeconfig=file)) as made:
            yield made


async def test_a_request_acts_as_its_node(node: Node) -> None:
    assert await node.create("a") == 201
    assert await node.create("b", as_="system:kube-proxy") == 201
    assert node.log() == [
        ("test server", "system:node:n1", 201),
        ("test server", "system:kube-proxy", 201),
    ]


async def test_its_own_token_is_all_that_counts(node: Node) -> None:
    """Not even our certificate goes along, as which the API server would see a wrong token."""
    assert await node.create("a", ("Authorization", "Bearer secret")) == 201
    assert await node.create("b", ("authorization", "Bearer wrong")) == 401
    assert node.log() == [("alice", "", 201), ("", "", 401)]


@pytest.mark.parametrize("claim", ["Impersonate-User", "impersonate-group", "X-Remote-User"])
async def test_claims_never_reach_the_api_server(node: Node, claim: str) -> None:
    assert await node.create("a", (claim, "root")) == 403
    assert await node.create("b", (claim, "root"), ("Authorization", "Bearer secret")) == 403
    assert not (node._api.state / "audit.jsonl").exists()


@pytest.mark.parametrize("path", ["http://elsewhere/x", "//elsewhere/x", "x", ""])
async def test_only_paths_of_the_api_server(node: Node, path: str) -> None:
    status, body = await node.ask("GET", path)
    assert (status, json.loads(body)["reason"]) == (400, "BadRequest")


async def test_paths_go_as_they_are_escaped(node: Node) -> None:
    status, body = await node.ask("GET", f"{PATH}?labelSelector=a%3Db%2Cc&limit=1")
    assert (status, json.loads(body)["kind"]) == (200, "ConfigMapList")
    status, body = await node.ask("GET", f"{PATH}/%2e%2e")
    assert status == 404


async def test_only_what_was_not_done_may_be_asked_again(node: Node) -> None:
    """An API server that hangs up on requests, then one that is not there."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asking(node._api, ApiAccess(url=f"http://127.0.0.1:{port}")) as cut:
        assert [await cut.create("a"), (await cut.ask("GET", PATH))[0]] == [504, 503]
    server.close()
    await server.wait_closed()
    async with asking(node._api, ApiAccess(url=f"http://127.0.0.1:{port}")) as gone:
        assert await gone.create("a") == 503


async def test_our_own_refused_credentials_are_no_fault_of_the_node(
    node: Node, tmp_path: Path
) -> None:
    config = json.loads((tmp_path / "kubeconfig").read_text())
    config["users"][0]["user"] = {"token": "stale"}
    (tmp_path / "stale").write_text(json.dumps(config))
    async with asking(node._api, ApiAccess(kubeconfig=tmp_path / "stale")) as stale:
        status, body = await stale.ask("GET", PATH)
    assert status == 503
    assert "ApiGate's own credentials" in json.loads(body)["message"]
