"""Whether the peer of an idle TCP connection is still there, told by the kernel.

A watch may be silent for minutes. Keepalive probes once a second make the peer's kernel answer, and
TCP_INFO says when it last did: so a black hole shows in the age of what we know within two seconds
and ends the connection after a quarter of a minute. One probe costs 52 bytes.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

PROBE_SECONDS = 1
GIVE_UP_SECONDS = 15  # without an answer to probes or data; then the kernel ends the connection

_INFO_BYTES = 104
_LAST_ACK_RECEIVED = 8 + 12 * 4  # offset of tcpi_last_ack_recv (ms) in struct tcp_info, tcp(7)


def keepalive_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for `aiohttp.TCPConnector(socket_factory=...)`; `address` is an addrinfo."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, GIVE_UP_SECONDS // PROBE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP_SECONDS * 1000)
    return made


def silence(of: Any) -> float | None:
    """Seconds since the peer last acknowledged anything; None where the kernel does not tell.

    `of` is what a transport calls its "socket": not always a real one (uvloop), but it has a
    `fileno`.
    """
    try:
        # A descriptor of our own: closing it leaves the transport's alone.
        with socket.socket(fileno=os.dup(of.fileno())) as ours:
            info = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except (OSError, AttributeError, ValueError):
        return None
    if len(info) < _LAST_ACK_RECEIVED + 4:
        return None
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_ACK_RECEIVED)
    return float(milliseconds) / 1000
