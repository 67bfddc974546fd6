"""kubectl against a server that authorizes: over HTTPS, or it would send no credentials."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from tests.cloud.apiserver.test_kubectl import Kubectl


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedApiServer]:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with EmbeddedApiServer(tmp_path / "api", settings) as running:
        yield running


@pytest.fixture
def kubectl(server: EmbeddedApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(server.kubeconfig, tmp_path)


def with_token(server: EmbeddedApiServer, token: str, home: Path) -> Kubectl:
    config = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    file = home / "other.kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    return Kubectl(file, home)


async def test_who_am_i_and_what_may_i(kubectl: Kubectl) -> None:
    who = await kubectl.read("auth", "whoami")
    assert who["status"]["userInfo"]["username"] == "system:admin"
    node = ("--as=system:node:n1", "--as-group=system:nodes")
    who = await kubectl.read("auth", "whoami", *node)
    assert who["status"]["userInfo"]["groups"] == ["system:nodes", "system:authenticated"]
    assert await kubectl("auth", "can-i", "list", "pods", *node) == "yes\n"
    code, out, _ = await kubectl.run("auth", "can-i", "delete", "nodes", *node)
    assert (code, out) == (1, "no\n")
    assert "serviceaccounts/token" in await kubectl("auth", "can-i", "--list", *node)


GRANT = (
    "create role reader --verb=get,list,watch --resource=pods,secrets",
    "create rolebinding r --role=reader --serviceaccount=default:robot",
)


async def test_a_service_account_s_kubectl(
    kubectl: Kubectl, server: EmbeddedApiServer, tmp_path: Path
) -> None:
    await kubectl("create", "serviceaccount", "robot")
    token = await kubectl("create", "token", "robot", "--duration=20m")
    robot = with_token(server, token.strip(), tmp_path)
    code, _, err = await robot.run("get", "pods")
    assert code == 1
    assert err.strip() == (
        "Error from server (Forbidden): pods is forbidden: User"
        ' "system:serviceaccount:default:robot" cannot list resource "pods" in API group "" in the'
        ' namespace "default"'
    )
    for command in GRANT:
        await kubectl(*command.split())
    assert (await robot.run("get", "pods"))[0] == 0
    assert (await robot.run("get", "secrets"))[0] == 0
    assert (await robot.run("get", "pods", "-A"))[0] == 1
    assert "Role/reader" in await kubectl("get", "rolebindings")
    assert "[get list watch]" in await kubectl("describe", "role", "reader")
    await kubectl("delete", "serviceaccount", "robot")
    assert "Unauthorized" in (await robot.run("get", "pods"))[2]


BINDING: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "b"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    "subjects": [{"kind": "User", "name": "a", "apiGroup": "rbac.authorization.k8s.io"}],
}


async def test_apply_changes_subjects_and_not_roles(kubectl: Kubectl) -> None:
    assert "created" in await kubectl("apply", "-f", "-", stdin=BINDING)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=BINDING)
    more = BINDING | {"subjects": [*BINDING["subjects"], {"kind": "Group", "name": "g"}]}
    assert "configured" in await kubectl("apply", "-f", "-", stdin=more)
    other = BINDING | {"roleRef": BINDING["roleRef"] | {"name": "edit"}}
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=other)
    assert code == 1
    assert "roleRef" in err
    assert await kubectl("auth", "can-i", "list", "pods", "--as=a") == "yes\n"


async def test_its_certificate_outlives_a_restart(tmp_path: Path) -> None:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with EmbeddedApiServer(tmp_path / "api", settings) as first:
        config = first.kubeconfig.read_bytes()
        certificate = (tmp_path / "api" / "serving.crt").read_bytes()
    async with EmbeddedApiServer(tmp_path / "api", settings) as second:
        assert second.kubeconfig.read_bytes() == config
        assert (tmp_path / "api" / "serving.crt").read_bytes() == certificate
        assert (tmp_path / "api" / "serving.key").stat().st_mode & 0o077 == 0
