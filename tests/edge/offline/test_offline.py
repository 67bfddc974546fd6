"""What clients are answered while nobody can be asked: they read what they wrote."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.kube import builtin
from actors.kube.protobuf import CONTENT_TYPE
from actors.kube.serve.api import RequestInfo
from actors.kube.status_errors import ApiError
from edge.offline import Offline, OfflineSettings
from tests.actors.kube.protobuf.samples import SAMPLES, enveloped
from tests.edge.offline.worlds import (
    JSON_PATCH,
    MERGE,
    NODE,
    NOW,
    WIDGETS,
    Clock,
    Known,
    answered,
    condition,
    event,
    lease,
    mirror_pod,
    node,
    opened,
    patch_status,
    pod,
    widget,
    write,
)

B = builtin
LATER = "2023-11-14T22:13:30.000000Z"


@pytest.fixture
def known() -> Known:
    found = Known()
    found.put(B.NODES, node())
    found.put(B.PODS, pod())
    found.put(WIDGETS, widget(seen=1))
    found.put(B.LEASES, lease(version=5))
    return found


async def fails(offline: Offline, code: int, *args: Any, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await write(offline, *args, **more)
    assert caught.value.code == code, caught.value.message
    return caught.value


async def test_2137_a_status_patch_is_read_back(tmp_path: Path, known: Known) -> None:
    """OpenYurt #2137: the patch was answered with the old object, and lost."""
    async with opened(tmp_path / "q.db", known) as offline:
        assert not offline.has_pending(B.NODES, NODE)
        ready = condition("Ready", "False", 5)
        answer = await patch_status(offline, B.NODES, NODE, {"conditions": [ready]})
        assert answer == node(conditions=[ready, condition("Disk", "False")])
        assert known.read(B.NODES, NODE) == answer
        assert offline.has_pending(B.NODES, NODE)
        assert offline.pending["objects"] == 1


async def test_an_update_is_not_answered_with_the_object_unchanged(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        new = pod() | {"status": {"phase": "Running"}, "spec": {"nodeName": "elsewhere"}}
        result = await write(offline, "update", B.PODS, "p1", new, subresource="status")
        assert result.code == 200
        assert answered(result) == pod() | {"status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (MERGE, {"status": {"seen": 2}}),
        (JSON_PATCH, [{"op": "replace", "path": "/status/seen", "value": 2}]),
    ],
)
async def test_patches_of_custom_resources(
    tmp_path: Path, known: Known, content_type: str, patch: Any
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        result = await write(
            offline, "patch", WIDGETS, "w1", patch, subresource="status", content_type=content_type
        )
        assert answered(result) == widget(seen=2)


async def test_a_custom_resource_takes_no_strategic_patch(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await fails(offline, 415, "patch", WIDGETS, "w1", {"status": {}}, subresource="status")


async def test_status_patches_of_custom_resources_leave_metadata_alone(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        patch = {"metadata": {"labels": {"a": "b"}}, "status": {"seen": 3}, "spec": {"size": 9}}
        result = await write(
            offline, "patch", WIDGETS, "w1", patch, subresource="status", content_type=MERGE
        )
        assert answered(result) == widget(seen=3)


async def test_metadata_of_the_object_itself(tmp_path: Path, known: Known) -> None:
    """What a kopf operator does: annotations and finalizers by a plain patch."""
    async with opened(tmp_path / "q.db", known) as offline:
        patch = {"metadata": {"annotations": {"a": "b"}, "finalizers": ["f"], "uid": None}}
        result = await write(offline, "patch", WIDGETS, "w1", patch, content_type=MERGE)
        expected = widget(seen=1)
        expected["metadata"] |= {"annotations": {"a": "b"}, "finalizers": ["f"]}
        assert answered(result) == expected


async def test_a_write_that_changes_nothing_is_not_queued(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        assert await patch_status(offline, WIDGETS, "w1", {"seen": 1}) == widget(seen=1)
        assert not offline.has_pending(WIDGETS, "default/w1")


async def test_a_dry_run_is_answered_only(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        answer = await patch_status(offline, WIDGETS, "w1", {"seen": 7}, query={"dryRun": "All"})
        assert answer == widget(seen=7)
        assert known.read(WIDGETS, "default/w1") == widget(seen=1)
        assert offline.pending["objects"] == 0


async def test_nonsense_is_refused(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        patches: list[tuple[str, Any, int]] = [
            ("nobody", {"status": {}}, 404),
            ("p1", b"{", 400),
            ("p1", [], 400),
            ("p1", {"status": "fine"}, 400),
            ("p1", {"status": {"conditions": "none"}}, 400),
            ("p1", {"metadata": {"labels": {"a": 1}}}, 400),
            ("p1", {"metadata": None}, 400),
            ("p1", {"kind": "Node"}, 400),
            ("p1", {"metadata": {"name": "p2"}}, 400),
            ("p1", {"metadata": {"namespace": "other"}}, 400),
            ("p1", {"metadata": {"uid": "another"}}, 409),
            ("p1", {"metadata": {"resourceVersion": "9"}}, 409),
        ]
        for name, body, code in patches:
            await fails(offline, code, "patch", B.PODS, name, body, subresource="status")
        updates: list[tuple[Any, int]] = [
            ({"metadata": {"name": "p1"}, "kind": "Pid"}, 400),
            ({"metadata": {"name": "p1", "resourceVersion": "9"}}, 409),
            ({"metadata": []}, 400),
        ]
        for body, code in updates:
            await fails(offline, code, "update", B.PODS, "p1", body, subresource="status")
        await fails(offline, 415, "patch", B.PODS, "p1", {}, content_type="text/plain")
        await fails(offline, 404, "delete", B.PODS, "nobody", component="kubelet")
        bad = {"gracePeriodSeconds": "soon"}
        await fails(offline, 400, "delete", B.PODS, "p1", bad)
        await fails(offline, 413, "patch", B.PODS, "p1", b" " * (2 << 20))
        assert offline.pending["objects"] == 0


async def test_a_version_that_is_held_may_be_updated(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        for phase in ("Running", "Succeeded"):
            held = known.read(B.PODS, "default/p1")
            held["status"] = {"phase": phase}
            await write(offline, "update", B.PODS, "p1", held, subresource="status")
        assert known.read(B.PODS, "default/p1")["status"] == {"phase": "Succeeded"}
        assert offline.pending["objects"] == 1  # joined


async def test_events_are_created_and_patched(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        result = await write(offline, "create", B.EVENTS, "", event())
        assert result.code == 201
        made = answered(result)
        assert made["metadata"].pop("uid")
        assert made["metadata"].pop("creationTimestamp") == "2023-11-14T22:13:20Z"
        assert made["metadata"].pop("resourceVersion") == "1"
        assert made == event()
        patch = {"count": 2, "message": "again"}
        answer = answered(await write(offline, "patch", B.EVENTS, "e1", patch))
        assert (answer["count"], answer["message"]) == (2, "again")
        assert known.read(B.EVENTS, "default/e1") == answer
        assert offline.pending["events"] == 1
        await fails(offline, 409, "create", B.EVENTS, "", event())


async def test_names_are_generated(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as offline:
        body = event() | {"metadata": {"generateName": "e-"}}
        names = {
            answered(await write(offline, "create", builtin.EVENTS, "", body))["metadata"]["name"]
            for _ in range(3)
        }
        assert len(names) == 3
        assert all(name.startswith("e-") and len(name) == 7 for name in names)
        await fails(offline, 422, "create", builtin.EVENTS, "", event() | {"metadata": {}})


async def test_the_node_s_lease_is_renewed_and_made(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        later = lease(at=LATER, version=5)
        assert answered(await write(offline, "update", B.LEASES, NODE, later)) == later
        assert offline.pending["objects"] == 1
    async with opened(tmp_path / "new.db", Known()) as offline:
        made = answered(await write(offline, "create", B.LEASES, "", lease()))
        made["spec"]["renewTime"] = "2023-11-14T22:14:00.000000Z"
        assert answered(await write(offline, "update", B.LEASES, NODE, made)) == made
        assert offline.pending["objects"] == 1


async def test_a_lock_is_neither_renewed_nor_taken(tmp_path: Path, known: Known) -> None:
    """It runs out where others see it: its holder must know that he cannot keep it."""
    known.put(B.LEASES, lease("lock", version=6))
    async with opened(tmp_path / "q.db", known) as offline:
        await fails(offline, 503, "update", B.LEASES, "lock", lease("lock", version=6, at=LATER))
        await fails(offline, 503, "create", B.LEASES, "", lease("another"))
        assert offline.pending["objects"] == 0


async def test_a_mirror_pod_is_made_read_and_ended(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        made = answered(await write(offline, "create", B.PODS, "", mirror_pod()))
        assert known.read(B.PODS, "default/static") == made
        await patch_status(offline, B.PODS, "static", {"phase": "Running"})
        assert known.read(B.PODS, "default/static")["status"]["phase"] == "Running"
        options = {"preconditions": {"uid": made["metadata"]["uid"]}, "gracePeriodSeconds": 0}
        await write(offline, "delete", B.PODS, "static", options)
        assert known.get(B.PODS, "default/static") is None
        await fails(offline, 404, "patch", B.PODS, "static", {}, subresource="status")
        again = answered(await write(offline, "create", B.PODS, "", mirror_pod(mark="h2")))
        assert known.read(B.PODS, "default/static") == again


async def test_a_pods_end(tmp_path: Path, known: Known) -> None:
    """Marked first, then gone, as by the API server."""
    async with opened(tmp_path / "q.db", known) as offline:
        wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
        await fails(offline, 409, "delete", B.PODS, "p1", wrong)
        uid = {"preconditions": {"uid": "uid-p1"}, "gracePeriodSeconds": 20}
        marked = answered(await write(offline, "delete", B.PODS, "p1", uid))
        assert marked["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:40Z"
        assert known.read(B.PODS, "default/p1") == marked
        await patch_status(offline, B.PODS, "p1", {"phase": "Succeeded"})
        result = await write(offline, "delete", B.PODS, "p1", {"gracePeriodSeconds": 0})
        assert answered(result)["status"]["phase"] == "Succeeded"
        assert known.get(B.PODS, "default/p1") is None
        assert offline.is_written(B.PODS, "default/p1")
        assert offline.written(B.PODS, "default/p1") is None


async def test_protobuf_bodies_are_decoded(tmp_path: Path) -> None:
    known = Known()
    sample = next(each for each in SAMPLES if each.obj.get("kind") == "Lease")
    async with opened(tmp_path / "q.db", known) as offline:
        obj = copy.deepcopy(sample.obj)
        obj["metadata"] = {k: v for k, v in obj["metadata"].items() if k in ("name", "namespace")}
        result = await write(
            offline, "create", B.LEASES, "", sample.body, content_type=CONTENT_TYPE,
            namespace=obj["metadata"]["namespace"],
        )  # fmt: skip
        assert answered(result)["spec"] == obj["spec"]
        event_sample = next(each for each in SAMPLES if each.origin.endswith(" v1 Event"))
        namespace = event_sample.obj["metadata"]["namespace"]
        await write(
            offline, "create", B.EVENTS, "", event_sample.body, content_type=CONTENT_TYPE,
            namespace=namespace,
        )  # fmt: skip
        assert offline.pending["events"] == 1


async def test_a_protobuf_body_that_cannot_be_read_is_a_503_that_names_the_kind(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        body = enveloped("demo.io/v1", "Widget", b"\x0a\x00")
        error = await fails(
            offline, 503, "update", WIDGETS, "w1", body, subresource="status",
            content_type=CONTENT_TYPE,
        )  # fmt: skip
        assert "kind Widget of demo.io/v1" in error.message
        assert "not queued" in error.message


async def test_a_restart_has_the_queue_and_the_view_again(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.NODES, NODE, {"phase": "Running"})
        await write(offline, "create", B.EVENTS, "", event())
        await write(offline, "delete", B.PODS, "p1", {"gracePeriodSeconds": 0})
        before = dict(known.revised)
    again = Known()
    again.cloud = dict(known.cloud)
    async with opened(tmp_path / "q.db", again) as offline:
        assert {k: v and msgspec.json.decode(v) for k, v in again.revised.items()} == {
            k: v and msgspec.json.decode(v) for k, v in before.items()
        }
        assert offline.pending["objects"] == 2
        assert offline.pending["events"] == 1
        await patch_status(offline, B.NODES, NODE, {"phase": "Terminated"})
        assert again.read(B.NODES, NODE)["status"]["phase"] == "Terminated"
        assert offline.pending["objects"] == 2


async def test_writes_of_one_object_are_serialised(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                kind = f"C{number}"
                status = {"conditions": [condition(kind, "True")]}
                group.create_task(patch_status(offline, B.NODES, NODE, status))
        held = known.read(B.NODES, NODE)["status"]["conditions"]
        assert {f"C{number}" for number in range(30)} < {each["type"] for each in held}
        assert offline.pending["objects"] == 1


async def test_two_identities_have_an_entry_each(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        for number in range(4):
            for identity in ("", "npd"):
                status = {"conditions": [condition(f"of {identity}", str(number))]}
                await patch_status(offline, B.NODES, NODE, status, identity=identity)
        assert offline.pending["objects"] == 2
        # In turn to the same member: their order matters, so they stay apart.
        for number, identity in enumerate(("", "npd", "")):
            status = {"conditions": [condition("shared", str(number))]}
            await patch_status(offline, B.NODES, NODE, status, identity=identity)
        held = {c["type"]: c["status"] for c in known.read(B.NODES, NODE)["status"]["conditions"]}
        assert held["shared"] == "2"
        assert held["of npd"] == "3"
    again = Known()
    async with opened(tmp_path / "q.db", again):
        assert again.read(B.NODES, NODE) == known.read(B.NODES, NODE)


async def test_a_client_that_goes_away_leaves_the_write(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        task = asyncio.create_task(patch_status(offline, B.PODS, "p1", {"phase": "Running"}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    again = Known()
    async with opened(tmp_path / "q.db", again):
        assert again.read(B.PODS, "default/p1") == known.read(B.PODS, "default/p1")
        assert known.read(B.PODS, "default/p1")["status"]["phase"] == "Running"


# -- bounds ---------------------------------------------------------------------------------------


async def test_the_oldest_events_go_first_and_are_counted(tmp_path: Path, known: Known) -> None:
    settings = OfflineSettings(node=NODE, max_events=3)
    async with opened(tmp_path / "q.db", known, settings) as offline:
        for number in range(5):
            await write(offline, "create", B.EVENTS, "", event(f"e{number}"))
        assert offline.counts["events.dropped"] == 2
        assert known.get(B.EVENTS, "default/e1") is None
        assert known.get(B.EVENTS, "default/e2") is not None
        assert offline.pending["events"] == 3
    async with opened(tmp_path / "q.db", Known(), settings) as offline:
        assert offline.pending["events"] == 3


@pytest.mark.parametrize(
    "settings",
    [OfflineSettings(node=NODE, max_entries=3), OfflineSettings(node=NODE, max_bytes=5_000)],
)
async def test_status_is_never_dropped_and_what_does_not_fit_is_refused(
    tmp_path: Path, settings: OfflineSettings
) -> None:
    known = Known()
    names = [f"p{number}" for number in range(20)]
    for name in names:
        known.put(B.PODS, pod(name))
    async with opened(tmp_path / "q.db", known, settings) as offline:
        await write(offline, "create", B.EVENTS, "", event())
        done = []
        for name in names:
            try:
                await patch_status(offline, B.PODS, name, {"phase": "Running"})
            except ApiError as error:
                assert (error.code, error.reason) == (507, "InsufficientStorage")  # noqa: PT017
                assert "not queued" in error.message  # noqa: PT017
                break
            done.append(name)
        assert 2 < len(done) < 20
        assert offline.counts["events.dropped"] == 1
        await fails(offline, 507, "create", B.EVENTS, "", event("late"))
        # What is queued already can be written on.
        await patch_status(offline, B.PODS, done[0], {"phase": "Succeed"})
    async with opened(tmp_path / "q.db", Known(), settings) as offline:
        assert all(offline.has_pending(B.PODS, f"default/{name}") for name in done)


async def test_a_disk_that_cannot_be_written_is_a_507(tmp_path: Path, known: Known) -> None:
    path = tmp_path / "none" / "q.db"
    async with opened(path, known) as offline:
        error = await fails(
            offline, 507, "patch", B.PODS, "p1", {"status": {"phase": "x"}}, subresource="status"
        )
        assert "not queued" in error.message
        assert known.revised == {}
        path.parent.mkdir()
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})


# -- the cloud tells ------------------------------------------------------------------------------


async def test_a_newer_object_of_the_cloud_does_not_bring_back_the_old_status(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.NODES, NODE, {"conditions": [condition("Ready", "False")]})
        newer = node(version=11, conditions=[condition("Ready", "True"), condition("New", "True")])
        newer["spec"]["unschedulable"] = True
        known.shown.clear()
        known.tell(offline, B.NODES, NODE, newer)
        held = known.read(B.NODES, NODE)
        assert held["metadata"]["resourceVersion"] == "11"
        assert held["spec"]["unschedulable"]
        assert held["status"]["conditions"] == [
            condition("Ready", "False"), condition("New", "True"),
        ]  # fmt: skip
        assert len(known.shown) == 1  # no flicker: only the merged one was shown
    again = Known()
    async with opened(tmp_path / "q.db", again):
        assert again.read(B.NODES, NODE) == held


async def test_an_object_that_is_gone_is_shown_as_gone(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        known.tell(offline, B.PODS, "default/p1", None)
        assert known.get(B.PODS, "default/p1") is None
        assert offline.has_pending(B.PODS, "default/p1")  # to be reported
        fresh = pod() | {"metadata": pod()["metadata"] | {"uid": "another"}}
        known.tell(offline, B.PODS, "default/p1", fresh)
        assert known.read(B.PODS, "default/p1") == fresh


# -- tokens ---------------------------------------------------------------------------------------


def token_request(**spec: Any) -> dict[str, Any]:
    spec.setdefault("expirationSeconds", 3600)
    spec.setdefault("boundObjectRef", {"kind": "Pod", "name": "p1", "uid": "uid-p1"})
    return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}


def token_answer(token: str = "real", until: str = "2023-11-14T23:13:20Z") -> bytes:
    status = {"token": token, "expirationTimestamp": until}
    return msgspec.json.encode(token_request() | {"status": status})


async def remember(offline: Offline, request: Any, answer: bytes, identity: str = "") -> None:
    info = RequestInfo(
        "create", "/x", True, "", "v1", "serviceaccounts", "default", "robot", "token",
        B.SERVICE_ACCOUNTS,
    )  # fmt: skip
    body = msgspec.json.encode(request)
    await offline.remember(info, body, "application/json", answer, identity)


async def ask_token(offline: Offline, request: Any, **more: Any) -> dict[str, Any]:
    result = await write(
        offline, "create", B.SERVICE_ACCOUNTS, "robot", request, subresource="token", **more
    )
    assert result.code == 201
    return answered(result)


async def test_no_token_is_ever_faked(tmp_path: Path) -> None:
    """OpenYurt's hub signed one itself, with a key that everybody knows."""
    async with opened(tmp_path / "q.db") as offline:
        error = await fails(
            offline, 503, "create", B.SERVICE_ACCOUNTS, "robot", token_request(),
            subresource="token",
        )  # fmt: skip
        assert "default/robot" in error.message


async def test_a_token_that_was_given_is_given_again_while_it_is_valid(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "q.db"
    async with opened(path, clock=clock) as offline:
        await remember(offline, token_request(), token_answer())
        assert (await ask_token(offline, token_request()))["status"]["token"] == "real"
    async with opened(path, clock=clock) as offline:
        assert (await ask_token(offline, token_request()))["status"]["token"] == "real"
        for other in (
            token_request(audiences=["x"]),
            token_request(expirationSeconds=60),
            token_request(boundObjectRef={"kind": "Pod", "name": "p1", "uid": "another"}),
        ):
            with pytest.raises(ApiError):
                await ask_token(offline, other)
        with pytest.raises(ApiError):
            await ask_token(offline, token_request(), identity="another")
        clock.now = NOW + 3600 - 5
        with pytest.raises(ApiError, match="has run out"):
            await ask_token(offline, token_request())
    assert (path.stat().st_mode & 0o777) == 0o600


async def test_tokens_are_bounded_and_answers_without_one_are_not_kept(tmp_path: Path) -> None:
    settings = OfflineSettings(max_tokens=2)
    async with opened(tmp_path / "q.db", settings=settings) as offline:
        for number in range(4):
            until = f"2023-11-15T0{number}:00:00Z"
            request = token_request(audiences=[str(number)])
            await remember(offline, request, token_answer(str(number), until))
        for number in (2, 3):
            request = token_request(audiences=[str(number)])
            assert (await ask_token(offline, request))["status"]["token"] == str(number)
        with pytest.raises(ApiError):
            await ask_token(offline, token_request(audiences=["0"]))
        await remember(offline, token_request(), b"{}")
        await remember(offline, token_request(), b"no JSON")
        with pytest.raises(ApiError):
            await ask_token(offline, token_request())
