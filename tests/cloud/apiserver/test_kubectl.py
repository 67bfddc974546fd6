"""kubectl against the embedded API server: a client that nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import Object, config_map, crd, cron_tab, pod, service

DEADLINE = 20.0


class Kubectl:
    """Runs the real thing. Everything it caches goes into the test's directory."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        program = shutil.which("kubectl")
        assert program, "kubectl is needed (Debian: kubernetes-client)"
        self._program = program
        self._kubeconfig = kubeconfig
        self._env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TMPDIR": str(home)}

    async def start(self, *args: str, stdin: bytes | None = None) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            self._program,
            f"--kubeconfig={self._kubeconfig}",
            *args,
            env=self._env,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        return process

    async def run(self, *args: str, stdin: Object | None = None) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)"""
        data = None if stdin is None else json.dumps(stdin).encode()
        process = await self.start(*args, stdin=data)
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def __call__(self, *args: str, stdin: Object | None = None) -> str:
        """What it prints; it has to succeed."""
        code, out, err = await self.run(*args, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(args)}: {err}{out}"
        return out

    async def read(self, *args: str) -> Any:
        return json.loads(await self(*args, "-o", "json"))


@pytest_asyncio.fixture
async def kubectl(server: EmbeddedApiServer, tmp_path: Path) -> AsyncIterator[Kubectl]:
    yield Kubectl(server.kubeconfig, tmp_path)


async def test_apply_diff_and_apply_again(kubectl: Kubectl) -> None:
    assert "created" in await kubectl("apply", "-f", "-", stdin=service())
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=service())
    code, diff, _ = await kubectl.run("diff", "-f", "-", stdin=service(ports=[{"port": 81}]))
    assert code == 1
    assert "+  - port: 81" in diff
    assert "configured" in await kubectl("apply", "-f", "-", stdin=service(ports=[{"port": 81}]))
    held = await kubectl.read("get", "service", "web")
    assert [port["port"] for port in held["spec"]["ports"]] == [81]


async def test_strict_validation(kubectl: Kubectl) -> None:
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=service(colour="red"))
    assert code == 1
    assert 'unknown field "spec.colour"' in err
    out = await kubectl("apply", "--validate=false", "-f", "-", stdin=service(colour="red"))
    assert "created" in out
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=service("b", ports=[]))
    assert code == 1
    assert "spec.ports: Required value" in err


async def test_every_type_of_patch(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=service())
    strategic = '{"spec":{"ports":[{"port":80,"name":"http"}]}}'
    await kubectl("patch", "svc/web", "-p", strategic)
    await kubectl("patch", "svc/web", "--type=merge", "-p", '{"spec":{"selector":{"b":"c"}}}')
    operations = '[{"op":"remove","path":"/spec/selector/app"}]'
    await kubectl("patch", "svc/web", "--type=json", "-p", operations)
    await kubectl("label", "svc/web", "tier=front")
    await kubectl("annotate", "svc/web", "note=x")
    held = await kubectl.read("get", "svc/web")
    assert held["spec"]["selector"] == {"b": "c"}
    assert held["spec"]["ports"][0]["name"] == "http"
    assert held["metadata"]["labels"] == {"tier": "front"}
    assert held["metadata"]["annotations"] == {"note": "x"}
    await kubectl("replace", "-f", "-", stdin=service(ports=[{"port": 82}]))


async def test_namespaces(kubectl: Kubectl) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}
    await kubectl("create", "-f", "-", stdin=namespace)
    await kubectl("create", "-n", "demo", "-f", "-", stdin=config_map())
    assert "deleted" in await kubectl("delete", "namespace", "demo")  # waits until it is gone
    code, _, err = await kubectl.run("get", "namespace", "demo")
    assert code == 1
    assert "NotFound" in err


async def test_delete_waits_for_finalizers(kubectl: Kubectl, server: EmbeddedApiServer) -> None:
    held = config_map() | {"metadata": {"name": "c", "finalizers": ["example.com/x"]}}
    await kubectl("create", "-f", "-", stdin=held)
    waiting = await kubectl.start("delete", "configmap", "c")
    await kubectl("wait", "configmap/c", "--for=jsonpath={.metadata.deletionTimestamp}")
    assert waiting.returncode is None
    await kubectl("patch", "cm/c", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    async with asyncio.timeout(DEADLINE):
        await waiting.communicate()
    assert waiting.returncode == 0


async def test_custom_resources(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=crd())
    await kubectl("wait", "--for=condition=Established", "crd/crontabs.example.com")
    await kubectl("apply", "-f", "-", stdin=cron_tab())
    await kubectl("apply", "-f", "-", stdin=cron_tab(replicas=3))
    held = await kubectl.read("get", "ct", "mine")
    assert held["spec"] == {"cron": "* * *", "image": "busybox", "replicas": 3}
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=cron_tab(replicas=99))
    assert code == 1
    assert "should be less than or equal to 10" in err
    assert "cron\t<string> -required-" in await kubectl("explain", "crontab.spec")
    await kubectl("delete", "crd", "crontabs.example.com")
    code, _, err = await kubectl.run("get", "ct")
    assert code == 1


async def test_explain(kubectl: Kubectl) -> None:
    assert "clusterIP\t<string>" in await kubectl("explain", "service.spec")
    assert "FIELDS:" in await kubectl("explain", "endpointslices", "--recursive")


async def test_wait_and_describe(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pod())
    waiting = await kubectl.start("wait", "--for=condition=Ready", "pod/p", "--timeout=15s")
    status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    await kubectl("patch", "pod/p", "--subresource=status", "-p", status)
    async with asyncio.timeout(DEADLINE):
        await waiting.communicate()
    assert waiting.returncode == 0
    assert "BestEffort" in await kubectl("describe", "pod", "p")
    assert "deleted" in await kubectl("delete", "pod", "p", "--now")


def deployment(**spec: Any) -> Object:
    labels = {"app": "web"}
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    containers = [{"name": "c", "image": "nginx:1", "env": env}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template} | spec,
    }


SERVER_SIDE = ("apply", "--server-side", "-f", "-")


async def test_server_side_apply(kubectl: Kubectl) -> None:
    """All of it: create, again, a field of another, taking it, and what is told of it."""
    for body in (service(), config_map(a="1"), pod(), deployment(replicas=2)):
        assert "serverside-applied" in await kubectl(*SERVER_SIDE, stdin=body)
    version = (await kubectl.read("get", "deploy/web"))["metadata"]["resourceVersion"]
    await kubectl(*SERVER_SIDE, stdin=deployment(replicas=2))
    assert (await kubectl.read("get", "deploy/web"))["metadata"]["resourceVersion"] == version
    scaled = '{"spec":{"replicas":5}}'
    await kubectl("patch", "deploy/web", "-p", scaled, "--field-manager=scaler")
    code, _, err = await kubectl.run(*SERVER_SIDE, stdin=deployment(replicas=2))
    assert code == 1
    assert 'conflict with "scaler" using apps/v1: .spec.replicas' in err
    diff = ("diff", "--server-side", "--force-conflicts", "-f", "-")
    code, text, _ = await kubectl.run(*diff, stdin=deployment(replicas=2))
    assert code == 1
    assert "-  replicas: 5\n+  replicas: 2" in text
    await kubectl(*SERVER_SIDE, "--force-conflicts", stdin=deployment(replicas=2))
    code, text, _ = await kubectl.run(*diff, stdin=deployment(replicas=2))
    assert (code, text) == (0, "")
    shown = await kubectl("get", "deploy/web", "-o", "yaml", "--show-managed-fields")
    assert "manager: kubectl" in shown
    assert "manager: scaler" not in shown


async def test_server_side_apply_validates_strictly(kubectl: Kubectl) -> None:
    code, _, err = await kubectl.run(*SERVER_SIDE, stdin=service(colour="red"))
    assert code == 1
    assert ".spec.colour: field not declared in schema" in err


async def test_server_side_apply_after_the_clients(kubectl: Kubectl) -> None:
    """kubectl moves what its own apply owned, so that what is left out now goes away; and back."""
    await kubectl("apply", "-f", "-", stdin=deployment(replicas=2))
    changed = deployment(replicas=3)
    del changed["spec"]["template"]["spec"]["containers"][0]["env"][1]
    await kubectl(*SERVER_SIDE, stdin=changed)
    held = await kubectl.read("get", "deploy/web", "--show-managed-fields")
    assert held["spec"]["replicas"] == 3
    env = held["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["A"]
    owners = {each["manager"] for each in held["metadata"]["managedFields"]}
    assert owners == {"kubectl", "kubectl-last-applied"}
    await kubectl("apply", "-f", "-", stdin=deployment())
    held = await kubectl.read("get", "deploy/web")
    assert held["spec"]["replicas"] == 1


async def test_server_side_apply_of_custom_resources(kubectl: Kubectl) -> None:
    await kubectl(*SERVER_SIDE, stdin=crd())
    await kubectl("wait", "--for=condition=Established", "crd/crontabs.example.com")
    await kubectl(*SERVER_SIDE, stdin=cron_tab(replicas=3))
    await kubectl(*SERVER_SIDE, stdin=cron_tab())
    held = await kubectl.read("get", "ct", "mine")
    assert held["spec"] == {"cron": "* * *", "image": "busybox"}


GENERATED = (
    "namespace demo",
    "configmap settings -n demo --from-literal=a=1",
    "secret generic keys -n demo --from-literal=user=admin",
    "serviceaccount robot -n demo",
    "service nodeport web -n demo --tcp=80:8080 --tcp=443",
    "service externalname out -n demo --external-name=example.com",
)


async def test_generators(kubectl: Kubectl) -> None:
    """They send protobuf (since kubectl 1.32), all else is JSON."""
    for command in GENERATED:
        assert "created" in await kubectl("create", *command.split())
    config = await kubectl.read("get", "configmap", "settings", "-n", "demo")
    assert config["data"] == {"a": "1"}
    secret = await kubectl.read("get", "secret", "keys", "-n", "demo")
    assert secret["data"] == {"user": "YWRtaW4="}
    assert secret["type"] == "Opaque"
    service = await kubectl.read("get", "service", "web", "-n", "demo")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [8080, 443]
    assert service["spec"]["type"] == "NodePort"
    code, _, err = await kubectl.run("create", *GENERATED[1].split())
    assert code == 1
    assert 'configmaps "settings" already exists' in err


async def test_a_copied_pod(kubectl: Kubectl) -> None:
    """`debug` reads a pod as JSON and creates a changed one as protobuf."""
    await kubectl("create", "-f", "-", stdin=pod(terminationGracePeriodSeconds=0))
    await kubectl("debug", "p", "--copy-to=q", "--set-image=*=nginx:2", "--profile=general")
    old, new = await kubectl.read("get", "pod", "p"), await kubectl.read("get", "pod", "q")
    assert new["spec"]["containers"][0]["image"] == "nginx:2"
    for each in (old, new):
        each["spec"]["containers"][0].pop("image")
    assert new["spec"]["containers"] == old["spec"]["containers"]
    assert new["spec"]["terminationGracePeriodSeconds"] == 0
