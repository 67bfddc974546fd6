from __future__ import annotations

import copy
from itertools import islice

from actors.demo.workload import Workload

NODES = ("n1", "n2")


def test_each_service_has_a_slice_of_its_own() -> None:
    workload = Workload(3, 5, NODES)
    services, slices = workload.service_objects(), workload.slice_objects()
    owners = [s["metadata"]["labels"]["kubernetes.io/service-name"] for s in slices]
    assert owners == [service["metadata"]["name"] for service in services]
    assert all(len(s["endpoints"]) == 5 for s in slices)


def test_addresses_are_unique() -> None:
    slices = Workload(20, 30, NODES).slice_objects()
    addresses = [e["addresses"][0] for s in slices for e in s["endpoints"]]
    assert len(set(addresses)) == len(addresses) == 600


def test_churn_turns_a_pod_unready_and_then_replaces_it() -> None:
    workload = Workload(2, 4, NODES)
    before = copy.deepcopy(workload.slice_objects())
    first, second = (copy.deepcopy(each) for each in islice(workload.churn(), 2))
    name = first["metadata"]["name"]
    assert second["metadata"]["name"] == name
    old = next(s for s in before if s["metadata"]["name"] == name)
    unready = [e for e in first["endpoints"] if not e["conditions"]["ready"]]
    assert len(unready) == 1
    assert unready[0]["addresses"][0] in {e["addresses"][0] for e in old["endpoints"]}
    assert unready[0]["addresses"][0] not in {e["addresses"][0] for e in second["endpoints"]}
    assert all(e["conditions"]["ready"] for e in second["endpoints"])


def test_the_same_seed_tells_the_same_story() -> None:
    one, two = Workload(2, 4, NODES), Workload(2, 4, NODES)
    assert one.slice_objects() == two.slice_objects()
    assert list(islice(one.churn(), 1)) == list(islice(two.churn(), 1))
