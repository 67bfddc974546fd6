"""kubectl writes: create, apply, patch of every type, edit-like commands, delete.

A hub passes them on to its API server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.kubectl import OPENAPI_V3, STRICT, Kubectl, minor
from tests.interop.samples import Json, collection, config_map, service, widget
from tests.interop.target import Api, Target, version_of


@pytest.fixture
def kubectl(target: Target, ns: str, kubectl_home: Path) -> Kubectl:
    return Kubectl(target.reads.kubeconfig, ns, kubectl_home / target.name)


async def test_create_and_delete(kubectl: Kubectl, writes: Api, ns: str) -> None:
    made = await kubectl("create -f -", config_map("it", {"a": "1"}))
    assert made.out == "configmap/it created\n"
    path = collection("ConfigMap", ns)
    assert (await writes.get(f"{path}/it"))["data"] == {"a": "1"}
    again = await kubectl.run("create -f -", config_map("it"))
    assert again.code == 1
    assert 'configmaps "it" already exists' in again.err
    gone = await kubectl("delete configmap it")
    assert gone.out.startswith('configmap "it" deleted')
    assert (await writes.ask(f"{path}/it")).status == 404
    nothing = await kubectl.run("delete configmap it")
    assert nothing.err == 'Error from server (NotFound): configmaps "it" not found\n'


async def test_create_what_the_schema_refuses(kubectl: Kubectl) -> None:
    wrong = service("it")
    wrong["spec"]["ports"][0]["port"] = 70000
    refused = await kubectl.run("create -f -", wrong)
    assert refused.code == 1
    assert "spec.ports[0].port: Invalid value: 70000" in refused.err
    unknown = service("it")
    unknown["spec"]["prots"] = []
    strict = await kubectl.run("create -f -", unknown)
    assert strict.code == (1 if minor() >= STRICT else 0)  # else the server only warns
    assert 'unknown field "spec.prots"' in strict.err
    bad = await kubectl.run("create -f -", widget("it") | {"spec": {"size": "large"}})
    assert bad.code == 1
    assert "spec.size" in bad.err


async def test_create_with_a_generated_name(kubectl: Kubectl) -> None:
    body = config_map("x")
    body["metadata"] = {"generateName": "it-"}
    done = await kubectl("create -f - -o name", body)
    assert done.out.startswith("configmap/it-")
    assert len(done.out.strip()) == len("configmap/it-") + 5


async def test_apply_changes_only_what_changed(kubectl: Kubectl, writes: Api, ns: str) -> None:
    """Client-side apply: openapi, get, then a strategic merge patch."""
    body = service("it", tier="web")
    assert (await kubectl("apply -f -", body)).out == "service/it created\n"
    before = await writes.get(f"{collection('Service', ns)}/it")
    assert (await kubectl("apply -f -", body)).out == "service/it unchanged\n"
    body["spec"]["ports"].append({"name": "more", "port": 81, "protocol": "TCP"})
    del body["metadata"]["labels"]["tier"]
    assert (await kubectl("apply -f -", body)).out == "service/it configured\n"
    after = await writes.get(f"{collection('Service', ns)}/it")
    assert [port["port"] for port in after["spec"]["ports"]] == [80, 81]
    assert after["metadata"]["labels"] == {"app": "it"}
    assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert version_of(after) > version_of(before)


async def test_apply_of_a_custom_resource(kubectl: Kubectl, writes: Api, ns: str) -> None:
    assert (await kubectl("apply -f -", widget("it"))).out.endswith("/it created\n")
    assert (await kubectl("apply -f -", widget("it", size=7))).out.endswith("/it configured\n")
    assert (await writes.get(f"{collection('Widget', ns)}/it"))["spec"]["size"] == 7


async def test_server_side_apply(kubectl: Kubectl, writes: Api, ns: str) -> None:
    apply, path = "apply --server-side -f -", f"{collection('ConfigMap', ns)}/it"
    body = config_map("it", {"a": "1", "b": "1"})
    assert (await kubectl(apply, body)).out == "configmap/it serverside-applied\n"
    before = await writes.get(path)
    await kubectl(apply, body)
    assert version_of(await writes.get(path)) == version_of(before)
    await kubectl(f"{apply} --field-manager=other", config_map("it", {"c": "1"}))
    await kubectl(apply, config_map("it", {"a": "1"}))
    assert (await writes.get(path))["data"] == {"a": "1", "c": "1"}
    refused = await kubectl.run(apply, config_map("it", {"c": "2"}))
    assert refused.code == 1
    assert 'conflict with "other": .data.c' in refused.err
    await kubectl(f"{apply} --force-conflicts", config_map("it", {"c": "2"}))
    assert (await writes.get(path))["data"] == {"c": "2"}


PATCHES = [
    (
        "strategic",
        '{"spec": {"ports": [{"port": 81, "name": "b", "protocol": "TCP"}]}}',
        [81, 80],  # merged by port; upstream puts the new one first
    ),
    (
        "merge",
        '{"spec": {"ports": [{"port": 82, "name": "c", "protocol": "TCP"}]}}',
        [82],
    ),
    (
        "json",
        '[{"op": "replace", "path": "/spec/ports/0/port", "value": 83}]',
        [83],
    ),
]


@pytest.mark.parametrize(("kind", "patch", "ports"), PATCHES)
async def test_patch(
    kubectl: Kubectl, writes: Api, ns: str, kind: str, patch: str, ports: list[int]
) -> None:
    await writes.create(service("it"), ns)
    done = await kubectl(f"patch service it --type={kind} -p '{patch}'")
    assert done.out == "service/it patched\n"
    spec = (await writes.get(f"{collection('Service', ns)}/it"))["spec"]
    assert sorted(port["port"] for port in spec["ports"]) == sorted(ports)


async def test_a_patch_that_tests_in_vain(kubectl: Kubectl, writes: Api, ns: str) -> None:
    await writes.create(config_map("it"), ns)
    patch = '[{"op": "test", "path": "/data/key", "value": "other"}]'
    refused = await kubectl.run(f"patch configmap it --type=json -p '{patch}'")
    assert refused.code == 1
    assert "testing" in refused.err.lower() or "invalid" in refused.err.lower()


async def test_a_strategic_patch_of_a_custom_resource(
    kubectl: Kubectl, writes: Api, ns: str
) -> None:
    """Has no merge keys, so it is refused; kubectl's default for it is told to be `merge`."""
    await writes.create(widget("it"), ns)
    refused = await kubectl.run('patch widget it --type=strategic -p \'{"spec": {"size": 2}}\'')
    assert refused.code == 1
    await kubectl('patch widget it --type=merge -p \'{"spec": {"size": 2}}\'')
    assert (await writes.get(f"{collection('Widget', ns)}/it"))["spec"]["size"] == 2


async def test_labels_and_annotations(kubectl: Kubectl, writes: Api, ns: str) -> None:
    await writes.create(config_map("it", old="1"), ns)
    await kubectl("label configmap it new=2 old-")
    await kubectl("annotate configmap it note='two words'")
    metadata: Json = (await writes.get(f"{collection('ConfigMap', ns)}/it"))["metadata"]
    assert metadata["labels"] == {"new": "2"}
    assert metadata["annotations"] == {"note": "two words"}


async def test_replace_and_its_conflict(kubectl: Kubectl, writes: Api, ns: str) -> None:
    old = await writes.create(config_map("it"), ns)
    await kubectl("replace -f -", {**old, "data": {"key": "new"}})
    stale = await kubectl.run("replace -f -", {**old, "data": {"key": "newer"}})
    assert stale.code == 1
    assert "the object has been modified" in stale.err
    assert (await writes.get(f"{collection('ConfigMap', ns)}/it"))["data"] == {"key": "new"}


async def test_dry_runs_change_nothing(kubectl: Kubectl, writes: Api, ns: str) -> None:
    await writes.create(config_map("it"), ns)
    path = collection("ConfigMap", ns)
    before = await writes.get(f"{path}/it")
    if minor() < OPENAPI_V3:
        old = await kubectl.run("delete cm it --dry-run=server")
        assert "doesn't support dry-run" in old.err
        assert await writes.get(f"{path}/it") == before
        return
    for line in ('patch cm it -p \'{"data": {"key": "x"}}\'', "delete cm it", "label cm it a=b"):
        await kubectl(f"{line} --dry-run=server")
    await kubectl("create -f - --dry-run=server", config_map("new"))
    assert await writes.get(f"{path}/it") == before
    assert (await writes.ask(f"{path}/new")).status == 404


async def test_what_kubectl_writes_as_protobuf(kubectl: Kubectl) -> None:
    """Its generators (`create configmap NAME ...`) do since 1.32; files and pipes are JSON."""
    made = await kubectl("create configmap it --from-literal=a=1")
    assert made.out == "configmap/it created\n"
    assert (await kubectl("get configmap it -o jsonpath={.data.a}")).out == "1"


async def test_delete_many(kubectl: Kubectl, writes: Api, ns: str) -> None:
    for name in ("a", "b", "c"):
        await writes.create(config_map(name, mine="1" if name != "c" else "0"), ns)
    await kubectl("delete configmaps -l mine=1")
    path = collection("ConfigMap", ns)
    left = await writes.list(path, labelSelector="mine")
    assert [each["metadata"]["name"] for each in left] == ["c"]
    await kubectl("delete configmaps --all")
    assert await writes.list(path, labelSelector="mine") == []


async def test_diff_says_what_apply_would_do(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", config_map("it"))
    same = await kubectl.run("diff -f -", config_map("it"))
    if minor() < OPENAPI_V3:
        assert "doesn't support dry-run" in same.err
        return
    assert same.code == 0, same.err
    other = await kubectl.run("diff -f -", config_map("it", {"key": "other"}))
    assert other.code == 1, other.err
    assert "-  key: value\n+  key: other\n" in other.out


@pytest.mark.parametrize(
    ("path", "type_", "text"),
    [
        ("service --recursive", "<integer>", "sessionAffinityConfig"),
        ("service.spec.ports.port", "<integer>", "The port that will be exposed by this service."),
        ("endpointslices.endpoints", "<[]Endpoint>", "endpoints is a list"),
        ("widget.spec.size", "<integer>", "How large it is."),
        ("pod.spec.containers", "<[]Container>", "List of containers belonging to the pod."),
    ],
)
async def test_explain(kubectl: Kubectl, path: str, type_: str, text: str) -> None:
    if minor() < OPENAPI_V3:
        assert "couldn't find resource" in (await kubectl.run(f"explain {path}")).err
        return
    out = (await kubectl(f"explain {path}")).out
    assert type_ in out
    assert text in out
