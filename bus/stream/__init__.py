"""Requests with streamed bodies over a bus: what HTTP is to TCP, for who has one connection only.

`core.py` (pure) counts: sequence numbers, credits, who is alive. `frames.py` is what travels.
`StreamClient` asks, `StreamServer` answers; servers of one subject share the requests, and each
request stays with the server that took it.

A stream gives the right bytes or an error: at most once, in order, nothing left out. It ends by
itself within seconds when the other side or the way to it is gone.
"""

from bus.stream.api import Answering, Conversation, Streams
from bus.stream.client import Answer, StreamClient
from bus.stream.core import Request, StreamSettings
from bus.stream.server import Exchange, StreamServer

__all__ = [
    "Answer",
    "Answering",
    "Conversation",
    "Exchange",
    "Request",
    "StreamClient",
    "StreamServer",
    "StreamSettings",
    "Streams",
]
