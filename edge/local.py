"""Which addresses are this machine's own."""

from __future__ import annotations

import errno
import socket


def is_this_machine(host: str) -> bool:
    """Whether `host` (name or address) can be bound here. Asks the kernel, sends nothing."""
    try:
        infos = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return False
    return any(_can_bind(family, str(address[0])) for family, _, _, _, address in infos)


def _can_bind(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
