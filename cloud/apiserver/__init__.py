"""A small Kubernetes API server for demos, tests and places without a cluster.

It keeps objects in SQLite, serves them through `actors.kube.serve` (shared with the hub), and does
writes as kube-apiserver does them: see the design's kube-api.md, "Writes". There are no controllers
but the janitor (namespaces, owners, CRDs) and service accounts', no admission plugins. `access`
says who may do what: everyone who is known, or as RBAC's objects say.

Open first: `server.py` (how it is put together), then `writer.py` (one request), `prepare.py` (what
an object becomes), `registry.py` and `store.py` (how it is kept).
"""

from cloud.apiserver.server import ApiServerSettings, EmbeddedApiServer, erase

__all__ = ["ApiServerSettings", "EmbeddedApiServer", "erase"]
