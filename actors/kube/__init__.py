"""The Kubernetes API, both ways: the serving side (hub, embedded API server) and the client side.

`resource.py` says what a resource is, `watchcache.py` holds one (pure), `serve/` speaks HTTP over
it, `reflector.py` reads a real API server into it. Sources: Kubernetes "API concepts", KEP-365,
KEP-956, KEP-2340, KEP-3157, KEP-3352.
"""
