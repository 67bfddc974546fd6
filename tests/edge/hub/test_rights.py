"""Who may do what through a hub: the API server says so, by RBAC, of whoever really asks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml
from loguru import logger

from actors.kube.client import ApiAccess
from cloud.apigate.actor import ApiGate
from cloud.apigate.rbac import render
from cloud.apigate.review import ReviewSettings
from cloud.apiserver import ApiServerSettings
from edge.hub.condition import Autonomy
from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.cloud.rig import Running
from tests.edge.gateways import NODE, World, world

PODS = "/api/v1/namespaces/default/pods"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
RIGHTS = ("system:kube-proxy",), ("services",)


class Place(NamedTuple):
    world: World
    admin: Kubectl  # past the hub
    node: Kubectl  # through it
    access: ApiAccess  # as ApiGate comes

    async def apply(self) -> None:
        file = self.world.path / "rbac.yaml"
        file.write_text(render(*RIGHTS), encoding="utf-8")
        await self.admin("apply", "-f", str(file))

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession(self.world.hub.url) as client,
            client.request(method, path, json=body, headers=named) as answer,
        ):
            return answer.status, dict(await answer.json())

    async def who(self, **headers: str) -> str:
        status, answer = await self.ask("POST", WHO, {}, **headers)
        assert status == 201, answer
        return str(answer["status"]["userInfo"]["username"])


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with world(tmp_path, settings) as w:
        admin = Kubectl(w.api.kubeconfig, tmp_path)
        await admin("create", "namespace", "atoll")
        await admin("create", "serviceaccount", "cloud", "-n", "atoll")
        token = (await admin("create", "token", "cloud", "-n", "atoll")).strip()
        theirs = (w.api.state / "admin.token").read_text(encoding="ascii")
        ours = tmp_path / "cloud.kubeconfig"
        ours.write_text(w.api.kubeconfig.read_text(encoding="utf-8").replace(theirs, token))
        yield Place(
            w, admin, Kubectl(hub_config(w, tmp_path), tmp_path), ApiAccess(kubeconfig=ours)
        )


def hub_config(w: World, path: Path) -> Path:
    config = {
        "clusters": [{"name": "hub", "cluster": {"server": w.hub.url}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": ""}}],
        "current-context": "hub",
    }
    file = path / "hub.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def reviewed(gate: Running) -> bool:
    assert isinstance(gate.actor, ApiGate)
    return bool(gate.actor._reviewer.reviews)


async def test_a_node_has_a_node_s_rights(place: Place) -> None:
    await place.apply()
    async with place.world.gate(access=place.access) as gate:
        assert "No resources found" in (await place.node.run("get", "pods"))[2]
        assert await place.who() == f"system:node:{NODE}"
        code, _, err = await place.node.run("get", "deployments")
        assert code == 1
        assert err.strip() == (
            f'Error from server (Forbidden): deployments.apps is forbidden: User "system:node:'
            f'{NODE}" cannot list resource "deployments" in API group "apps" in the namespace'
            ' "default"'
        )
        code, _, err = await place.node.run("delete", "node", "another")
        assert (code, "cannot delete resource" in err) == (1, True)
        assert await place.who(User_Agent="kube-proxy/v1.36") == "system:kube-proxy"
        status, answer = await place.ask("GET", PODS, User_Agent="kube-proxy/v1.36")
        assert (status, 'User "system:kube-proxy"' in answer["message"]) == (403, True)
        assert gate.actor.status()["missing_permissions"] == []


async def test_pods_tokens_keep_their_own_rights(place: Place) -> None:
    await place.apply()
    await place.admin("create", "serviceaccount", "robot")
    token = (await place.admin("create", "token", "robot")).strip()
    bearer = {"Authorization": f"Bearer {token}"}
    async with place.world.gate(access=place.access):
        robot = "system:serviceaccount:default:robot"
        assert await place.who(**bearer) == robot
        status, answer = await place.ask("GET", PODS, **bearer)  # which the node may
        assert (status, f'User "{robot}" cannot list' in answer["message"]) == (403, True)
        view = "create clusterrolebinding robot --clusterrole=view --serviceaccount=default:robot"
        await place.admin(*view.split())
        assert (await place.ask("GET", PODS, **bearer))[0] == 200
        await place.admin("delete", "serviceaccount", "robot")
        assert (await place.ask("GET", PODS, **bearer))[0] == 401


async def test_nobody_is_someone_else(place: Place) -> None:
    await place.apply()
    async with place.world.gate(access=place.access):
        for header in ("Impersonate_User", "Impersonate_Group", "X_Remote_User"):
            status, answer = await place.ask("GET", PODS, **{header: "system:masters"})
            assert (status, "may not impersonate" in answer["message"]) == (403, True)
        status, answer = await place.ask("GET", PODS, User_Agent="stranger/1")
        assert (status, "not in apigate.identities" in answer["message"]) == (403, True)


async def test_without_the_manifests_it_is_not_the_node_that_is_refused(place: Place) -> None:
    """The node may wait, and ask again; what is missing is named."""
    quick = ReviewSettings(confirm=0.1)
    async with place.world.gate(access=place.access, review=quick) as gate:
        status, answer = await place.ask("GET", PODS)
        assert status == 503
        assert "ApiGate may not act" in answer["message"]
        await until(lambda: reviewed(gate), "it has looked for what is missing")
        told = gate.actor.status()["warning"]
        assert 'ApiGate may not impersonate group "system:nodes": apply `atoll manifests' in told
        assert gate.metric("atoll_apigate_missing_permissions 5.0")
        await place.apply()
        assert (await place.ask("GET", PODS))[0] == 200


async def test_a_node_may_say_of_itself_that_it_can_do_without_the_cloud(place: Place) -> None:
    await place.apply()
    await place.admin("create", "-f", str(a_node(place.world.path)))
    async with place.world.gate(access=place.access):
        own = Autonomy(NODE, lambda: "", place.world.hub._uplink, time.time, logger)
        await own.look()
        path = '{.status.conditions[?(@.type=="Autonomy")].status}'
        assert await place.admin("get", "node", NODE, "-o", f"jsonpath={path}") == "True"


def a_node(path: Path) -> Path:
    file = path / "node.yaml"
    file.write_text(f"apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\n")
    return file
