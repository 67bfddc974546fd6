"""Hands a subscription's messages to its handler: one after the other, bounded, errors logged."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Final

from bus.api import Handler, Message
from bus.subjects import is_inbox

log = logging.getLogger(__name__)

_OVERHEAD: Final = 256  # bytes that a waiting message costs besides its data
_TURN: Final = 64  # messages handled before others get the loop


class Delivery:
    """Outlives sessions, so a handler that is at work when the link breaks finishes its work."""

    def __init__(
        self, subject: str, handler: Handler, limit: int, on_drop: Callable[[str], None]
    ) -> None:
        self.subject = subject
        self._handler = handler
        self._limit = limit
        self._on_drop = on_drop
        self._waiting = 0  # bytes
        self._is_closed = False
        self._failure = ""  # of the last message, if its handler failed
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name=f"handler of {subject}")

    def put(self, message: Message) -> None:
        """The newest message is the one that drops where the handler is too slow."""
        if self._is_closed:
            return
        if not self._may_be_answered(message.reply):
            self._on_drop(f"messages of {self.subject} dropped: no inbox to answer to")
            return
        if self._waiting > 0 and self._waiting + _size(message) > self._limit:
            self._on_drop(f"messages of {self.subject} dropped: its handler is too slow")
            return
        self._waiting += _size(message)
        self._queue.put_nowait(message)

    def _may_be_answered(self, reply: str) -> bool:
        """Who asks must not choose what we say where: our answer might be heard as our own word.

        JetStream delivers to inboxes, with replies of its own kind.
        """
        return not reply or is_inbox(reply) or is_inbox(self.subject)

    async def close(self) -> None:
        """No handler call starts any more; one under way is cancelled, unless it is our caller."""
        self._is_closed = True
        if self._task is asyncio.current_task():
            return
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        handled = 0
        while not self._is_closed:
            message = await self._queue.get()
            self._waiting -= _size(message)
            await self._handle(message)
            handled += 1
            if handled % _TURN == 0:
                await asyncio.sleep(0)

    async def _handle(self, message: Message) -> None:
        try:
            result = self._handler(message)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            log.error("handler of %s was cancelled by what it waited for", self.subject)
        except Exception as error:
            self._failed(error)
        else:
            self._failure = ""

    def _failed(self, error: Exception) -> None:
        """With its traceback once, not at each of a thousand messages a second."""
        failure = repr(error)
        level = logging.DEBUG if failure == self._failure else logging.ERROR
        self._failure = failure
        log.log(level, "handler of %s failed: %s", self.subject, failure, exc_info=error)


def _size(message: Message) -> int:
    return len(message.data) + _OVERHEAD


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
