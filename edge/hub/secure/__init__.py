"""The hub's TLS port for pods: who has a service account's token is asked who he is, and let read
from the node's caches what he may read.

`reviews.py` asks the API server (TokenReview, SubjectAccessReview) and remembers its answers,
bounded; `port.py` is the listener and its certificate. Offline the last known answer holds: a token
until its `exp`, a right until the hub restarts. What was never asked is 503, not 403: nobody said
no.

A pod needs the hub's address as its API server (the filters `serviceenvupdater` and `masterservice`
give it that) and the hub's certificate as its CA: `hub-ca.crt` in the node's state directory.
"""
