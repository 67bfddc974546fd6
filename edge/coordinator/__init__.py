"""The coordinator: holds the pool's shared objects and feeds every hub of the pool.

One is active per pool (lease `coordinator`); any node's may be. It follows the cloud's feeds
through the leader, and commits each change to the pool's JetStream table *before* it publishes it,
so a successor never knows less than a hub that was fed, whether or not the cloud is there.
`actor.py` elects and ends terms; `term.py` is what runs while active; `shelf.py` is one feed of it.
"""
