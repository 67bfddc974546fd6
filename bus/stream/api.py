"""What both sides of a stream are to who uses them: own links have it, borrowed ones too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bus.stream.core import Headers, Request, StreamSettings


class Answering(Protocol):
    """As `Answer`."""

    status: int
    headers: Headers

    def chunks(self) -> AsyncGenerator[bytes]: ...

    def silence(self) -> float: ...

    def break_off(self, why: str) -> None: ...


class Way(Protocol):
    """To the other side; a `Bus` is one."""

    @property
    def is_up(self) -> bool: ...

    async def wait_up(self, timeout: float | None = None) -> None: ...


class Streams(Protocol):
    """As `StreamClient`."""

    settings: StreamSettings

    @property
    def bus(self) -> Way: ...

    @property
    def is_up(self) -> bool: ...

    @property
    def open_streams(self) -> int: ...

    def open(
        self, request: Request, body: bytes = b""
    ) -> AbstractAsyncContextManager[Answering]: ...


class Conversation(Protocol):
    """As `Exchange`, to its handler."""

    pool: str
    node: str  # who asks; proven
    request: Request
    takes_coding: bool
    is_started: bool

    async def body(self) -> bytes: ...

    async def start(self, status: int, headers: Headers, *, compress: bool = True) -> None: ...

    async def write(self, data: bytes) -> None: ...
