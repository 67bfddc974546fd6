"""kubectl on what a node's components live by, of which a hub has no feed: it passes all on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.kubectl import Kubectl
from tests.interop.target import Api, Target

Json = dict[str, Any]


@pytest.fixture
def kubectl(target: Target, ns: str, kubectl_home: Path) -> Kubectl:
    return Kubectl(target.reads.kubeconfig, ns, kubectl_home / target.name)


def named(api: str, kind: str, **rest: Any) -> Json:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "it"}, **rest}


CONTAINER = {"name": "it", "image": "it:1"}
OBJECTS: dict[str, tuple[Json, str, str]] = {  # what it is, a merge patch, what `describe` then has
    "pod": (
        named("v1", "Pod", spec={"nodeName": "absent", "containers": [CONTAINER]}),
        '{"spec":{"activeDeadlineSeconds":100}}',
        "it:1",
    ),
    "secret": (named("v1", "Secret", stringData={"a": "1"}), '{"data":{"b":"MQ=="}}', "b:"),
    "serviceaccount": (
        named("v1", "ServiceAccount"),
        '{"metadata":{"labels":{"more":"yes"}}}',
        "more=yes",
    ),
    "lease": (
        named("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "me"}),
        '{"spec":{"leaseDurationSeconds":41}}',
        "41",
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
async def test_an_object_s_life(kubectl: Kubectl, kind: str) -> None:
    body, patch, described = OBJECTS[kind]
    assert (await kubectl("apply -f -", body)).out == f"{named_in_answers(body)}/it created\n"
    assert (await kubectl(f"get {kind} it -o name")).out.endswith("/it\n")
    done = await kubectl(f"patch {kind} it --type=merge -p '{patch}'")
    assert done.out.endswith("/it patched\n")
    assert described in (await kubectl(f"describe {kind} it")).out
    await kubectl("apply --server-side --force-conflicts -f -", body)
    await kubectl(f"label {kind} it a=b")
    assert (await kubectl(f"get {kind} -l a=b -o name")).out.endswith("/it\n")
    await kubectl(f"delete {kind} it --grace-period=0 --force")
    await kubectl(f"wait --for=delete {kind}/it --timeout=10s")
    assert (await kubectl.run(f"get {kind} it")).err.startswith("Error from server (NotFound)")


def named_in_answers(body: Json) -> str:
    kind = str(body["kind"]).lower()
    group = body["apiVersion"].rpartition("/")[0]
    return f"{kind}.{group}" if group else kind


async def test_a_wait_for_a_status(kubectl: Kubectl, writes: Api, ns: str) -> None:
    await kubectl("create -f -", OBJECTS["pod"][0])
    late = await kubectl.run("wait --for=condition=Ready pod/it --timeout=1s")
    assert "timed out waiting for the condition" in late.err
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    path = f"/api/v1/namespaces/{ns}/pods/it/status"
    done = await writes.ask(path, "PATCH", status, kind="application/merge-patch+json")
    assert done.status == 200
    waited = await kubectl("wait --for=condition=Ready pod/it --timeout=10s")
    assert waited.out == "pod/it condition met\n"


async def test_who_may_do_what_is_the_api_server_s_to_say(kubectl: Kubectl) -> None:
    assert (await kubectl("auth can-i get secrets")).out == "yes\n"
    assert "Username" in (await kubectl("auth whoami")).out
