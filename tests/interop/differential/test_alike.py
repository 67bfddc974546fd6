"""The API server and a hub before it answer alike; what differs is in `edge.hub.DIFFERENCES`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp

from edge.hub import DIFFERENCES
from tests.edge.gateways import World, world
from tests.interop.differential import mix
from tests.interop.differential.compare import Answer, essence, without_managed_fields
from tests.interop.differential.mix import Asked

LEFT, RIGHT = "side-a", "side-b"  # of the API server, and of the hub
Json = dict[str, Any]


def seeds() -> Iterable[tuple[str, Json]]:
    for name, labels in (
        ("one", {"app": "a", "tier": "x"}), ("two", {"app": "b", "tier": "y"}), ("three", {}),
    ):  # fmt: skip
        meta = {"name": name, "labels": labels}
        core: Json = {"apiVersion": "v1", "metadata": meta}
        yield "configmaps", core | {"kind": "ConfigMap", "data": {"a": "b"}}
        yield "secrets", core | {"kind": "Secret", "stringData": {"a": "b"}}
        spec: Json = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
        yield "pods", core | {"kind": "Pod", "spec": spec}
        ports = {"clusterIP": "None", "ports": [{"port": 80}], "selector": {"app": "a"}}
        yield "services", core | {"kind": "Service", "spec": ports}


async def fill(session: aiohttp.ClientSession) -> None:
    for side in (LEFT, RIGHT):
        space: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": side}}
        async with session.post("/api/v1/namespaces", json=space) as answer:
            assert answer.status == 201
        for plural, obj in seeds():
            path = f"/api/v1/namespaces/{side}/{plural}"
            async with session.post(path, json=obj) as answer:
                assert answer.status == 201, await answer.text()


async def ask(session: aiohttp.ClientSession, asked: Asked, side: str) -> Answer:
    headers = {"User-Agent": mix.AGENTS[asked.agent]}
    if asked.body:
        headers["Content-Type"] = "application/json"
    headers |= dict(asked.headers)
    path = asked.path.replace(mix.NS, side)
    data = asked.body.replace(mix.NS, side).encode() or None
    async with session.request(asked.method, path, data=data, headers=headers) as answer:
        return Answer(answer.status, dict(answer.headers), await answer.read())


class Differences:
    """Which rows of the table were seen; and what no row explains."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.unexplained: dict[str, list[str]] = defaultdict(list)
        self.compared = 0

    def look(self, asked: Asked, left: Answer, right: Answer) -> None:
        self.compared += 1
        one = essence(left, LEFT, is_watch=asked.is_watch)
        other = essence(right, RIGHT, is_watch=asked.is_watch)
        for name, alike in ROWS.items():
            if one == other:
                return
            changed = alike(asked, one, other)
            if changed is not None:
                self.seen[name] += 1
                one, other = changed
        if one != other:
            self.unexplained[_what(one, other)].append(str(asked))


def _managed_fields(asked: Asked, one: Json, other: Json) -> tuple[Json, Json] | None:
    """From a mirror objects come without them."""
    bare = without_managed_fields(one)
    return (bare, without_managed_fields(other)) if bare != one else None


ROWS = {"managedFields": _managed_fields}


def _what(one: Json, other: Json) -> str:
    if one["status"] != other["status"]:
        said = [json.dumps(each["body"])[:160] for each in (one, other)]
        return f"status {one['status']} / {other['status']}: {said[0]} / {said[1]}"
    if one["headers"] != other["headers"]:
        return f"headers {one['headers']} / {other['headers']}"
    return f"body {json.dumps(one['body'])[:300]} / {json.dumps(other['body'])[:300]}"


async def compare(w: World, differences: Differences) -> None:
    async with aiohttp.ClientSession(w.api.url) as direct, aiohttp.ClientSession(w.hub.url) as hub:
        await fill(direct)

        async def both(asked: Asked) -> None:
            left, right = await asyncio.gather(ask(direct, asked, LEFT), ask(hub, asked, RIGHT))
            differences.look(asked, left, right)

        for asked in (*mix.documents(), *mix.reads()):
            await both(asked)
        gate = asyncio.Semaphore(40)

        async def watched(asked: Asked) -> None:
            async with gate:
                await both(asked)

        await asyncio.gather(*(watched(asked) for asked in mix.watches()))
        for asked in mix.writes():
            await both(asked)


async def test_the_api_server_and_the_hub_answer_alike(tmp_path: Path) -> None:
    differences = Differences()
    async with world(tmp_path) as w, w.gate():
        await compare(w, differences)
    assert differences.compared >= 500
    told = [
        f"{what}\n    {len(found)}: {found[:3]}" for what, found in differences.unexplained.items()
    ]
    assert not told, "\n".join(told)
    assert set(differences.seen) == {row.name for row in DIFFERENCES}, (
        "no row of the table is stale"
    )
