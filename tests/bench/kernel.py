"""What the kernel counted: TCP_INFO of our own sockets and of others' (ss), memory of processes."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

HEADERS = 52  # bytes a packet: IPv4 20, TCP 20, timestamp option 12
MSS = 1448  # of a WAN's 1500-byte packets; loopback's are larger, so we do not trust its count


@dataclass(frozen=True)
class Traffic:
    """One direction of a connection: payload bytes and segments."""

    payload: int = 0
    segments: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.payload + other.payload, self.segments + other.segments)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.payload - other.payload, self.segments - other.segments)

    @property
    def with_headers(self) -> int:
        """An estimate of what a WAN carries: at least one packet per MSS."""
        return self.payload + HEADERS * max(self.segments, -(-self.payload // MSS))


@dataclass(frozen=True)
class Connection:
    """As seen from its local end."""

    local: tuple[str, int]
    peer: tuple[str, int]
    sent: Traffic
    received: Traffic


_FIELD = re.compile(r"\b(bytes_sent|bytes_received|segs_out|segs_in):(\d+)")


def connections(port: int) -> dict[tuple[str, int], Connection]:
    """Established connections whose local port is `port`, by peer. The server's own counts."""
    command = ["ss", "--no-header", "-tinOH", "state", "established", f"sport = :{port}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in out.splitlines():
        local, peer = map(_address, line.split()[2:4])
        counts = {name: int(value) for name, value in _FIELD.findall(line)}
        sent = Traffic(counts.get("bytes_sent", 0), counts.get("segs_out", 0))
        received = Traffic(counts.get("bytes_received", 0), counts.get("segs_in", 0))
        found[peer] = Connection(local, peer, sent, received)
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]").removeprefix("::ffff:"), int(port)


def received(sock: socket.socket) -> Traffic:
    """What came in on this socket: tcpi_bytes_received and tcpi_segs_in of TCP_INFO."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    (payload,) = struct.unpack_from("=Q", info, 128)
    _out, segments = struct.unpack_from("=II", info, 136)
    return Traffic(payload, segments)


def local_ports(pids: Iterable[int]) -> set[int]:
    """Local TCP ports of these processes' connections."""
    return {
        connection.laddr.port
        for pid in pids
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    }


def total(found: Mapping[tuple[str, int], Connection]) -> tuple[Traffic, Traffic]:
    """(sent, received) of all."""
    sent, got = Traffic(), Traffic()
    for connection in found.values():
        sent, got = sent + connection.sent, got + connection.received
    return sent, got


def processes_below(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def pss(pid: int) -> int:
    """Proportional set size in bytes: shared pages count by their share. 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0
