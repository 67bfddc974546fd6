"""Requests of real components against the served API."""

from __future__ import annotations

import aiohttp

from actors.kube.builtin import CSI_DRIVERS, CSI_NODES, RUNTIME_CLASSES, SERVICE_CIDRS
from tests.actors.kube.captured import captured, replay
from tests.actors.kube.objects import Source
from tests.actors.kube.serve.serving import serving


async def test_all_are_answered_as_expected() -> None:
    async with serving() as api:
        for resource in (CSI_DRIVERS, CSI_NODES, RUNTIME_CLASSES, SERVICE_CIDRS):
            api.backend.add(Source(resource).cache)
        api.sources["nodes"].put("n1")
        api.sources["services"].put("kubernetes", spec={"clusterIP": "10.0.0.1"})
        api.sources["pods"].put("p", spec={"nodeName": "n1"})
        async with aiohttp.ClientSession() as session:
            assert await replay(api.url, "n1", session) == []


async def test_a_wrong_answer_would_be_noticed() -> None:
    async with serving() as api, aiohttp.ClientSession() as session:
        faults = await replay(api.url, "n1", session)
    assert any("kube-proxy: watch-list: /api/v1/nodes" in fault for fault in faults)
    assert len(faults) < len(captured())
