"""Diffs: dotted keys, list items by name, live apart from restart, secrets hidden."""

from __future__ import annotations

from configs import AnySiteFile, CloudSiteFile, Diff, PoolSiteFile, diff
from tests.configs.samples import cloud, pool


def keys(old: AnySiteFile, new: AnySiteFile) -> tuple[list[str], list[str]]:
    found = diff(old, new)
    return [change.key for change in found.live], [change.key for change in found.restart]


def test_equal_sites_do_not_differ() -> None:
    assert diff(pool(), pool()) == Diff()
    assert not diff(pool(), pool())


def test_live_keys_are_told_as_a_file_says_them() -> None:
    found = diff(pool(), pool(log={"level": "debug"}, hub={"stale_after": "7s"}))
    assert [str(change) for change in found.live] == [
        "log.level: info -> debug",
        "hub.stale_after: 5s -> 7s",
    ]
    assert not found.restart


def test_other_keys_need_a_restart() -> None:
    new = pool(name="pool-b", leases={"ttl": "3s"}, log={"json": True, "level": "trace"})
    assert keys(pool(), new) == (["log.level"], ["name", "log.json", "leases.ttl"])


def test_lists_of_names_are_one_key() -> None:
    new = cloud(feeds={"resources": ["services", "configmaps"]})
    [change] = diff(cloud(), new).live
    assert str(change) == (
        "feeds.resources: [services, endpointslices.discovery.k8s.io] -> [services, configmaps]"
    )


def test_nodes_are_told_by_name() -> None:
    old = pool(nodes=[{"name": "a", "listen": "127.0.0.1:1"}, {"name": "b"}])
    new = pool(nodes=[{"name": "c"}, {"name": "a", "listen": "127.0.0.1:2"}])
    assert [str(change) for change in diff(old, new).restart] == [
        "nodes[a].listen: 127.0.0.1:1 -> 127.0.0.1:2",
        "nodes[b]: present -> absent",
        "nodes[c]: absent -> present",
    ]


def test_the_order_of_nodes_counts() -> None:
    old, new = (
        pool(nodes=[{"name": "a"}, {"name": "b"}]),
        pool(nodes=[{"name": "b"}, {"name": "a"}]),
    )
    assert [str(change) for change in diff(old, new).restart] == ["nodes (order): a, b -> b, a"]


def test_sections_that_come_and_go_are_one_key() -> None:
    found = diff(cloud(), cloud(api={"kubeconfig": "/k"}))
    assert [change.key for change in found.restart] == ["api.embedded", "api.kubeconfig"]
    assert str(found.restart[1]) == "api.kubeconfig: absent -> /k"


def test_secrets_are_not_told() -> None:
    old = cloud(api={"embedded": {"tokens": {"s3cret": "admin"}}})
    new = cloud(api={"embedded": {"tokens": {"other": "admin"}}})
    [change] = diff(old, new).restart
    assert str(change) == "api.embedded.tokens: (hidden) -> (hidden)"
    [gone] = [c for c in diff(old, cloud(api={"in_cluster": True})).restart if "embedded" in c.key]
    assert "s3cret" not in str(gone)


def test_kinds_do_not_compare() -> None:
    assert isinstance(cloud(), CloudSiteFile)
    assert isinstance(pool(), PoolSiteFile)
    assert [str(change) for change in diff(cloud(), pool()).restart] == ["kind: cloud -> pool"]


def test_a_rule_of_filters_is_told_by_name_and_needs_no_restart() -> None:
    patch = [{"op": "remove", "path": "/spec/a"}]
    one = {"name": "one", "action": "patch", "patch": patch}
    two = {"name": "two", "action": "drop"}
    changed = {**one, "patch": [{"op": "remove", "path": "/spec/b"}], "when": "node == 'a'"}
    old = pool(hub={"filters": {"rules": [one]}})
    new = pool(hub={"filters": {"rules": [changed, two], "disabled": "*"}})
    assert keys(old, new) == (
        [
            "hub.filters.disabled",
            "hub.filters.rules[one].when",
            "hub.filters.rules[one].patch",
            "hub.filters.rules[two]",
        ],
        [],
    )
