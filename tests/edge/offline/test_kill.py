"""kill -9 at any moment: what was answered is queued, and what was replayed is not doubled."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from random import Random

import pytest

from actors.kube import builtin
from tests.edge.offline.worlds import (
    NODE,
    Http,
    Known,
    api_server,
    event,
    mirror_pod,
    node,
    opened,
    patch_status,
    write,
)

B = builtin
POSTED = {"metadata": {"name": NODE}, "spec": {"podCIDR": "10.0.0.0/24"}}


async def write_until_killed(path: Path, number: int, lines: int, extra: float) -> int:
    """Returns the last number whose writes were answered."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.offline.writer", str(path), str(number),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdout is not None
    answered = number
    for _ in range(lines):
        answered = int(await writer.stdout.readline())
    await asyncio.sleep(extra)  # so that the kill falls anywhere in a write
    writer.kill()
    rest = (await writer.stdout.read()).split(b"\n")[:-1]  # whole lines
    assert await writer.wait() == -9
    return int(rest[-1]) if rest else answered


async def kill_in_a_loop(path: Path, rounds: int) -> None:
    random, number = Random(6), 0
    for _ in range(rounds):
        known = Known()
        known.put(B.NODES, node())
        lines = random.randrange(1, 40)
        number = await write_until_killed(path, number, lines, random.random() / 50)
        async with opened(path, known) as offline:
            for each in range(max(1, number - 100), number + 1):
                assert known.read(B.EVENTS, f"default/e{each}")["count"] == each
            phase = int(known.read(B.NODES, NODE)["status"]["phase"])
            assert phase >= number // 3 * 3
            assert offline.counts == {}
            # One more may have been kept without its answer.
            number += known_event(known, number + 1)


def known_event(known: Known, number: int) -> bool:
    return known.get(B.EVENTS, f"default/e{number}") is not None


async def test_kill_9_while_writing(tmp_path: Path) -> None:
    await kill_in_a_loop(tmp_path / "q.db", 3)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_kill_9_while_writing_deep(tmp_path: Path) -> None:
    await kill_in_a_loop(tmp_path / "q.db", 20)


async def fill(path: Path, upstream: Http, known: Known) -> None:
    """Writes of every kind, which make six requests."""
    made = await upstream.send("POST", "/api/v1/nodes", POSTED)
    known.put(B.NODES, made)
    pods = "/api/v1/namespaces/default/pods"
    plain = mirror_pod("done")
    del plain["metadata"]["annotations"]
    known.put(B.PODS, await upstream.send("POST", pods, plain))
    async with opened(path, known, clock=time.time) as offline:
        await patch_status(offline, B.NODES, NODE, {"phase": "Running"})
        await write(offline, "patch", B.NODES, NODE, {"metadata": {"labels": {"a": "b"}}})
        await write(offline, "create", B.PODS, "", mirror_pod())
        await patch_status(offline, B.PODS, "static", {"phase": "Running"})
        await write(offline, "delete", B.PODS, "done", {"gracePeriodSeconds": 0})
        for number in range(2):
            await write(offline, "create", B.EVENTS, "", event(f"e{number}", number + 1))


async def replay_in_a_process(path: Path, url: str, call: int) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.offline.replayer", str(path), url, str(call)
    )
    return await process.wait()


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5, 6, 7])
async def test_kill_9_between_an_answer_and_its_note_doubles_nothing(
    tmp_path: Path, call: int
) -> None:
    path = tmp_path / "q.db"
    async with api_server() as upstream:
        await fill(path, upstream, Known())
        assert await replay_in_a_process(path, str(upstream.url), call) == -9
        events_before = await upstream.list(B.EVENTS)
        assert await replay_in_a_process(path, str(upstream.url), 0) == 0
        held = await upstream.get(B.NODES, NODE)
        assert held is not None
        assert held["status"]["phase"] == "Running"
        assert held["metadata"]["labels"]["a"] == "b"
        static = await upstream.get(B.PODS, "static")
        assert static is not None
        assert static["status"]["phase"] == "Running"
        assert await upstream.get(B.PODS, "done") is None
        events = await upstream.list(B.EVENTS)
        assert {e["metadata"]["name"]: e["count"] for e in events} == {"e0": 1, "e1": 2}
        uids = {e["metadata"]["uid"] for e in events}
        assert {e["metadata"]["uid"] for e in events_before} <= uids
    async with opened(path) as offline:
        assert offline.pending == {"objects": 0, "events": 0, "bytes": 0}
        assert offline.reports() == []
