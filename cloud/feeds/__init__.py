"""Carries the configured resources of the cluster's API onto the cloud bus, once for all pools.

Per resource one reflector (list and watch) fills one feed publisher; the feed "catalog" names the
resources; one tick tells where all feeds are and how old our knowledge of the API server is.

Promises: versions are the API server's own. They go back only together with the lineage, which
grows when the cluster is another one or was restored from a backup (`memory.py` remembers what we
knew across restarts). A resource that cannot be served holds up no other.

Open `actor.py` first, then `source.py` (one resource) and `plan.py` (which feeds shall run; pure).
"""
