"""Leadership: hubs with a working cloud link compete; the leader brings pool data in.

The leader keeps no state: it is a bridge (`relay.py`) that carries the cloud's feed frames and
ticks to the coordinator under its lease token, and the coordinator's sync requests the other way.
So a takeover costs nothing but the frames missed meanwhile, and a paused leader that wakes up is
refused by its token. `actor.py` elects: candidate while the cloud link works, resigned the moment
it fails. The leader's link is also lent to nodes that have none (`lending.py`).
"""
