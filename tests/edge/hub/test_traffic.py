from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from actors.kube.serve.api import Hooks, RequestInfo
from edge.hub.traffic import MOST_COMPONENTS, MOST_RESOURCES, OTHER, Traffic
from tests.actors.kube.serve.serving import CONFIGMAPS_URL, serving
from tests.actors.until import until

PODS = RequestInfo(verb="get", path="/api/v1/pods", is_resource=True, version="v1", plural="pods")


def info(agent: str, subresource: str = "", **more: str) -> RequestInfo:
    return replace(PODS, subresource=subresource, headers={"User-Agent": agent}, **more)  # type: ignore[arg-type]


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_request() -> web.Request:
    return make_mocked_request("GET", "/", writer=Mock(output_size=0))


def asked(traffic: Traffic, what: RequestInfo, response: web.Response | None) -> None:
    traffic.begin(a_request(), what)(response)


def test_requests_are_counted_by_who_asks_for_what() -> None:
    time = Time()
    traffic = Traffic(clock=time)
    for seconds in (0.5, 1.0):
        finish = traffic.begin(a_request(), info("kubelet/v1"))
        time.now += seconds
        finish(web.Response(status=200, body=b"abc"))
    asked(traffic, info("kubelet/v1", "status"), web.Response(status=404))
    asked(traffic, info("kubelet/v1", group="metrics.k8s.io"), None)
    assert traffic.requests == {
        ("kubelet", "get", "pods", "200"): 2,
        ("kubelet", "get", "pods/status", "404"): 1,
        ("kubelet", "get", "pods.metrics.k8s.io", "499"): 1,
    }
    assert traffic.seconds["kubelet", "get", "pods"] == 1.5


def test_there_are_only_so_many_labels_however_many_names_come() -> None:
    traffic = Traffic({"kubelet"})
    for number in range(MOST_COMPONENTS * 3):
        asked(traffic, info(f"agent-{number}/v1"), web.Response())
    for number in range(MOST_RESOURCES * 2):
        asked(traffic, info("a-0", plural=f"things-{number}", verb=f"v{number}"), web.Response())
    asked(traffic, info("kubelet/v1"), web.Response())
    assert len({key[0] for key in traffic.requests}) == MOST_COMPONENTS + 2
    assert traffic.requests[OTHER, "get", "pods", "200"] == MOST_COMPONENTS * 2
    assert traffic.requests["kubelet", "get", "pods", "200"] == 1
    assert {key[1] for key in traffic.requests} == {"get", OTHER}
    assert len({key[2] for key in traffic.requests}) == MOST_RESOURCES + 1


def test_old_answers_are_counted_apart() -> None:
    traffic = Traffic()
    asked(traffic, info("kubelet/v1"), web.Response(headers={"Warning": '299 - "old"'}))
    assert traffic.stale == {("kubelet", "get", "pods"): 1}


async def test_bytes_of_small_and_large_answers_and_of_watches_that_go_on() -> None:
    traffic = Traffic()
    async with serving(Hooks(begin=traffic.begin)) as api:
        agent = {"User_Agent": "kubelet/v1"}
        for count in (1, 500):
            for number in range(count):
                api.configmaps.put(f"{count}-{number}", data={"a": "x" * 1000})
            before = dict(traffic.sent())
            answer = await api.get(CONFIGMAPS_URL, **agent)
            key = ("kubelet", "list", "configmaps")
            new = traffic.sent()[key] - before.get(key, 0)
            assert len(answer.body) <= new < len(answer.body) + 500
        key = ("kubelet", "watch", "configmaps")
        async with api.watch(f"{CONFIGMAPS_URL}?watch=1&resourceVersion=0", **agent) as watch:
            for _ in range(501):
                await watch.next()
            assert traffic.open() == {key: 1}
            assert traffic.sent()[key] > 500_000
        await until(lambda: not traffic.open(), "the watch has ended")
        assert traffic.sent()[key] > 500_000  # a client that goes has had them all the same
        (code,) = (each[3] for each in traffic.requests if each[1] == "watch")
        assert code == "499"
