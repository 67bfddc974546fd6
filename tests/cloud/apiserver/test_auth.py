"""Who asks, and what the audit log keeps of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loguru import logger
from multidict import CIMultiDict

from actors.kube.serve.api import RequestInfo, User
from actors.kube.status_errors import ApiError
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from cloud.apiserver.audit import AuditLog
from cloud.apiserver.auth import ADMIN, acting, from_certificate
from tests.cloud.apiserver.api import CONFIG_MAPS, Api, config_map


def test_impersonation() -> None:
    assert acting(ADMIN, CIMultiDict()) is ADMIN
    user = acting(ADMIN, CIMultiDict({"impersonate-user": "system:node:n1"}))
    assert (user.name, user.effective.name) == ("system:admin", "system:node:n1")
    with pytest.raises(ApiError) as caught:
        acting(ADMIN, CIMultiDict({"Impersonate-Group": "g"}))
    assert caught.value.code == 400


def test_certificates() -> None:
    subject = ((("organizationName", "system:nodes"),), (("commonName", "system:node:n1"),))
    user = from_certificate({"subject": subject})
    assert user == User("system:node:n1", ("system:nodes", "system:authenticated"))
    assert from_certificate({"subject": ()}) is None


async def test_tokens(tmp_path: Path) -> None:
    settings = ApiServerSettings(tokens={"secret": "alice", "other": "bob"})
    async with EmbeddedApiServer(tmp_path, settings) as server:
        for headers, code in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Basic secret"}, 401),
            ({"Authorization": "Bearer other"}, 200),
        ):
            api = Api(server.url, headers)
            assert (await api.get(CONFIG_MAPS)).code == code
            await api.close()
        assert '"token": "secret"' in server.kubeconfig.read_text(encoding="utf-8")
        assert server.kubeconfig.stat().st_mode & 0o077 == 0


async def test_audit_log_knows_who(tmp_path: Path) -> None:
    settings = ApiServerSettings(tokens={"secret": "alice"})
    headers = {"Authorization": "Bearer secret", "Impersonate-User": "system:node:n1"}
    async with EmbeddedApiServer(tmp_path, settings) as server:
        api = Api(server.url, headers)
        await api.post(CONFIG_MAPS, config_map())
        await api.get(f"{CONFIG_MAPS}/c")
        await api.get(f"{CONFIG_MAPS}/absent")
        await api.close()
    lines = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    created, missed = map(json.loads, lines)
    assert (created["user"], created["as"]) == ("alice", "system:node:n1")
    assert (created["verb"], created["code"], created["uri"]) == ("create", 201, CONFIG_MAPS)
    assert (missed["verb"], missed["code"]) == ("get", 404)


def test_audit_log_is_bounded(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "a.jsonl", logger, max_bytes=1000, wall=lambda: 0.0)
    info = RequestInfo("create", "/api/v1/pods", is_resource=True)
    for _ in range(100):
        log(info, 201, 0.001)
    log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert all(0 < size <= 1000 for size in sizes)


def test_audit_log_bears_a_bad_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    log = AuditLog(tmp_path / "file" / "a.jsonl", logger)
    log(RequestInfo("create", "/api/v1/pods", is_resource=True), 201, 0.001)
