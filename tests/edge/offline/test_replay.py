"""Replay over scripted answers: what stays, what goes, what is reported, what is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.kube import builtin
from edge.offline import REASON, Offline, OfflineSettings
from edge.offline.entry import encoded
from tests.edge.offline.worlds import (
    MERGE,
    NODE,
    WIDGETS,
    Clock,
    Known,
    Scripted,
    answered,
    condition,
    event,
    lease,
    mirror_pod,
    node,
    opened,
    patch_status,
    pod,
    status,
    widget,
    write,
)

B = builtin
POD = "/api/v1/namespaces/default/pods/p1"


@pytest.fixture
def known() -> Known:
    found = Known()
    found.put(B.NODES, node())
    found.put(B.PODS, pod())
    found.put(WIDGETS, widget())
    found.put(B.LEASES, lease(version=5, at="2023-11-14T22:13:00Z"))
    return found


def running(version: int = 11) -> dict[str, Any]:
    return pod(version=version) | {"status": {"phase": "Running"}}


async def test_a_later_write_past_the_queue_is_what_is_known_then(
    tmp_path: Path, known: Known
) -> None:
    """It was replayed, no watch has told of it yet, and its writer goes on online."""
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        await offline.replay(Scripted([(200, running(12))]))
        assert offline.is_written(B.PODS, "default/p1")
        newest = encoded(running(14))
        offline.on_answer(B.PODS, "default/p1", newest)
        assert offline.written(B.PODS, "default/p1") == newest
        shown = offline.on_server_object(B.PODS, "default/p1", encoded(running(12)))
        assert shown == newest
        offline.on_server_object(B.PODS, "default/p1", newest)
        assert not offline.is_written(B.PODS, "default/p1")


async def test_after_replay_nothing_flickers_back(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"}, identity="me")
        known.shown.clear()
        upstream = Scripted([(200, running(12))])
        result = await offline.replay(upstream)
        assert (result.sent, result.left, result.is_cut) == (1, 0, False)
        assert upstream.asked == [
            ("PATCH", f"{POD}/status", {
                "metadata": {"uid": "uid-p1"}, "status": {"phase": "Running"},
            }, "me"),
        ]  # fmt: skip
        assert not offline.has_pending(B.PODS, "default/p1")
        known.tell(offline, B.PODS, "default/p1", pod(version=11))  # on its way since before
        known.tell(offline, B.PODS, "default/p1", running(12))
        known.tell(offline, B.PODS, "default/p1", running(13))
        phases = [raw and b"Running" in raw for _, _, raw in known.shown]
        assert phases == [True] * len(phases)
        assert known.revised == {}
        assert not offline.is_written(B.PODS, "default/p1")
        # Another watch, which is behind the first.
        late = offline.on_server_object(B.PODS, "default/p1", encoded(pod(version=11)))
        assert late is not None
        assert b"Running" in late


async def test_a_watch_that_is_behind_does_not_bring_back_the_past(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.NODES, NODE, {"phase": "x"})
        newer = node(version=12)
        newer["spec"]["unschedulable"] = True
        known.tell(offline, B.NODES, NODE, newer)
        known.tell(offline, B.NODES, NODE, node(version=11))
        assert known.read(B.NODES, NODE)["spec"]["unschedulable"]


async def test_what_nobody_follows_is_forgotten(tmp_path: Path, known: Known) -> None:
    clock = Clock()
    async with opened(tmp_path / "q.db", known, clock=clock) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        await offline.replay(Scripted([(200, running(12))]))
        assert offline.is_written(B.PODS, "default/p1")
        clock.now += 600.0
        assert not offline.is_written(B.PODS, "default/p1")
        # And a cluster that was restored from a backup is believed.
        raw = encoded(pod(version=3))
        assert offline.on_server_object(B.PODS, "default/p1", raw) == raw


async def test_after_a_delete_the_pod_does_not_come_back(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await write(offline, "delete", B.PODS, "p1", {"gracePeriodSeconds": 0})
        await offline.replay(Scripted([(200, pod())]))
        known.tell(offline, B.PODS, "default/p1", pod(version=11))
        assert known.get(B.PODS, "default/p1") is None
        known.tell(offline, B.PODS, "default/p1", None)
        fresh = pod(version=14)
        fresh["metadata"]["uid"] = "another"
        known.tell(offline, B.PODS, "default/p1", fresh)
        assert known.read(B.PODS, "default/p1") == fresh


async def test_order_objects_by_first_write_then_events(tmp_path: Path, known: Known) -> None:
    """OpenYurt: creates of events were answered, and never replayed."""
    async with opened(tmp_path / "q.db", known) as offline:
        await write(offline, "create", B.EVENTS, "", event("e1"))
        await patch_status(offline, B.NODES, NODE, {"phase": "x"})
        await write(offline, "create", B.EVENTS, "", event("e2"))
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        await patch_status(offline, B.NODES, NODE, {"phase": "y"})
        await write(offline, "patch", B.EVENTS, "e1", {"count": 7})
        upstream = Scripted(default=(201, {}))
        assert (await offline.replay(upstream)).left == 0
        sent = [(m, p.rsplit("/", 2)[-2], b.get("count")) for m, p, b, _ in upstream.asked]
        assert sent == [
            ("PATCH", NODE, None), ("PATCH", "p1", None), ("POST", "default", 7),
            ("POST", "default", 1),
        ]  # fmt: skip


async def test_a_cut_leaves_all_that_was_not_answered(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.NODES, NODE, {"phase": "x"})
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        result = await offline.replay(Scripted([(200, node(version=11))]))
        assert (result.sent, result.left, result.is_cut) == (1, 1, True)
        result = await offline.replay(Scripted([ConnectionResetError("gone")]))
        assert (result.left, result.is_cut) == (1, True)
    async with opened(tmp_path / "q.db") as offline:
        assert not offline.has_pending(B.NODES, NODE)
        assert (await offline.replay(Scripted([(200, running())]))).sent == 1


async def test_a_server_that_is_busy_is_asked_again_later(tmp_path: Path, known: Known) -> None:
    clock = Clock()
    async with opened(tmp_path / "q.db", known, clock=clock) as offline:
        await patch_status(offline, B.NODES, NODE, {"phase": "x"})
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        upstream = Scripted([status(429), (200, running())])
        result = await offline.replay(upstream)
        assert (result.sent, result.left, result.retry_in) == (1, 1, 1.0)
        assert (await offline.replay(upstream)).left == 1
        assert len(upstream.asked) == 2  # not due yet
        clock.now += 1.0
        upstream.answers = [status(503)]
        assert (await offline.replay(upstream)).retry_in == 2.0
        clock.now += 2.0
        upstream.answers = [(200, node(version=12))]
        assert (await offline.replay(upstream)).left == 0
        assert offline.reports() == []


async def test_many_failures_in_a_row_end_a_pass(tmp_path: Path) -> None:
    known = Known()
    async with opened(tmp_path / "q.db", known) as offline:
        for number in range(6):
            known.put(B.PODS, pod(f"p{number}"))
            await patch_status(offline, B.PODS, f"p{number}", {"phase": "Running"})
        upstream = Scripted(default=status(500))
        assert (await offline.replay(upstream)).left == 6
        assert len(upstream.asked) == 3


async def test_events_behind_one_that_has_to_wait_keep_their_order(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "q.db", clock=clock) as offline:
        for number in range(3):
            await write(offline, "create", B.EVENTS, "", event(f"e{number}"))
        upstream = Scripted([status(500)], default=(201, {}))
        await offline.replay(upstream)
        assert len(upstream.asked) == 1
        clock.now += 1.0
        assert (await offline.replay(upstream)).left == 0
        names = [body["metadata"]["name"] for _, _, body, _ in upstream.asked]
        assert names == ["e0", "e0", "e1", "e2"]


async def test_403_is_no_verdict_at_first(tmp_path: Path, known: Known) -> None:
    """An API server that has just started says so to everyone."""
    clock = Clock()
    async with opened(tmp_path / "q.db", known, clock=clock) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        for _ in range(4):
            assert (await offline.replay(Scripted(default=status(403)))).left == 1
            clock.now += 60.0
        result = await offline.replay(Scripted([status(403, "Forbidden")], default=(201, {})))
        assert (result.dropped, result.left) == (1, 0)
        assert [report.why for report in offline.reports()] == ["403: no: Forbidden"]


async def test_what_is_refused_is_reported_dropped_and_blocks_nobody(
    tmp_path: Path, known: Known
) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"}, identity="me")
        await patch_status(offline, B.NODES, NODE, {"phase": "x"})
        upstream = Scripted([status(422, "Invalid"), (200, node(version=12))], default=(201, {}))
        result = await offline.replay(upstream)
        assert (result.sent, result.dropped, result.left) == (2, 1, 0)
        (report,) = offline.reports()
        assert (report.resource, report.name, report.identity) == ("pods.v1", "p1", "me")
        assert report.why == "422: no: Invalid"
        assert known.read(B.PODS, "default/p1") == pod()  # the cloud's again
        method, path, told, identity = upstream.asked[-1]
        assert (method, path, identity) == ("POST", "/api/v1/namespaces/default/events", "")
        assert told["reason"] == REASON
        assert told["type"] == "Warning"
        assert told["involvedObject"]["uid"] == "uid-p1"
        assert "422: no: Invalid" in told["message"]
    async with opened(tmp_path / "q.db") as offline:
        assert offline.reports() == [report]


async def test_reports_are_bounded_and_an_events_end_makes_no_event(tmp_path: Path) -> None:
    settings = OfflineSettings(max_reports=2)
    async with opened(tmp_path / "q.db", settings=settings) as offline:
        for number in range(4):
            await write(offline, "create", B.EVENTS, "", event(f"e{number}"))
        result = await offline.replay(Scripted(default=status(400)))
        assert (result.dropped, result.left) == (4, 0)
        assert [report.name for report in offline.reports()] == ["e2", "e3"]
        assert offline.counts["dropped"] == 4
    async with opened(tmp_path / "q.db", settings=settings) as offline:
        assert [report.name for report in offline.reports()] == ["e2", "e3"]


async def test_a_conflict_is_planned_anew(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        patch = {"metadata": {"annotations": {"a": "b"}}, "spec": {"size": 1}}
        await write(offline, "patch", WIDGETS, "w1", patch, content_type=MERGE)
        moved = widget(version=20)
        moved["spec"]["size"] = 5
        done = widget(version=21)
        upstream = Scripted([status(409, "Conflict"), (200, moved), (200, done)])
        assert (await offline.replay(upstream)).left == 0
        versions = [b["metadata"]["resourceVersion"] for m, _, b, _ in upstream.asked if m != "GET"]
        assert versions == ["10", "20"]
        assert "spec" not in upstream.asked[2][2]
        assert offline.reports() == []


async def test_fields_that_both_changed_are_reported(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        labels = {"labels": {"zone": "b", "mine": "1"}}
        await write(offline, "patch", B.NODES, NODE, {"metadata": labels})
        moved = node(version=20)
        moved["metadata"]["labels"] = {"zone": "c"}
        upstream = Scripted([status(409), (200, moved), (200, node(version=21))], default=(201, {}))
        assert (await offline.replay(upstream)).left == 0
        assert upstream.asked[2][2]["metadata"]["labels"] == {"mine": "1"}
        (report,) = offline.reports()
        assert report.fields == ("metadata.labels.zone",)


async def test_an_object_that_is_gone(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        upstream = Scripted([status(404), status(404)], default=(201, {}))
        result = await offline.replay(upstream)
        assert (result.dropped, result.left) == (1, 0)
        assert offline.reports()[0].why == "the object is gone"
        assert known.get(B.PODS, "default/p1") is None


async def test_a_write_during_its_replay_is_not_lost(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        tasks: list[asyncio.Task[Any]] = []

        def meanwhile() -> None:
            upstream.on_request = None
            work = patch_status(offline, B.PODS, "p1", {"phase": "Succeeded"})
            tasks.append(offline.own("a write meanwhile", work))

        upstream = Scripted(default=(200, running(12)), on_request=meanwhile)
        while offline.has_pending(B.PODS, "default/p1") or not tasks:
            await offline.replay(upstream)
            if tasks:
                await tasks[0]
        assert [body["status"] for _, _, body, _ in upstream.asked] == [
            {"phase": "Running"}, {"phase": "Succeeded"},
        ]  # fmt: skip


async def test_status_before_the_end_of_a_pod(tmp_path: Path, known: Known) -> None:
    """A Job's controller needs to see how its pod ended."""
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Succeeded"})
        await write(offline, "delete", B.PODS, "p1", {"gracePeriodSeconds": 0})
        upstream = Scripted([(200, running()), (200, pod())])
        assert (await offline.replay(upstream)).left == 0
        assert [method for method, *_ in upstream.asked] == ["PATCH", "DELETE"]
        assert upstream.asked[1][2]["preconditions"] == {"uid": "uid-p1"}
        assert known.get(B.PODS, "default/p1") is None


async def test_a_mirror_pod_and_its_status(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await write(offline, "create", B.PODS, "", mirror_pod())
        await patch_status(offline, B.PODS, "static", {"phase": "Running"})
        await patch_status(offline, B.PODS, "static", {"message": "m"}, identity="other")
        answer = mirror_pod()
        answer["metadata"] |= {"uid": "theirs", "resourceVersion": "40"}
        answer["status"] = {"phase": "Pending"}
        done = answer | {"status": {"phase": "Running"}}
        upstream = Scripted([(201, answer), (200, done), (200, done)])
        assert (await offline.replay(upstream)).left == 0
        assert [(m, b["metadata"].get("uid")) for m, _, b, _ in upstream.asked] == [
            ("POST", None), ("PATCH", "theirs"), ("PATCH", "theirs"),
        ]  # fmt: skip
        assert known.read(B.PODS, "default/static")["metadata"]["uid"] == "theirs"


async def test_what_was_made_and_ended_here_may_be_there_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as offline:
        await write(offline, "create", B.PODS, "", mirror_pod())
        await offline.replay(Scripted([TimeoutError()]))  # it was sent, no answer came
        await write(offline, "delete", B.PODS, "static", {"gracePeriodSeconds": 0})
        there = mirror_pod()
        there["metadata"] |= {"uid": "theirs", "resourceVersion": "40"}
        upstream = Scripted([(200, there), (200, there)])
        assert (await offline.replay(upstream)).left == 0
        assert [method for method, *_ in upstream.asked] == ["GET", "DELETE"]
        assert upstream.asked[1][2]["preconditions"] == {"uid": "theirs"}


async def test_leases_that_are_of_no_use_cost_nothing(tmp_path: Path, known: Known) -> None:
    clock = Clock()
    async with opened(tmp_path / "q.db", known, clock=clock) as offline:
        for second in range(3):
            held = known.read(B.LEASES, f"default/{NODE}")
            held["spec"]["renewTime"] = f"2023-11-14T22:13:1{second}Z"
            await write(offline, "update", B.LEASES, NODE, held)
        assert offline.pending["objects"] == 1
        clock.now += 100
        upstream = Scripted()
        result = await offline.replay(upstream)
        assert (result.left, upstream.asked) == (0, [])
        assert known.read(B.LEASES, f"default/{NODE}")["spec"]["renewTime"].endswith("22:13:00Z")


async def test_a_short_answer_is_no_object(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        await patch_status(offline, B.PODS, "p1", {"phase": "Running"})
        assert (await offline.replay(Scripted([(200, {})]))).left == 0
        assert known.get(B.PODS, "default/p1") is not None


async def replayed_once(offline: Offline, upstream: Scripted) -> int:
    return (await offline.replay(upstream)).left


async def test_two_writers_in_turn_are_replayed_as_themselves(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        for number in range(3):
            for who in ("a", "b"):
                conditions = [condition(who, str(number))]
                await patch_status(offline, B.NODES, NODE, {"conditions": conditions}, identity=who)
        upstream = Scripted([(200, node(version=11)), (200, node(version=12))])
        assert await replayed_once(offline, upstream) == 0
        assert [(who, [c["type"] for c in body["status"]["conditions"]])
                for _, _, body, who in upstream.asked] == [("a", ["a"]), ("b", ["b"])]  # fmt: skip


async def test_answers_are_as_the_writes_were(tmp_path: Path, known: Known) -> None:
    async with opened(tmp_path / "q.db", known) as offline:
        result = await write(offline, "create", B.EVENTS, "", event())
        assert answered(result)["kind"] == "Event"
