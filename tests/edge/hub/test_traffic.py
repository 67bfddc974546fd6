from __future__ import annotations

from aiohttp import web

from actors.kube.serve.api import RequestInfo
from edge.hub.traffic import MOST_COMPONENTS, OTHER, Traffic


def info(agent: str, subresource: str = "") -> RequestInfo:
    return RequestInfo(
        verb="get", path="/api/v1/pods", is_resource=True, version="v1", plural="pods",
        subresource=subresource, headers={"User-Agent": agent},
    )  # fmt: skip


def test_requests_are_counted_by_who_asks_for_what() -> None:
    traffic = Traffic()
    for seconds in (0.5, 1.0):
        traffic.finished(info("kubelet/v1"), web.Response(status=200), seconds)
    traffic.finished(info("kubelet/v1", "status"), web.Response(status=404), 0.1)
    assert traffic.requests == {
        ("kubelet", "get", "pods", "200"): 2,
        ("kubelet", "get", "pods/status", "404"): 1,
    }
    assert traffic.seconds["kubelet", "get", "pods", "200"] == 1.5


def test_there_are_only_so_many_labels_however_many_names_come() -> None:
    traffic = Traffic()
    for number in range(MOST_COMPONENTS * 3):
        traffic.finished(info(f"agent-{number}/v1"), web.Response(), 0.0)
    assert len(traffic.requests) == MOST_COMPONENTS + 1
    assert traffic.requests[OTHER, "get", "pods", "200"] == MOST_COMPONENTS * 2
