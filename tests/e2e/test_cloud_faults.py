"""Deaths in the cloud: its bus, and the API server with, without and with another history."""

from __future__ import annotations

import os
import shutil
import signal
import time

import aiohttp
import psutil
import pytest

from cloud.apiserver import EmbeddedApiServer, erase
from tests.e2e.conftest import Note
from tests.support.churn import Api, service
from tests.support.clients import SERVICES
from tests.support.lab import NODES, Lab
from tests.support.trial import Trial

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

BACK = 8.0  # seconds from a restart of the bus to data at every client
API_BACK = 20.0  # the same of the API server; reflectors pause 1, 2, 4 ... s, as client-go's do


async def test_cloud_bus_killed(lab: Lab, trial: Trial, note: Note) -> None:
    """Its supervisor starts it again before anybody would follow another."""
    pid, mark = lab.nats_pid("cloud"), lab.processes["cloud"].said
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await lab.processes["cloud"].says("ended unasked", since=mark)
    assert not psutil.pid_exists(pid)
    outage = await trial.flows(began)
    assert lab.nats_pid("cloud") != pid
    await trial.verify()
    note(outage=outage)
    assert outage < BACK


async def test_api_server_restarted_with_its_history(lab: Lab, trial: Trial, note: Note) -> None:
    """The reflector resumes its watches: nothing is listed again, by anybody."""
    relists = await _relists(lab)
    begun = time.monotonic()
    await lab.kill("api")
    await lab.start("api")
    up = time.monotonic()
    back = await trial.flows(up)
    await trial.verify()
    assert trial.churn.errors > 0
    assert await _relists(lab) == relists
    note(outage=time.monotonic() - begun, back=back)
    assert back < API_BACK


async def test_api_server_restarted_without_its_history(lab: Lab, trial: Trial, note: Note) -> None:
    """410 for the reflector, which lists; clients of hubs go on, for nothing went back."""
    relists = await _relists(lab)
    await lab.kill("api")
    await _change_unseen(lab)
    await lab.start("api")
    up = time.monotonic()
    back = await trial.flows(up)
    await trial.verify()
    after = await _relists(lab)
    assert sum(after.values()) > sum(relists.values())
    note(back=back)
    assert back < API_BACK


async def test_api_server_started_anew(lab: Lab, trial: Trial, note: Note) -> None:
    """An empty database: versions go back, so every client gets 410, lists, and is right."""
    lineage = (await lab.actor("cloud", "feeds"))["lineage"]
    before = max(version for client in trial.clients for version in client.versions.values())
    await lab.kill("api")
    erase(lab.directory / "api")
    await lab.start("api")
    up = time.monotonic()
    back = await trial.flows(up)
    now = await trial.verify(lists=dict.fromkeys(NODES, 2))
    assert (await lab.actor("cloud", "feeds"))["lineage"] > lineage
    assert now["version"] < before
    note(back=back)
    assert back < API_BACK


@pytest.mark.parametrize(("lost", "new"), [(0, 0), (40, 0), (0, 40)])
async def test_api_server_restored_from_a_backup(
    lab: Lab, trial: Trial, note: Note, lost: int, new: int
) -> None:
    """The same cluster as it was a while ago: what came since is gone, versions go back. They may
    soon be as high as before: writes go on while the reflector pauses."""
    state, backup = lab.directory / "api", lab.directory / "backup"
    await lab.kill("api")
    shutil.copytree(state, backup)
    await lab.start("api")
    await trial.churn.hurry(lost)
    await trial.flows()
    await lab.kill("api")
    shutil.rmtree(state)
    shutil.move(backup, state)
    await lab.start("api")
    up = time.monotonic()
    await trial.churn.hurry(new)
    back = await trial.flows(up)
    await trial.verify(lists=dict.fromkeys(NODES, 2))
    note(back=back)
    assert back < API_BACK


async def test_cloud_site_killed(lab: Lab, trial: Trial, note: Note) -> None:
    """Bus and feeds at once: publishers that know nothing of before tell the same objects."""
    await lab.kill("cloud")
    await lab.start("cloud")
    up = time.monotonic()
    back = await trial.flows(up)
    await trial.verify()
    note(back=back)
    assert back < BACK


async def _change_unseen(lab: Lab) -> None:
    """Changes while nobody watches, of which the history is then lost."""
    async with (
        EmbeddedApiServer(lab.directory / "api") as server,
        aiohttp.ClientSession() as session,
    ):
        api = Api(session, server.url)
        held = [key for key, _ in await api.list(SERVICES) if "churn" in key]
        for key in held[:3]:
            await api.call("DELETE", f"/api/v1/namespaces/default/services/{key.split('/')[1]}")
        await api.call("POST", "/api/v1/namespaces/default/services", service("unseen"))
        server.forget_history()


async def _relists(lab: Lab) -> dict[str, int]:
    feeds = (await lab.actor("cloud", "feeds"))["feeds"]
    return {
        f"{name} {why}": n for name, feed in feeds.items() for why, n in feed["relists"].items()
    }
