"""OpenAPI documents: whole, and references that lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import CRDS, Api, crd


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            if name == "$ref" and isinstance(below, str):
                yield below
            else:
                yield from references(below)
    elif isinstance(value, list):
        for below in value:
            yield from references(below)


def null_types(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("type"), list) or any(map(null_types, value.values()))
    return isinstance(value, list) and any(map(null_types, value))


async def test_v3_documents(api: Api) -> None:
    index = (await api.get("/openapi/v3")).body["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"} <= set(index)
    for path in index.values():
        document = (await api.get(path["serverRelativeURL"])).body
        schemas = document["components"]["schemas"]
        lost = [r for r in references(document) if r.rpartition("/")[2] not in schemas]
        assert not lost
        assert not null_types(schemas)


async def test_v3_says_that_writes_are_validated(api: Api) -> None:
    paths = (await api.get("/openapi/v3/api/v1")).body["paths"]
    patch = paths["/api/v1/namespaces/{namespace}/services/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    kind = {"group": "", "version": "v1", "kind": "Service"}
    assert patch["x-kubernetes-group-version-kind"] == kind


async def test_v2_document(api: Api) -> None:
    document = (await api.get("/openapi/v2")).body
    names = document["definitions"]
    assert "io.k8s.api.core.v1.Service" in names
    assert not [r for r in references(document) if r.rpartition("/")[2] not in names]


async def test_definitions_come_and_go(api: Api) -> None:
    await api.post(CRDS, crd())
    document = (await api.get("/openapi/v3/apis/example.com/v1")).body
    schema = document["components"]["schemas"]["com.example.v1.CronTab"]
    assert schema["properties"]["spec"]["required"] == ["cron"]
    assert "metadata" in schema["properties"]
    await api.delete(f"{CRDS}/crontabs.example.com")
    await api.until_gone(f"{CRDS}/crontabs.example.com")
    assert (await api.get("/openapi/v3/apis/example.com/v1")).code == 404


async def test_documents_are_made_once(server: EmbeddedApiServer, api: Api) -> None:
    first = server.documents.openapi_v3()
    await api.post(CRDS, crd())
    second = server.documents.openapi_v3()
    assert second["api/v1"] is first["api/v1"]
    assert "apis/example.com/v1" in second
    assert server.documents.openapi_v2() is server.documents.openapi_v2()
    assert json.loads(second["api/v1"])["openapi"] == "3.0.0"
