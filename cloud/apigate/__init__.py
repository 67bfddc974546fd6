"""ApiGate: nodes' HTTP, which comes over the bus, goes to the API server in their name.

`identity.py` (pure) says as whom a request acts and what of its headers goes on; `gate.py` hands
request and answer through; `actor.py` runs it. It keeps no state: replicas share the requests.

The bus proves which node asks. Such a request acts, by impersonation, as that node or as a user
of the allow list; one with an `Authorization` of its own goes on with that and nothing of ours.
Whoever asks for impersonation himself is refused.
"""
