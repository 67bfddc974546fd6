"""kubectl and others through a hub: over NATS, ApiGate and the embedded API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.edge.gateways import World, world


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        yield made


@pytest.fixture
def kubectl(w: World, tmp_path: Path) -> Kubectl:
    config = {
        "clusters": [{"name": "hub", "cluster": {"server": w.hub.url}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": ""}}],
        "current-context": "hub",
    }
    file = tmp_path / "hub.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return Kubectl(file, tmp_path)


def pod(name: str = "p") -> dict[str, object]:
    containers = [{"name": "c", "image": "i"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers},
    }


async def test_kubectl_reads_and_writes_what_the_hub_does_not_serve(kubectl: Kubectl) -> None:
    assert "No resources found" in (await kubectl.run("get", "pods"))[2]
    assert "created" in await kubectl("apply", "-f", "-", stdin=pod())
    assert "p " in await kubectl("get", "pods")
    await kubectl("patch", "pod/p", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert "a=b" in await kubectl("describe", "pod", "p")
    assert "deleted" in await kubectl("delete", "pod", "p", "--now")
    assert (await kubectl.run("get", "pod", "p"))[0] == 1
