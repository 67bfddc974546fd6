"""What nobody should say or write: refused, counted, told once; all else flows on."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import Iterator

import pytest

from bus.fence import HEADER
from tests.e2e.conftest import Note
from tests.support.churn import SLICES_PATH, large
from tests.support.clients import SLICES, Client
from tests.support.lab import NODES, Lab, Plan
from tests.support.process import Process
from tests.support.trial import Trial

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
RESOURCES = ["services", "endpointslices", "configmaps", "serviecs"]
PLAN = Plan(cloud={"feeds": {"resources": RESOURCES, "max_object": "2500KiB"}})

FEEDS = ("services_v1", "endpointslices_v1_discovery_k8s_io", "catalog")


def _garbage() -> Iterator[bytes]:
    choose = random.Random(7)
    yield b""
    yield b"\x00"
    yield b'{"a": 1}'
    yield b"\x28\xb5\x2f\xfd" + choose.randbytes(200)  # zstd's magic, and nothing behind it
    yield b"\xdd\xff\xff\xff\xff"  # msgpack: an array of 4 billion
    yield choose.randbytes(100_000)
    for _ in range(20):
        yield choose.randbytes(choose.randrange(1, 300))


def _line(subject: str, data: bytes, headers: dict[str, str] | None = None, reply: str = "") -> str:
    said = {"subject": subject, "data": base64.b64encode(data).decode(), "reply": reply}
    return json.dumps({**said, "headers": json.dumps(headers or {})})


async def _say(intruder: Process, lines: list[str]) -> tuple[int, int]:
    """How many went out, and how many of them the server denied."""
    mark = intruder.said
    intruder.tell(*lines, "go")
    found = re.search(r"sent (\d+), denied (\d+)", await intruder.says("sent ", since=mark))
    assert found is not None
    return int(found[1]), int(found[2])


async def test_garbage_on_the_cloud_feeds(lab: Lab, trial: Trial) -> None:
    """With the cloud's own key, so nothing but the decoders stands in its way."""
    intruder = await lab.intruder("cloud", "cloud")
    before = await _refused(lab)
    subjects = [f"feed.data.{feed}" for feed in FEEDS] + ["feed.tick"]
    lines = [_line(subject, data) for subject in subjects for data in _garbage()]
    lines += [_line(f"feed.sync.{feed}", d, reply="_INBOX.x") for feed in FEEDS for d in _garbage()]
    sent, denied = await _say(intruder, lines)
    assert (sent, denied) == (len(lines), 0)
    await trial.flows()
    await trial.verify()
    await lab.until(lambda: _counted(lab, before), "the coordinator counts it")


async def test_a_node_may_not_say_what_is_the_clouds(lab: Lab, trial: Trial) -> None:
    intruder = await lab.intruder("cloud", "node-3")
    subjects = [
        "feed.data.services_v1",
        "feed.tick",
        "beat.pool-a.node-1",
        "_INBOX.pool-a.node-1.x",
    ]
    lines = [_line(subject, data) for subject in subjects for data in _garbage()]
    sent, denied = await _say(intruder, lines)
    assert denied == sent == len(lines)
    # Sync requests it may send; what they say is for the publisher to bear.
    await _say(intruder, [_line("feed.sync.services_v1", data) for data in _garbage()])
    await trial.flows()
    await trial.verify()


@pytest.mark.parametrize("token", [None, "1", "-1", "abc", "9" * 30])
async def test_unfenced_messages_in_the_pool(lab: Lab, trial: Trial, token: str | None) -> None:
    """Who holds no lease is not heard: neither garbage, nor a tick that would be right."""
    intruder = await lab.intruder("pool", "node-3")
    headers = {} if token is None else {HEADER: token}
    before = await _fenced(lab)
    subjects = [f"pool.{way}.data.{feed}" for way in ("up", "feed") for feed in FEEDS]
    subjects += ["pool.up.tick", "pool.feed.tick"]
    lines = [_line(subject, data, headers) for subject in subjects for data in _garbage()]
    await _say(intruder, lines)
    await trial.flows()
    await trial.verify()
    after = await _fenced(lab)
    assert all(after[node] > before[node] for node in NODES), (before, after)


async def test_garbage_with_the_right_token(lab: Lab, trial: Trial) -> None:
    """As a defect of ours, or bits that flip, would make it."""
    leader, keeper = await lab.offices()
    intruder = await lab.intruder("pool", "node-3")
    tokens = {
        "up": (await lab.actor(leader, "leader"))["token"],
        "feed": (await lab.actor(keeper, "coordinator"))["token"],
    }
    before = await _refused(lab)
    lines = [
        _line(f"pool.{way}.{what}", data, {HEADER: str(token)})
        for way, token in tokens.items()
        for what in (
            *(f"data.{feed}" for feed in FEEDS),
            *(f"sync.{feed}" for feed in FEEDS),
            "tick",
        )
        for data in _garbage()
    ]
    await _say(intruder, lines)
    await trial.flows()
    await trial.verify()
    await lab.until(lambda: _counted(lab, before), "it is counted")


async def test_garbage_in_the_pools_table(lab: Lab, trial: Trial, note: Note) -> None:
    """A successor loads the table: what it cannot read must not keep it from taking office."""
    intruder = await lab.intruder("pool", "node-3")
    stream = "$KV.objects.services_v1"
    lines = [_line(f"{stream}.o.default=2Fghost-{n}", d) for n, d in enumerate(_garbage())]
    await _say(intruder, lines)
    _, keeper = await lab.offices()
    await lab.kill(keeper)
    outage = await trial.flows(nodes=[node for node in NODES if node != keeper])
    await lab.start(keeper)
    await trial.verify(lists={keeper: 2})
    note(outage=outage)


async def test_unknown_resource_is_named(lab: Lab, trial: Trial) -> None:
    """The site file has "serviecs": the others flow, and the error says what was meant."""
    unknown = (await lab.actor("cloud", "feeds"))["unknown"]
    assert list(unknown) == ["serviecs"]
    assert "services" in unknown["serviecs"].removeprefix("serviecs")
    await trial.flows()
    await trial.verify()


async def test_two_megabytes_are_carried(lab: Lab, trial: Trial, note: Note) -> None:
    made = await lab.api.call("POST", SLICES_PATH, large("large", 2 << 20))
    outage = await trial.flows()
    version = int(made["metadata"]["resourceVersion"])
    await asyncio.gather(*(c.until("default/large", version, 10.0) for c in _at_slices(trial)))
    await trial.verify()  # byte by byte
    await lab.api.call("DELETE", f"{SLICES_PATH}/large")
    note(outage=outage)
    assert outage < 5.0


async def test_too_large_is_reported(lab: Lab, trial: Trial) -> None:
    """Not carried, named with its size and the bound; what it was before does not pass for it."""
    mark = lab.processes["cloud"].said
    await lab.api.call("POST", SLICES_PATH, large("large", 1000))
    await lab.api.call("PUT", f"{SLICES_PATH}/large", large("large", 2600 << 10))
    line = await lab.processes["cloud"].says("is not carried", since=mark)
    assert "default/large" in line
    assert "feeds.max_object" in line
    feeds = (await lab.actor("cloud", "feeds"))["feeds"]
    assert list(feeds["endpointslices_v1_discovery_k8s_io"]["oversized"]) == ["default/large"]
    await trial.flows()
    assert not [client for client in _at_slices(trial) if "default/large" in client.versions]
    await lab.api.call("DELETE", f"{SLICES_PATH}/large")
    await trial.verify()


def _at_slices(trial: Trial) -> list[Client]:
    return [client for client in trial.clients if client.path == SLICES]


async def _metric(lab: Lab, host: str, name: str) -> float:
    lines = (await lab.metrics(host)).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def _refused(lab: Lab) -> float:
    """Undecodable messages, as all followers of the pool count them."""
    names = (
        "atoll_coordinator_feed_refused_messages_total",
        "atoll_hub_feed_refused_messages_total",
    )
    return sum([await _metric(lab, node, name) for node in NODES for name in names])


async def _counted(lab: Lab, before: float) -> bool:
    return await _refused(lab) > before


async def _fenced(lab: Lab) -> dict[str, float]:
    return {node: await _metric(lab, node, "atoll_hub_fenced_messages_total") for node in NODES}
