"""What real components were seen to send, and what must come back, from any server.

`captured_requests.jsonl` holds one request a line: recorded on the wire from Kubernetes 1.36
clients, with placeholders {NODE} (a node that is there), {ABSENT} (a name that is not), {T}
(seconds) and {N} (a resourceVersion, taken from a list just before). `replay(base_url)` sends them
all; it is for the served API alone, the embedded API server, the hub, and any cluster.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

FILE = Path(__file__).with_name("captured_requests.jsonl")


@dataclass(frozen=True)
class Captured:
    client: str
    expect: str
    path: str
    headers: Mapping[str, str]
    note: str = ""


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def captured() -> list[Captured]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [msgspec.json.decode(line, type=Captured) for line in lines]


async def replay(
    base_url: str, node: str, session: aiohttp.ClientSession, absent: str = "no-such-thing"
) -> list[str]:
    """Sends all; returns what was not as expected, one text for each. `node` must be there."""

    async def fault(request: Captured) -> str:
        path = request.path.replace("{NODE}", node).replace("{ABSENT}", absent)
        try:
            await _one(base_url, path.replace("{T}", "1"), request, session)
        except (AssertionError, aiohttp.ClientError, msgspec.DecodeError, TimeoutError) as error:
            return f"{request.client}: {path}: {error!r}"
        return ""

    found = await asyncio.gather(*(fault(request) for request in captured()))
    return [text for text in found if text]


async def _one(base_url: str, path: str, request: Captured, session: aiohttp.ClientSession) -> None:
    if "{N}" in path:
        path = path.replace("{N}", await _current_version(base_url, path, session))
    async with asyncio.timeout(20):
        async with session.get(_url(base_url, path), headers=dict(request.headers)) as response:
            reply = Reply(response.status, response.headers)
            if "watch=true" in path and response.status == 200:
                reply.events = await _events(response, until_end=request.expect == "resume")
            else:
                reply.body = await response.read()
    await _EXPECT[request.expect](reply, path)


def _url(base_url: str, path: str) -> Any:

    return URL(base_url + path, encoded=True)


async def _current_version(base_url: str, path: str, session: aiohttp.ClientSession) -> str:
    collection = path.partition("?")[0]
    async with session.get(_url(base_url, collection)) as response:
        assert response.status == 200, f"{response.status} for the list before"
        version: str = (await response.json())["metadata"]["resourceVersion"]
        return version


async def _events(response: aiohttp.ClientResponse, until_end: bool) -> list[dict[str, Any]]:
    """Up to the clean end, or to the bookmark behind the initial events."""
    events: list[dict[str, Any]] = []
    async for line in response.content:
        events.append(msgspec.json.decode(line))
        if not until_end and _is_end_mark(events[-1]):
            break
    return events


def _is_end_mark(event: Mapping[str, Any]) -> bool:
    annotations = event["object"].get("metadata", {}).get("annotations") or {}
    return event["type"] == "BOOKMARK" and annotations.get("k8s.io/initial-events-end") == "true"


# -- what is expected -----------------------------------------------------------------------------


def _is_json(reply: Reply) -> None:
    kind = reply.headers.get("Content-Type", "")
    assert kind.startswith("application/json"), f"Content-Type {kind}"


async def _list(reply: Reply, path: str) -> None:
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    _is_json(reply)
    assert reply.json["kind"].endswith("List"), reply.json["kind"]
    assert int(reply.json["metadata"]["resourceVersion"]) > 0
    if "metadata.name%3D" in path:
        assert len(reply.json["items"]) == 1, "the node is not in the list"


async def _watch_list(reply: Reply, path: str) -> None:
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    _is_json(reply)
    types = [event["type"] for event in reply.events]
    assert types[-1] == "BOOKMARK", types
    assert _is_end_mark(reply.events[-1]), reply.events[-1]
    assert set(types[:-1]) <= {"ADDED"}, types
    assert int(reply.events[-1]["object"]["metadata"]["resourceVersion"]) > 0
    if "metadata.name%3D" in path:
        assert types == ["ADDED", "BOOKMARK"], types


async def _resume(reply: Reply, path: str) -> None:
    """Nothing is told twice; the end is clean, with a bookmark where those are allowed."""
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    types = [event["type"] for event in reply.events]
    assert "ERROR" not in types, reply.events


async def _not_found(reply: Reply, path: str) -> None:
    assert reply.status == 404, reply.status
    status = reply.json
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "NotFound", 404)
    assert re.fullmatch(r'[a-z.0-9]+ "no-such-thing" not found', status["message"]), status


async def _table(reply: Reply, path: str) -> None:
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    table = reply.json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    width = len(table["columnDefinitions"])
    assert table["columnDefinitions"][0]["name"] == "Name"
    assert all(len(row["cells"]) == width for row in table["rows"])


async def _discovery(reply: Reply, path: str) -> None:
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    assert "as=APIGroupDiscoveryList" in reply.headers["Content-Type"]
    assert reply.headers.get("ETag")
    assert reply.json["kind"] == "APIGroupDiscoveryList"


async def _openapi(reply: Reply, path: str) -> None:
    assert reply.status == 200, f"{reply.status} {reply.body!r}"
    assert "hash=" in reply.json["paths"]["api/v1"]["serverRelativeURL"]


_EXPECT: dict[str, Callable[[Reply, str], Awaitable[None]]] = {
    "list": _list,
    "watch-list": _watch_list,
    "resume": _resume,
    "not-found": _not_found,
    "table": _table,
    "discovery": _discovery,
    "openapi": _openapi,
}
