"""A Kubernetes API over HTTP, for clients that were not written for us.

`api.py` has the protocols that stand behind it (`ReadBackend`, `Writer`, hooks) and the settings;
`app.py` builds the aiohttp application. Used by the hub (reads from followed feeds, the rest passed
through) and by the embedded API server (reads from its caches, own writer).
"""
