from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import configs
from actors.host import Host
from actors.runner import load
from actors.specs import HostSpec
from bus.keys import NodeKey
from bus.server import EmbeddedServer
from cloud.feeds.actor import FeedsSettings
from cloud.site import CloudSite
from configs.schema import CloudSiteFile
from tests.actors.until import until


def site(tmp_path: Path, text: str) -> CloudSite:
    file = tmp_path / "cloud.yaml"
    head = "version: 1\nkind: cloud\nname: here\nstate: state\nenrolment: keys\n"
    file.write_text(head + text)
    config = configs.load(file)
    assert isinstance(config, CloudSiteFile)
    return CloudSite(config)


def host(made: CloudSite, url: str = "nats://127.0.0.1:1") -> HostSpec:
    [spec] = made.hosts({"cloud": url})
    return spec


def test_an_embedded_site_starts_its_api_server_before_its_feeds(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {tokens: {secret: someone}, authorization: rbac}}\n")
    spec = host(made)
    assert spec.actors[0].settings.authorization == "rbac"
    assert [actor.name for actor in spec.actors] == ["apiserver", "enrolment", "feeds", "apigate"]
    feeds = spec.actors[2].settings
    assert isinstance(feeds, FeedsSettings)
    assert feeds.access.kubeconfig is not None
    assert spec.actors[0].settings.tokens == {"secret": "someone"}


def test_a_real_cluster_needs_no_api_server(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").touch()
    spec = host(site(tmp_path, "api: {kubeconfig: kubeconfig, context: far}\n"))
    assert [actor.name for actor in spec.actors] == ["enrolment", "feeds", "apigate"]
    access = spec.actors[-1].settings.access
    assert (access.kubeconfig, access.context) == (tmp_path / "kubeconfig", "far")


def test_what_it_says_pickles_and_can_be_imported(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {}}\n")
    assert pickle.loads(pickle.dumps(made.hosts({"cloud": "nats://127.0.0.1:1"})))
    for actor in host(made).actors:
        assert load(actor.factory)


def test_replicas_of_the_gate_are_processes_of_their_own(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {}}\napigate: {replicas: 3, identities: [a]}\n")
    cloud, *more = made.hosts({"cloud": "nats://127.0.0.1:1"})
    assert [spec.name for spec in more] == ["apigate-2", "apigate-3"]
    assert {spec.actors for spec in more} == {cloud.actors[-1:]}
    assert more[0].actors[0].settings.identities == ("a",)


def test_enrolled_nodes_may_connect_from_the_start(tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path / "node.seed")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pool-a.node-1.pub").write_text(key.public)
    made = site(tmp_path, "api: {embedded: {}}\nbus: {storage: 64MiB}\n")
    [server] = made.servers()
    admin = NodeKey.load_or_create(tmp_path / "state" / "keys" / "admin.seed")
    assert [user.public_key for user in server.users] == [admin.public, key.public]
    assert (server.name, server.domain, server.storage_bytes) == ("cloud", "here", 64 << 20)
    assert host(made).buses["cloud"].seed_file == admin.seed_file


def test_an_external_bus_is_dialled_not_started(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {}}\nbus: {url: 'nats://bus.example:4222'}\n")
    assert not made.servers()
    [spec] = made.hosts({})
    assert spec.buses["cloud"].urls == ("nats://bus.example:4222",)
    assert spec.actors[1].settings.store is None


async def test_the_feeds_find_the_embedded_api_server(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {tokens: {secret: someone}}}\n")
    [settings] = made.servers()
    server = EmbeddedServer(settings)
    await server.start()
    running = Host(host(made, server.url))
    try:
        await running.start()

        def followed() -> bool:
            feeds = running.status()["actors"]["feeds"]["status"].get("feeds", {})
            return bool(feeds.get("services_v1", {}).get("objects"))

        await until(followed, "the service `kubernetes` is carried")
        assert running.is_ready
        assert 'atoll_feed_objects{actor="feeds",feed="services_v1"' in running.metrics()
    finally:
        await running.stop()
        await server.stop()


def test_a_cloud_site_has_no_nodes(tmp_path: Path) -> None:
    made = site(tmp_path, "api: {embedded: {}}\n")
    with pytest.raises(ValueError, match="node-1"):
        CloudSite(made._config, "node-1")
