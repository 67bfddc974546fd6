"""`atoll demo`: the whole of Atoll on one machine, as a story that can fail.

`story.py` has the steps, `world.py` starts the sites and their WAN links, `watcher.py` is the
client at each node, `screen.py` what a person sees, `run.py` puts it together.
"""
