"""Every row of the table: what is queued, and what is refused, with a Status that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.kube import builtin
from actors.kube.resource import Resource
from actors.kube.status_errors import ApiError
from edge.offline.policy import RULES, Ask, check, decide
from tests.edge.offline.worlds import (
    CSI_NODES,
    NODE,
    WIDGETS,
    Known,
    event,
    mirror_pod,
    node,
    opened,
    pod,
    write,
)

NO_STATUS = Resource(group="d.io", version="v1", plural="gadgets", kind="Gadget", namespaced=True)
GRACE = {"gracePeriodSeconds": 0}
UID = {"preconditions": {"uid": "uid-p1"}}


def ask(
    verb: str,
    resource: Resource,
    obj: dict[str, Any] | None = None,
    *,
    name: str = "x",
    sub: str = "",
    component: str = "kubelet",
    changed: str = "",
    options: dict[str, Any] | None = None,
) -> Ask:
    fields = frozenset(changed.split())
    return Ask(verb, resource, sub, name, component, NODE, obj or {}, fields, options or {})


B = builtin
ROWS: list[tuple[Ask, str]] = [
    (ask("create", B.EVENTS), "events"),
    (ask("patch", B.EVENTS, changed="count message"), "events"),
    (ask("update", B.NEW_EVENTS, changed="series"), "events"),
    (ask("create", B.NEW_EVENTS), "events"),
    (ask("delete", B.EVENTS), "events"),
    (ask("create", B.LEASES, name=NODE), "its own lease"),
    (ask("update", B.LEASES, name=NODE, changed="spec"), "its own lease"),
    (ask("patch", B.LEASES, name=NODE, changed="spec metadata"), "its own lease"),
    (ask("create", B.NODES, name=NODE), "its own node"),
    (ask("create", CSI_NODES, name=NODE), "its own node"),
    (ask("create", B.PODS, mirror_pod()), "mirror pods"),
    (ask("delete", B.PODS, mirror_pod(), component="x"), "mirror pods' ends"),
    (ask("delete", B.PODS, pod(), options=GRACE), "pods' ends"),
    (ask("delete", B.PODS, pod(), options=UID), "pods' ends"),
    (ask("patch", B.NODES, sub="status", changed="status"), "status"),
    (ask("update", B.PODS, sub="status", changed="status"), "status"),
    (ask("patch", WIDGETS, sub="status", changed="status", component="kopf"), "status"),
    (ask("patch", B.PODS, changed="metadata"), "metadata"),
    (ask("patch", WIDGETS, changed="metadata", component="kopf"), "metadata"),
    (ask("patch", NO_STATUS, changed="metadata status", component="kopf"), "metadata"),
    (ask("patch", B.NODES, name=NODE, changed="spec metadata"), "its own node's spec"),
    (ask("update", CSI_NODES, name=NODE, changed="spec"), "its own node's spec"),
]
REFUSED: list[tuple[Ask, str]] = [
    (ask("create", B.NODES, name="other"), "other creates"),
    (ask("create", CSI_NODES, name="other"), "other creates"),
    (ask("create", B.PODS, pod()), "other creates"),
    (ask("create", B.PODS, mirror_pod(on="other")), "other creates"),
    (ask("create", B.DEPLOYMENTS), "other creates"),
    (ask("create", B.SECRETS), "other creates"),
    (ask("delete", B.LEASES), "other deletes"),
    (ask("create", B.LEASES), "locks"),
    (ask("update", B.LEASES, changed="spec"), "locks"),
    (ask("patch", B.LEASES, changed="metadata"), "locks"),
    (ask("delete", B.PODS, pod()), "other deletes"),
    (ask("delete", B.PODS, pod(), options=GRACE, component="kubectl"), "other deletes"),
    (ask("delete", B.PODS, pod(on="other"), options=GRACE), "other deletes"),
    (ask("delete", B.PODS, mirror_pod(on="other")), "other deletes"),
    (ask("delete", B.DEPLOYMENTS, options=GRACE), "other deletes"),
    (ask("deletecollection", B.EVENTS), "whole lists"),
    (ask("patch", B.SECRETS, changed="metadata"), "powers"),
    (ask("update", B.CONFIGMAPS, changed="data"), "powers"),
    (ask("patch", B.CLUSTER_ROLES, changed="rules"), "powers"),
    (ask("patch", B.CRDS, sub="status", changed="status"), "powers"),
    (ask("create", B.PODS, sub="eviction"), "other subresources"),
    (ask("create", B.PODS, sub="binding"), "other subresources"),
    (ask("patch", B.DEPLOYMENTS, sub="scale", changed="spec"), "other subresources"),
    (ask("update", B.NAMESPACES, sub="finalize"), "other subresources"),
    (ask("patch", B.DEPLOYMENTS, changed="spec"), "specs"),
    (ask("patch", B.NODES, name="other", changed="spec"), "specs"),
    (ask("patch", WIDGETS, changed="metadata spec"), "specs"),
    (ask("patch", WIDGETS, changed="status"), "specs"),
]


@pytest.mark.parametrize(("what", "rule"), ROWS)
def test_queued(what: Ask, rule: str) -> None:
    found = decide(what)
    assert (found.name, found.refusal) == (rule, "")


@pytest.mark.parametrize(("what", "rule"), REFUSED)
def test_refused(what: Ask, rule: str) -> None:
    found = decide(what)
    assert found.name == rule
    assert found.refusal


def test_every_rule_has_a_row() -> None:
    assert {rule.name for rule in RULES} == {rule for _, rule in (*ROWS, *REFUSED)}


async def refused(offline: Any, *args: Any, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await write(offline, *args, **more)
    return caught.value


async def test_a_refusal_is_a_503_that_says_what_and_why(tmp_path: Path) -> None:
    known = Known()
    known.put(B.PODS, pod())
    async with opened(tmp_path / "q.db", known) as offline:
        error = await refused(offline, "patch", B.PODS, "p1", {"spec": {"priority": 1}})
        assert (error.code, error.reason) == (503, "ServiceUnavailable")
        assert error.retry_after > 0
        assert error.message == (
            'patch of pods "p1": the API server cannot be reached, and this write is not queued:'
            " only status and metadata are written while offline"
        )
        for verb, resource, body in (
            ("create", B.SECRETS, {"metadata": {"name": "s"}}),
            ("update", B.SECRETS, {"metadata": {"name": "s"}}),
            ("delete", B.SECRETS, {}),
            ("deletecollection", B.PODS, {}),
        ):
            error = await refused(offline, verb, resource, "s", body)
            assert (error.code, error.reason) == (503, "ServiceUnavailable")
        error = await refused(
            offline, "patch", B.PODS, "p1", b"a: 1", content_type="application/apply-patch+yaml"
        )
        assert error.code == 503
        assert offline.pending == {"objects": 0, "events": 0, "bytes": 0}
        assert known.revised == {}
        assert offline.counts["refused"] == 6


@pytest.mark.parametrize("resource", B.REVIEWS, ids=lambda each: str(each.plural))
async def test_reviews_are_not_for_the_queue(tmp_path: Path, resource: Resource) -> None:
    async with opened(tmp_path / "q.db") as offline:
        assert (await refused(offline, "create", resource, "", {})).code == 503


async def test_a_node_that_is_known_already_exists(tmp_path: Path) -> None:
    """The kubelet goes on by that answer: it takes the node that there is."""
    known = Known()
    known.put(B.NODES, node())
    async with opened(tmp_path / "q.db", known) as offline:
        error = await refused(offline, "create", B.NODES, "", {"metadata": {"name": NODE}})
        assert (error.code, error.reason) == (409, "AlreadyExists")


async def test_593_deletes_that_are_refused_can_be_tried_again(tmp_path: Path) -> None:
    """OpenYurt #593: the kubelet took a delete for done, and the pod was never deleted. A 403 is
    a verdict, so it is no 403 either."""
    known = Known()
    known.put(B.PODS, pod())
    known.put(B.EVENTS, event())
    async with opened(tmp_path / "q.db", known) as offline:
        error = await refused(offline, "delete", B.PODS, "p1", component="kubectl")
        assert error.code == 503
        assert known.read(B.PODS, "default/p1")["metadata"]["uid"] == "uid-p1"


def test_who_must_give_up_a_lock_is_told_at_once() -> None:
    """urllib3 and client-go wait for a Retry-After within one attempt to renew: too long."""
    with pytest.raises(ApiError) as refused:
        check(ask("update", B.LEASES, changed="spec"), 5)
    assert (refused.value.code, refused.value.retry_after) == (503, 0)
    with pytest.raises(ApiError) as other:
        check(ask("delete", B.LEASES), 5)
    assert other.value.retry_after == 5
