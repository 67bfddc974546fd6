"""The same requests, to an API server and to a hub over it: both must answer alike.

`recorded.jsonl` is what real clients sent (`record.py` wrote it, through a proxy that looks on);
`variants.jsonl` is what follows from the API's rules (`variants.py` wrote it). `play.py` sends a
step to both sides, `compare.py` says what is different in the answers, `allowed.py` which of that
may be: the rows of `edge.hub.DIFFERENCES`.
"""
