"""The TCP line under a session: it tells a slow line from a dead one, and can be cut off."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
import struct
import termios
from typing import NamedTuple
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

_TCP_INFO_BYTES = 136
_COUNTERS = struct.Struct("=QQ")
_COUNTERS_AT = 120  # tcpi_bytes_acked, tcpi_bytes_received in Linux's struct tcp_info


class Progress(NamedTuple):
    """Counted by the kernel, so also while our own loop is busy or half a message has come."""

    received: int  # bytes that came
    acked: int  # bytes of ours that the other end's kernel has
    backlog: int  # bytes of ours that it has not

    def shows_life_since(self, before: Progress) -> bool:
        """Whether bytes came, or some of those that waited were taken.

        That our ping alone was taken does not count: the other end's kernel does that, also for a
        process that hangs.
        """
        sent_on = before.backlog > 0 and self.acked > before.acked
        return sent_on or self.received > before.received


class Line(TcpTransport):
    """Refuses to send in the clear where TLS was asked for; can be cut off at once."""

    def __init__(self, *, secure: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._must_be_secure = secure
        self._is_secure = False
        self._is_aborted = False

    def __bool__(self) -> bool:
        return True  # nats-py would put a transport of its own in our place

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        try:
            await super().connect(uri, buffer_size, connect_timeout)
        except TimeoutError as error:
            raise OSError(f"no connection within {connect_timeout} s") from error

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        self._is_secure = True

    def write(self, payload: bytes) -> None:
        if self._must_be_secure and not self._is_secure:
            # A server (or somebody in between) that offers no TLS gets nothing from us.
            raise OSError("the server does not offer TLS")
        super().write(payload)  # type: ignore[no-untyped-call]

    def writelines(self, payload: list[bytes]) -> None:
        # In one piece: asyncio's own (3.12.0 to 3.12.8, 3.13.0 and 3.13.1, CVE-2024-12254) does not
        # hold back the writer, so that a black hole would fill our memory.
        self.write(b"".join(payload))

    def abort(self) -> None:
        """Closes now: an orderly close waits for its buffer, which a dead line never drains."""
        self._is_aborted = True
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        """After `abort` there is nothing to wait for; and a failed TLS handshake never tells."""
        if self._is_aborted:
            await asyncio.sleep(0)
        else:
            await super().wait_closed()  # type: ignore[no-untyped-call]

    def progress(self) -> Progress:
        """What passed so far; zeros once the line is closed."""
        descriptor = self._descriptor()
        if descriptor < 0:
            return Progress(0, 0, 0)
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            acked, received = _COUNTERS.unpack_from(info, _COUNTERS_AT)
            return Progress(received, acked, self._unsent(sock))
        return Progress(0, 0, 0)

    def _descriptor(self) -> int:
        if self._io_writer is None or self._io_writer.is_closing():
            return -1
        sock = self._io_writer.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def _unsent(self, sock: socket.socket) -> int:
        queued = fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0")
        buffered = self._io_writer.transport.get_write_buffer_size() if self._io_writer else 0
        return int(struct.unpack("=i", queued)[0]) + int(buffered)
