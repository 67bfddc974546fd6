"""Lets nodes onto the cloud bus: a directory of public keys becomes the list of its users.

A node is enrolled by a file `<pool>.<node>.pub` that holds its public nkeys user key, and revoked
by removing the file; both take effect within a second. A file that is not right is named in the
log, the status and a metric, and enrols nobody; the others are not affected.

`roster.py` reads and checks (pure but for the reading), `actor.py` watches and applies.
"""
