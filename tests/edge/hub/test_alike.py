"""Where a hub once answered otherwise than the API server (found by tests/interop/differential)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.edge.gateways import World, world

KUBELET = {"User-Agent": "kubelet/v1.36.2"}
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
THINGS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.alike.example"},
    "spec": {
        "group": "alike.example",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        yield made


@pytest.fixture
async def kubelet(w: World) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(w.hub.url, headers=KUBELET) as client:
        yield client


async def test_the_root_is_the_api_server_s(w: World, kubelet: aiohttp.ClientSession) -> None:
    async with aiohttp.ClientSession(w.api.url) as direct:
        for client in (direct, kubelet):
            async with client.get("/") as answer:
                assert "/apis/apps/v1" in (await answer.json())["paths"]


async def test_a_schema_that_the_client_has_is_not_sent_again(
    w: World, kubelet: aiohttp.ClientSession
) -> None:
    async with kubelet.get("/openapi/v3") as answer:
        path = (await answer.json())["paths"]["api/v1"]["serverRelativeURL"]
    for _ in range(2):  # the API server's answer, then the kept one
        async with kubelet.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, immutable"
            etag = answer.headers["ETag"]
        await w.hub._disk.flush()
    async with kubelet.get(path, headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_a_table_of_custom_resources_has_their_columns(
    w: World, kubelet: aiohttp.ClientSession
) -> None:
    async with aiohttp.ClientSession(w.api.url) as direct:
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        async with direct.post(crds, json=THINGS) as answer:
            assert answer.status == 201, await answer.text()
    path = "/apis/alike.example/v1/namespaces/default/things"
    async with kubelet.get(path) as answer:
        assert answer.status == 200  # mirrored
    async with kubelet.get(path, headers=TABLE) as answer:
        columns = (await answer.json())["columnDefinitions"]
    assert [column["name"] for column in columns] == ["Name", "Size"]
