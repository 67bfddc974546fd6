from __future__ import annotations

import msgspec

from actors.kube import builtin
from actors.kube.resource import Column, Resource
from bus.feed.types import Item
from cloud.feeds.plan import catalog_changes, pick_all, step

SERVICES, NODES = builtin.SERVICES, builtin.NODES
PLAIN = Resource(group="a.b", version="v1", plural="things", kind="Thing", namespaced=True)
PRINTED = msgspec.structs.replace(PLAIN, columns=(Column(name="Size"),))
CLUSTERED = msgspec.structs.replace(PLAIN, namespaced=False)


def feeds(*resources: Resource) -> dict[str, Resource]:
    return {resource.feed: resource for resource in resources}


def items(*resources: Resource) -> dict[str, Item]:
    return {each.feed: Item(1, msgspec.json.encode(each)) for each in resources}


def test_known_and_unknown_names_are_told_apart() -> None:
    picked = pick_all(["svc", "nods"], builtin.BUILTIN)
    assert picked.found == {"svc": SERVICES}
    assert "did you mean nodes" in picked.unknown["nods"]


def test_feeds_start_and_end_as_the_list_says() -> None:
    assert step({}, [SERVICES]) == ((), (SERVICES,))
    assert step(feeds(SERVICES), [SERVICES]) == ((), ())
    assert step(feeds(SERVICES), [NODES]) == ((SERVICES.feed,), (NODES,))


def test_two_names_of_one_resource_are_one_feed() -> None:
    assert step({}, [SERVICES, SERVICES]) == ((), (SERVICES,))


def test_other_columns_disturb_no_feed_another_scope_does() -> None:
    assert step(feeds(PLAIN), [PRINTED]) == ((), ())
    assert step(feeds(PLAIN), [CLUSTERED]) == ((PLAIN.feed,), (CLUSTERED,))


def test_the_catalog_changes_where_an_entry_does() -> None:
    assert catalog_changes(items(SERVICES, PLAIN), [SERVICES, PLAIN]) == []
    changes = catalog_changes(items(SERVICES, PLAIN), [PRINTED, NODES])
    assert {change.key: change.data is None for change in changes} == {
        SERVICES.feed: True,
        PLAIN.feed: False,
        NODES.feed: False,
    }
