"""What a delete's answer says is gone; and that nobody finds it through the hub afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import MultiDict

from actors.kube import builtin
from actors.kube.serve.api import RequestInfo
from actors.kube.watchcache import CacheSettings, WatchCache
from bus.feed import Item
from edge.hub.gone import gone_of, is_gone
from edge.mirror import Mirror
from tests.edge.gateways import World, world

CONFIGMAPS = next(each for each in builtin.BUILTIN if each.plural == "configmaps")
PATH = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def info(verb: str = "delete", name: str = "a", **query: str) -> RequestInfo:
    return RequestInfo(verb, PATH, namespace="ns", name=name, query=MultiDict(query))


def status(uid: str) -> bytes:
    return json.dumps({"kind": "Status", "details": {"name": "a", "uid": uid}}).encode()


def listed(*metadata: dict[str, str]) -> bytes:
    return json.dumps(
        {"kind": "ConfigMapList", "items": [{"metadata": m} for m in metadata]}
    ).encode()


def test_of_one_object() -> None:
    assert gone_of(info(), status("u")) == {"ns/a": "u"}


def test_of_many_but_those_that_wait_for_a_finalizer() -> None:
    a = {"name": "a", "namespace": "ns", "uid": "1"}
    b = {"name": "b", "namespace": "ns", "uid": "2", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert gone_of(info("deletecollection", ""), listed(a, b)) == {"ns/a": "1"}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (info(dryRun="All"), status("u")),
        (info(), b'{"kind":"Pod","metadata":{"name":"a","uid":"u"}}'),  # it ends gracefully
        (info(), b'{"kind":"Status"}'),
        (info(), b"nonsense"),
        (info(), b""),
        (info("create"), status("u")),
    ],
)
def test_of_what_stays(asked: RequestInfo, answer: bytes) -> None:
    assert gone_of(asked, answer) == {}


def test_another_object_of_the_name_is_not_in_the_way() -> None:
    cache = WatchCache(CONFIGMAPS, CacheSettings())
    assert is_gone(cache, {"ns/a": "old"})
    cache.replace({"ns/a": Item(3, b'{"metadata":{"name":"a","uid":"new"}}')}, 3)
    assert is_gone(cache, {"ns/a": "old"})
    assert not is_gone(cache, {"ns/a": "new"})


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        yield made


@pytest.fixture
async def kubelet(w: World) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"User-Agent": "kubelet/v1.36.2"}
    async with aiohttp.ClientSession(w.hub.url, headers=headers) as client:
        yield client


async def names(client: aiohttp.ClientSession) -> list[str]:
    async with client.get(PATH) as answer:
        assert answer.status == 200
        return [each["metadata"]["name"] for each in (await answer.json())["items"]]


async def test_who_deleted_does_not_find_it_again(
    kubelet: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a mirror, which is told a WAN's delay later than the one who deleted."""
    for name in ("a", "b"):
        body: Any = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        async with kubelet.post(PATH, json=body) as answer:
            assert answer.status == 201
    assert await names(kubelet) == ["a", "b"]
    take = Mirror._take

    def late(mirror: Mirror, said: Any) -> None:
        asyncio.get_running_loop().call_later(0.05, take, mirror, said)

    monkeypatch.setattr(Mirror, "_take", late)
    async with kubelet.delete(f"{PATH}/a") as answer:
        assert answer.status == 200
    assert await names(kubelet) == ["b"]
    async with kubelet.delete(PATH) as answer:
        assert answer.status == 200
    assert await names(kubelet) == []
