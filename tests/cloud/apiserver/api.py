"""A small HTTP client for tests of the embedded API server."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

Object = dict[str, Any]
CORE = "/api/v1/namespaces/default"
SERVICES = f"{CORE}/services"
CONFIG_MAPS = f"{CORE}/configmaps"
PODS = f"{CORE}/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Answer(NamedTuple):
    code: int
    body: Any
    headers: Any

    @property
    def version(self) -> int:
        return int(self.body["metadata"]["resourceVersion"])

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def fields(self) -> list[str]:
        """Of the causes."""
        return [cause.get("field", "") for cause in self.body["details"]["causes"]]


class Api:
    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(url, headers=headers)

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Answer:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = None if raw is None else io.BytesIO(raw)  # aiohttp warns of large bytes
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self._session.request(method, path, data=data, headers=headers) as response:
            is_json = response.content_type == "application/json"
            answer = await (response.json() if is_json else response.text())
            return Answer(response.status, answer, response.headers.copy())

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any, content_type: str = "application/json") -> Answer:
        return await self.call("POST", path, body, content_type)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.call("PUT", path, body)

    async def patch(self, path: str, body: Any, content_type: str = MERGE) -> Answer:
        return await self.call("PATCH", path, body, content_type)

    async def delete(self, path: str, body: Any = None) -> Answer:
        return await self.call("DELETE", path, body)

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[Object]]:
        joiner = "&" if "?" in path else "?"
        async with self._session.get(f"{path}{joiner}watch=1") as response:
            assert response.status == 200, await response.text()
            yield _events(response)

    async def until_gone(self, path: str, deadline: float = 5.0) -> None:
        """Wait for the object to be deleted, by watching it."""
        collection, _, name = path.rpartition("/")
        async with asyncio.timeout(deadline):
            async with self.watch(f"{collection}?fieldSelector=metadata.name%3D{name}") as events:
                if (await self.get(path)).code == 404:
                    return
                async for event in events:
                    if event["type"] == "DELETED":
                        return


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Object]:
    async for line in response.content:
        yield json.loads(line)


async def next_event(events: AsyncIterator[Object], deadline: float = 3.0) -> Object:
    async with asyncio.timeout(deadline):
        return await anext(events)


def service(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]} | spec,
    }


def config_map(name: str = "c", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str = "p", **spec: Any) -> Object:
    containers = [{"name": "c", "image": "nginx:1.2"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers} | spec,
    }


def crd(**spec: Any) -> Object:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cron"],
                "properties": {
                    "cron": {"type": "string", "pattern": "^[0-9*/ ]+$"},
                    "image": {"type": "string", "default": "busybox"},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".spec.image"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        }
        | spec,
    }


CRON_TABS = "/apis/example.com/v1/namespaces/default/crontabs"


def cron_tab(name: str = "mine", **spec: Any) -> Object:
    return {
        "apiVersion": "example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cron": "* * *"} | spec,
    }
