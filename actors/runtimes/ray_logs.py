"""Brings log lines of Ray workers to the site's log, whole, in order, never waiting.

A unix stream socket per worker: it needs no Ray process (the log monitor costs 50 MB), and the
kernel bounds what a slow reader may leave unread. Beyond that the worker drops lines, counted.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from actors import log

MAX_LINE = 64 << 10  # bytes; a longer event (a huge traceback) is cut
BUFFER = 1 << 20  # bytes the kernel keeps per worker for a slow reader


def to_own_log(lines: bytes) -> None:
    """Where this process's own log lines go."""
    log.relay(lines.decode(errors="replace"))


class LogSink:
    """The site's end: a thread of its own, so lines come through even when the loop is busy."""

    def __init__(self, path: Path, write: Callable[[bytes], None] = to_own_log) -> None:
        self.path = path
        self._write = write
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._stop, self._stopped = os.pipe()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._thread = threading.Thread(target=self._run, name="ray-logs", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        stopping = False
        while not stopping:
            # In the last round what has arrived is still written, stop or not.
            ready = [key for key, _ in self._selector.select()]
            stopping = any(key.data is None for key in ready)
            for key in ready:
                if key.data is not None:
                    key.data()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        reader = _Reader(connection, self._write, self._selector.unregister)
        self._selector.register(connection, selectors.EVENT_READ, reader.read)

    def close(self) -> None:
        """Idempotent. Ends the thread and lets go of the socket file."""
        if not self._thread.is_alive():
            return
        os.write(self._stopped, b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._stop)
        os.close(self._stopped)
        self.path.unlink(missing_ok=True)


class _Reader:
    """One worker's connection: hands on whole lines only."""

    def __init__(
        self,
        connection: socket.socket,
        write: Callable[[bytes], None],
        forget: Callable[[socket.socket], object],
    ) -> None:
        self._connection = connection
        self._write = write
        self._forget = forget
        self._rest = b""

    def read(self) -> None:
        try:
            data = self._connection.recv(MAX_LINE)
        except OSError:  # reset: the worker was killed
            data = b""
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if not data or len(self._rest) > MAX_LINE:  # cut off by death, or by size
            self._rest, last = b"", self._rest
            lines, newline = lines + newline + last, b"\n" if last else newline
        if lines or newline:
            self._write(lines + newline)
        if not data:
            self._forget(self._connection)
            self._connection.close()


class LogSender:
    """The worker's end, a loguru sink: `logger.add(LogSender(path))`."""

    def __init__(self, path: Path) -> None:
        self.dropped = 0
        self._rest = b""  # of a line that the kernel took in part
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._socket.connect(str(path))
        self._socket.setblocking(False)

    def write(self, line: str) -> None:
        """Never blocks, never raises: a log must not stop an actor."""
        self._send(self._rest)
        if self._rest:
            self.dropped += 1
            return
        if self.dropped:
            self._send(f"{self.dropped} log lines were dropped here\n".encode())
            self.dropped = 0
        self._send(self._rest + line.encode(errors="replace")[:MAX_LINE].rstrip(b"\n") + b"\n")

    def stop(self) -> None:
        """Called by loguru when the sink is removed."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data) if data else 0
        except OSError:  # full, or the site is gone
            sent = 0
        self._rest = data[sent:]
