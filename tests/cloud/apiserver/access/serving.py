"""A server that authorizes, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from tests.cloud.apiserver.api import Api, Object

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
TOKENS = {"alice-token": "alice,developers", "root-token": "root,system:masters"}


class Cluster:
    """`admin` may do all; `user` gives a client for any bearer token."""

    def __init__(self, server: EmbeddedApiServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self.admin = self.user("root-token")

    def user(self, token: str = "", **headers: str) -> Api:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        api = Api(self.server.url, named)
        self._stack.push_async_callback(api.close)
        return api

    async def grant(self, name: str, subject: Object, *rules: Object) -> None:
        role = {"metadata": {"name": name}, "rules": list(rules)}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
        assert (await self.admin.post(f"{RBAC}/clusterroles", role)).code == 201
        assert (await self.admin.post(f"{RBAC}/clusterrolebindings", binding)).code == 201

    async def token(self, account: str = "default", **spec: Any) -> str:
        answer = await self.admin.post(f"{ACCOUNTS}/{account}/token", {"spec": spec})
        assert answer.code == 201, answer.body
        return str(answer.body["status"]["token"])


@asynccontextmanager
async def cluster(path: Path, **settings: Any) -> AsyncIterator[Cluster]:
    made = ApiServerSettings(tokens=TOKENS, authorization="rbac", **settings)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedApiServer(path, made))
        yield Cluster(server, stack)


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> Object:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


def user(name: str) -> Object:
    return {"kind": "User", "name": name}
