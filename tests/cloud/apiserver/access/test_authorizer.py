"""A server that asks RBAC: what is denied, what bindings allow, and who may be whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.access.serving import RBAC, Cluster, cluster, rule, user
from tests.cloud.apiserver.api import CONFIG_MAPS, PODS, Api, config_map


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        yield made


async def test_nothing_is_allowed_until_it_is(c: Cluster) -> None:
    alice = c.user("alice-token")
    denied = await alice.get(PODS)
    assert (denied.code, denied.reason) == (403, "Forbidden")
    assert denied.body["message"] == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the'
        ' namespace "default"'
    )
    await c.grant("reader", {"kind": "Group", "name": "developers"}, rule("get list", "pods"))
    assert (await alice.get(PODS)).code == 200
    assert (await alice.get("/api/v1/pods")).code == 200
    assert (await alice.get(f"{PODS}/x")).code == 404
    assert (await alice.delete(f"{PODS}/x")).code == 403
    await c.admin.delete(f"{RBAC}/clusterrolebindings/reader")
    assert (await alice.get(PODS)).code == 403


async def test_all_verbs_are_asked_about(c: Cluster) -> None:
    alice = c.user("alice-token")
    await c.admin.post(CONFIG_MAPS, config_map())
    for method, path, verb in (
        ("POST", CONFIG_MAPS, "create"),
        ("PUT", f"{CONFIG_MAPS}/c", "update"),
        ("PATCH", f"{CONFIG_MAPS}/c", "patch"),
        ("DELETE", f"{CONFIG_MAPS}/c", "delete"),
        ("DELETE", CONFIG_MAPS, "deletecollection"),
        ("GET", f"{CONFIG_MAPS}?watch=1", "watch"),
        ("GET", f"{PODS}/x/log", "get"),
    ):
        answer = await alice.call(method, path, {})
        assert answer.code == 403
        assert f"cannot {verb} resource" in answer.body["message"]


async def test_who_shows_nothing_is_anonymous(c: Cluster) -> None:
    nobody = c.user()
    assert (await nobody.get("/version")).code == 200
    assert (await nobody.get("/healthz")).code == 200
    denied = await nobody.get(PODS)
    assert denied.code == 403
    assert 'User "system:anonymous"' in denied.body["message"]
    assert (await c.user("wrong").get("/version")).code == 401
    assert (await c.user(Authorization="Basic x").get("/version")).code == 401


async def test_discovery_is_for_everyone_who_is_known(c: Cluster) -> None:
    alice = c.user("alice-token")
    assert (await alice.get("/apis")).code == 200
    denied = await alice.get("/metrics")
    assert denied.body["message"] == 'forbidden: User "alice" cannot get path "/metrics"'


async def test_the_kubeconfig_is_the_administrator_s(c: Cluster) -> None:
    text = c.server.kubeconfig.read_text(encoding="utf-8")
    token = (c.server.state / "admin.token").read_text(encoding="ascii")
    assert f'"token": "{token}"' in text
    assert (await c.user(token).get("/api/v1/secrets")).code == 200
    assert (c.server.state / "admin.token").stat().st_mode & 0o077 == 0


# -- impersonation ---------------------------------------------------------------------------------

NODE = {"Impersonate_User": "system:node:n1", "Impersonate_Group": "system:nodes"}


async def test_who_acts_needs_the_verb_and_then_only_has_the_other_s_rights(c: Cluster) -> None:
    denied = await c.user("alice-token", **NODE).get(PODS)
    assert denied.body["message"] == (
        'users "system:node:n1" is forbidden: User "alice" cannot impersonate resource "users" in'
        ' API group "" at the cluster scope'
    )
    await c.grant("users", user("alice"), rule("impersonate", "users"))
    denied = await c.user("alice-token", **NODE).get(PODS)
    assert denied.body["message"].startswith('groups "system:nodes" is forbidden')
    await c.grant(
        "groups", user("alice"), rule("impersonate", "groups", resourceNames=["system:nodes"])
    )
    as_node = c.user("alice-token", **NODE)
    assert (await as_node.get(PODS)).code == 200
    denied = await as_node.delete("/api/v1/nodes/n1")
    assert (denied.code, 'User "system:node:n1"' in denied.body["message"]) == (403, True)
    masters = c.user("alice-token", Impersonate_User="x", Impersonate_Group="system:masters")
    assert (await masters.get(PODS)).code == 403


async def test_an_administrator_who_acts_as_another_is_no_administrator(c: Cluster) -> None:
    as_alice = c.user("root-token", Impersonate_User="alice")
    assert (await as_alice.get(PODS)).code == 403


async def test_service_accounts_uids_and_extra(c: Cluster) -> None:
    account = "system:serviceaccount:kube-system:coredns"
    denied = await c.user("alice-token", Impersonate_User=account).get("/api/v1/services")
    assert (
        'resource "serviceaccounts" in API group "" in the namespace "kube-system"'
        in (denied.body["message"])
    )
    await c.grant("accounts", user("alice"), rule("impersonate", "serviceaccounts"))
    acting = c.user("alice-token", Impersonate_User=account)
    assert (await acting.get("/api/v1/services")).code == 200
    extra = {"Impersonate_User": account, "Impersonate_Extra_Scopes": "x"}
    denied = await c.user("alice-token", **extra).get("/api/v1/services")
    assert (
        'resource "userextras/scopes" in API group "authentication.k8s.io"'
        in (denied.body["message"])
    )
    uid = {"Impersonate_User": account, "Impersonate_Uid": "u"}
    denied = await c.user("alice-token", **uid).get("/api/v1/services")
    assert 'uids.authentication.k8s.io "u" is forbidden' in denied.body["message"]


# -- objects ---------------------------------------------------------------------------------------


async def test_faulty_roles_and_bindings_are_refused(c: Cluster) -> None:
    role = {"metadata": {"name": "r"}, "rules": [{"verbs": []}]}
    answer = await c.admin.post(f"{RBAC}/clusterroles", role)
    assert answer.code == 422
    assert answer.fields == ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"]
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}}
    answer = await c.admin.post(f"{RBAC}/clusterrolebindings", binding)
    assert (answer.code, answer.fields) == (422, ["roleRef.kind"])
    binding["roleRef"] = {"kind": "ClusterRole", "name": "view"}
    answer = await c.admin.post(f"{RBAC}/clusterrolebindings", binding)
    assert answer.body["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    changed = answer.body | {"roleRef": answer.body["roleRef"] | {"name": "edit"}}
    answer = await c.admin.put(f"{RBAC}/clusterrolebindings/b", changed)
    assert (answer.code, answer.fields) == (422, ["roleRef"])


async def test_an_aggregation_rule_is_kept(c: Cluster) -> None:
    selectors = [{"matchLabels": {"a": "b"}}]
    role = {"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": selectors}}
    assert (await c.admin.post(f"{RBAC}/clusterroles", role)).code == 201
    held = (await c.admin.get(f"{RBAC}/clusterroles/sum")).body
    assert held["aggregationRule"] == {"clusterRoleSelectors": selectors}


async def test_what_was_changed_outlives_a_restart(tmp_path: Path) -> None:
    async with cluster(tmp_path) as first:
        await first.grant("reader", user("alice"), rule("list", "pods"))
        await first.admin.delete(f"{RBAC}/clusterrolebindings/system:basic-user")
    async with cluster(tmp_path) as second:
        assert (await second.user("alice-token").get(PODS)).code == 200
        # As upstream, what there has to be is made again at the start.
        path = f"{RBAC}/clusterrolebindings/system:basic-user"
        assert (await second.admin.get(path)).code == 200


async def test_without_rbac_everyone_known_may_do_all(api: Api, server: EmbeddedApiServer) -> None:
    assert (await api.get(f"{RBAC}/clusterroles")).body["items"] == []
    assert (await api.get("/api/v1/secrets")).code == 200
