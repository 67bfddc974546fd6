"""A pool's side: hubs, the coordinator and the leader's relay. Start with `site.py`."""
