"""What is missing is named, until the manifests are applied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from loguru import logger

from actors.kube.client import ApiAccess, ClusterClient
from cloud.apigate.identity import impersonated
from cloud.apigate.mirroring_source import Refusal, Source
from cloud.apigate.questions import COREDNS, KUBE_PROXY, Question, questions
from cloud.apigate.rbac import render
from cloud.apigate.review import Reviewer, ReviewSettings
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl

IDENTITIES = (KUBE_PROXY, COREDNS)
FEEDS = ("services", "endpointslices.discovery.k8s.io", "configmaps")
QUICK = ReviewSettings(every=60.0, confirm=0.01, retry=0.02, apart=0.02)
APPLY = "apply `atoll manifests rbac FILE`"


@dataclass
class Place:
    """A cluster that authorizes, and the account as which ApiGate comes there."""

    api: EmbeddedApiServer
    kubectl: Kubectl
    access: ApiAccess
    file: Path

    async def apply(self) -> None:
        self.file.write_text(render(IDENTITIES, FEEDS), encoding="utf-8")
        await self.kubectl("apply", "-f", str(self.file))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with EmbeddedApiServer(tmp_path / "api", settings) as api:
        kubectl = Kubectl(api.kubeconfig, tmp_path)
        await kubectl("create", "namespace", "atoll")
        await kubectl("create", "serviceaccount", "cloud", "-n", "atoll")
        token = (await kubectl("create", "token", "cloud", "-n", "atoll")).strip()
        config = api.kubeconfig.read_text(encoding="utf-8")
        admin = (api.state / "admin.token").read_text(encoding="ascii")
        file = tmp_path / "cloud.kubeconfig"
        file.write_text(config.replace(admin, token), encoding="utf-8")
        yield Place(api, kubectl, ApiAccess(kubeconfig=file), tmp_path / "rbac.yaml")


@asynccontextmanager
async def reviewing(
    access: ApiAccess, asked: list[Question] | None = None, settings: ReviewSettings = QUICK
) -> AsyncIterator[Reviewer]:
    async with ClusterClient(access) as client:
        reviewer = Reviewer(client, asked or questions(IDENTITIES, FEEDS), logger, settings)
        task = asyncio.create_task(reviewer.run(), name="review")
        try:
            yield reviewer
        finally:
            task.cancel()
            await asyncio.wait([task])


async def reviewed(reviewer: Reviewer, more: int = 1) -> None:
    wanted = reviewer.reviews + more
    await until(lambda: reviewer.reviews >= wanted, "it has asked")


async def test_it_names_what_is_missing_and_the_manifests_give_it(place: Place) -> None:
    async with reviewing(place.access) as reviewer:
        await reviewed(reviewer)
        assert reviewer.problems == (
            f"ApiGate may not create subjectaccessreviews: {APPLY}",
            f"ApiGate may not impersonate users that are nodes: {APPLY}",
            f'ApiGate may not impersonate group "system:nodes": {APPLY}',
            f'ApiGate may not impersonate group "system:authenticated": {APPLY}',
            f'ApiGate may not impersonate group "system:serviceaccounts": {APPLY}',
            f'ApiGate may not impersonate group "system:serviceaccounts:kube-system": {APPLY}',
            f'ApiGate may not impersonate user "{KUBE_PROXY}": {APPLY}',
            'ApiGate may not impersonate service account "coredns" in the namespace kube-system:'
            f" {APPLY}",
        )
        await place.apply()
        reviewer.look_again()
        await until(lambda: not reviewer.problems, "nothing is missing")


async def test_what_others_lack_is_named_too(place: Place) -> None:
    await place.apply()
    for name in ("atoll:nodes", "system:node-proxier", "system:coredns"):
        await place.kubectl("delete", "clusterrolebinding", name)
    async with reviewing(place.access) as reviewer:
        await reviewed(reviewer)
    told = "\n".join(reviewer.problems)
    assert "a node may not list services" not in told  # upstream's role has that
    assert f"a node may not list endpointslices: {APPLY}" in told
    assert f'"{KUBE_PROXY}" may not list services: bind it to upstream\'s ClusterRole' in told
    assert f'"{COREDNS}" may not list namespaces: apply CoreDNS\'s own manifests' in told
    assert "ApiGate may not" not in told


async def test_an_open_server_lacks_nothing(tmp_path: Path) -> None:
    async with EmbeddedApiServer(tmp_path) as api, reviewing(ApiAccess(url=api.url)) as reviewer:
        await reviewed(reviewer)
        assert reviewer.problems == ()


async def test_a_no_that_is_said_once_is_no_verdict(place: Place) -> None:
    """As that of an API server that has just started."""
    await place.apply()
    groups = next(each for each in questions(IDENTITIES, FEEDS) if each.resource == "groups")
    async with reviewing(place.access, [groups]) as reviewer:
        flaky = Flaky(reviewer)
        await reviewed(reviewer)
        assert flaky.asked == 2
        assert reviewer.problems == ()


class Flaky:
    """Says no to a reviewer's first question, and then what the API server says."""

    def __init__(self, reviewer: Reviewer) -> None:
        self.asked = 0
        self._ask: Callable[[Question], object] = reviewer._is_allowed
        reviewer._is_allowed = self  # type: ignore[method-assign]

    async def __call__(self, question: Question) -> bool:
        self.asked += 1
        return self.asked > 1 and bool(await self._ask(question))  # type: ignore[misc]


async def test_an_api_server_that_is_away_is_no_verdict_and_is_asked_again(place: Place) -> None:
    await place.apply()
    await place.api.stop()
    async with reviewing(place.access) as reviewer:
        await asyncio.sleep(0.1)
        assert (reviewer.reviews, reviewer.problems) == (0, ())
        await place.api.start()
        await reviewed(reviewer)
        assert reviewer.problems == ()


async def test_refusals_do_not_make_it_ask_without_end(place: Place) -> None:
    settings = ReviewSettings(every=60.0, confirm=0.01, retry=0.02, apart=30.0)
    await place.apply()
    async with reviewing(place.access, settings=settings) as reviewer:
        await reviewed(reviewer)
        for _ in range(100):
            reviewer.look_again()
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert reviewer.reviews == 1


async def test_a_lost_right_is_told_at_the_next_turn(place: Place) -> None:
    await place.apply()
    async with reviewing(place.access) as reviewer:
        await reviewed(reviewer)
        await place.kubectl("delete", "clusterrolebinding", "atoll:apigate")
        reviewer.look_again()
        await until(lambda: bool(reviewer.problems), "it is told")
        assert any("system:nodes" in each for each in reviewer.problems)


async def test_a_mirror_waits_where_we_may_not_act(place: Place) -> None:
    """What is refused to us is not refused to the asker; 503 is what mirrors try again after."""
    asked = []
    headers = impersonated("n1", "", ())
    async with ClusterClient(place.access) as client:
        path = "/api/v1/namespaces/default/pods"
        source = Source(client, path, headers, True, lambda: asked.append(1))
        with pytest.raises(Refusal) as refused:
            await source.version()
        assert (refused.value.code, refused.value.may_pass, asked) == (503, True, [1])
        await place.apply()
        assert await source.version() > 0
        deployments = Source(client, "/apis/apps/v1/deployments", headers, True)
        with pytest.raises(Refusal) as refused:
            await deployments.version()
        assert refused.value.code == 403
