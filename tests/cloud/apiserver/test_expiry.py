"""Events do not stay for ever."""

from __future__ import annotations

from typing import Any

from cloud.apiserver import EmbeddedApiServer
from cloud.apiserver.expiry import Expiry
from tests.cloud.apiserver.api import CORE, Api


def event(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "n1"},
        "reason": "Starting",
    }


async def test_events_expire(server: EmbeddedApiServer, api: Api) -> None:
    now = 0.0
    server.put_many("events", [event("old")])
    expiry = Expiry(server.registry, ttl=100, monotonic=lambda: now)
    expiry.load()
    now = 60.0
    await api.post(f"{CORE}/events", event("young"))
    await api.post(f"{CORE}/events", event("gone"))
    await api.delete(f"{CORE}/events/gone")
    assert expiry.sweep() == 0
    now = 101.0
    assert (expiry.sweep(), expiry.sweep()) == (1, 0)
    assert (await api.get(f"{CORE}/events/old")).code == 404
    await api.patch(f"{CORE}/events/young", {"count": 2})
    now = 190.0
    assert expiry.sweep() == 0
    now = 202.0
    assert expiry.sweep() == 1
    assert (await api.get(f"{CORE}/events")).body["items"] == []


async def test_many_expire_a_slice_at_a_time(server: EmbeddedApiServer) -> None:
    now = 0.0
    expiry = Expiry(server.registry, ttl=100, monotonic=lambda: now)
    server.put_many("events", [event(f"e{n}") for n in range(250)])
    now = 100.0
    assert [expiry.sweep() for _ in range(4)] == [100, 100, 50, 0]
