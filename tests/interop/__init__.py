"""Clients that nobody here wrote, on the embedded API server, on a hub over it, and on any cluster.

    python -m pytest tests/interop
    ATOLL_TEST_KUBECONFIG=~/.kube/config python -m pytest tests/interop -k cluster

`world.py` runs `atoll up` twice, a cloud site and a pool, as a user would; `target.py` says where a
test reads and where it writes; one file a client. Every test is the same for all targets: what it
writes goes to the API server, what it reads comes from the target. A cluster gets a namespace per
test (removed again) and one CRD, and nothing else is touched.

Where a hub differs from the API server behind it. `test_differences.py` holds each line to it, but
for "just started" (the outages of `test_captured.py`) and "comes and goes" (chance: no test waits
for it, so none may create and delete without having seen the first):

| what | API server | hub |
|---|---|---|
| cut off from the cloud | does not happen | reads of `feeds.resources` alone; for all else 503 |
| `metadata.managedFields` | kept | left out: they only cost the WAN |
| list's own resourceVersion | the newest of the cluster | the newest known for this resource |
| an object changed many times at once | each change is an event | one event may tell it all |
| an object that comes and goes at once | two events | may be none |
| just started | knows what it serves | 503 until it knows the catalog |
| behind or cut off | does not happen | `Warning: 299` with the age |
"""
