"""The bus: how sites talk. NATS connections, servers, subjects, leases and the feed protocol.

Knows nothing of Kubernetes: a feed moves (key, version, bytes). Start with `bus/api.py` (what a
connection promises), then `bus/subjects.py` and `bus/permissions.py` (who may say what), then
`bus/feed/` (how shared state travels).

A connection (`connection.py`) is a chain of sessions (`session.py`, the home of nats-py), each on a
line (`line.py`) that tells slow from dead; `delivery.py` hands messages to handlers. `memory.py` is
the same contract without a server, for tests.
"""
