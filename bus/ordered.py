"""An ordered consumer: what a stream holds and gets, in order and without gaps, for ever.

A push consumer of our own per incarnation, with idle heartbeats and flow control (ADR-17). The one
of nats-py takes 19 s to notice a restarted server; this one is made anew as soon as the link is
back, at a gap, and after some seconds of silence; it begins with the last value of each subject.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from bus.api import Bus, Message, Subscription
from bus.errors import BusError
from bus.jetstream import Stored, api

log = logging.getLogger(__name__)

_CALL_SECONDS = 2.0
_INACTIVE_SECONDS = 5  # the server forgets a consumer that nobody listens to after this long
_SILENCES = 2.5  # heartbeat periods without a message: the consumer is gone
_RETRY_SECONDS = 0.5
_NS = 1_000_000_000


class OrderedConsumer:
    """Calls `on_begin(count)` at each (re)start, `count` values being there to read, and then
    `on_message` with them (`pending` counts down to 0) and with every later one.

    `prepare` runs before each start: the place to make the stream.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        subject: str,
        *,
        on_begin: Callable[[int], None],
        on_message: Callable[[Stored], None],
        prepare: Callable[[], Awaitable[object]],
        heartbeat: float = 1.0,
    ) -> None:
        self.restarts = -1  # the first start is none
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._on_begin = on_begin
        self._on_message = on_message
        self._prepare = prepare
        self._heartbeat = heartbeat
        self._broken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._consumer = ""  # name of the current incarnation
        self._early: list[Message] | None = None
        self._sequence = 0  # of the consumer: how many messages it delivered
        self._heard_at = 0.0
        self._trouble = ""

    def start(self) -> None:
        name = f"follow {self._subject}"
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """Idempotent. Nothing is delivered afterwards."""
        self._consumer = ""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # -- one incarnation after the other -----------------------------------------------------------

    async def _run(self) -> None:
        forget = self._bus.on_link(self._on_link)
        try:
            while True:
                await self._live()
                await self._rest()
        finally:
            forget()

    def _on_link(self, up: bool) -> None:
        if up:
            self._broken.set()

    async def _rest(self) -> None:
        """Before the next try: until the link comes up, or a little while."""
        if not self._trouble:
            return
        try:
            async with asyncio.timeout(_RETRY_SECONDS * random.uniform(0.5, 1.0)):
                await self._broken.wait()
        except TimeoutError:
            return

    async def _live(self) -> None:
        self._broken.clear()
        self._consumer = consumer = secrets.token_hex(8)
        subscription: Subscription | None = None
        try:
            await self._prepare()
            inbox = self._bus.inbox()  # a literal one: push consumers see no interest in patterns
            subscription = await self._bus.subscribe(
                inbox, lambda message: self._receive(consumer, message)
            )
            await self._create(consumer, inbox)
            await self._until_broken()
            log.debug("%s: consumer broken, made anew", self._subject)
        except BusError as error:
            self._note(error)
        except Exception as error:  # of our callers; what they follow must not just end
            log.exception("%s: following it failed, tries again", self._subject)
            self._trouble = repr(error)
        finally:
            if subscription is not None:
                await self._discard(consumer, subscription)

    async def _create(self, consumer: str, inbox: str) -> None:
        self._sequence = 0
        config = self._config(consumer, inbox)
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        # Messages may come before this answer, and the count in it does not hold them any more:
        # they wait until the beginning is announced.
        self._early = []
        call = f"CONSUMER.CREATE.{self._stream}.{consumer}"
        info = await api(self._bus, call, body, timeout=_CALL_SECONDS)
        self._trouble = ""
        self.restarts += 1
        self._heard_at = asyncio.get_running_loop().time()
        early, self._early = self._early, None
        self._on_begin(int(info["num_pending"]) + int(info["delivered"]["consumer_seq"]))
        for message in early or ():
            await self._handle(message)

    def _config(self, consumer: str, inbox: str) -> dict[str, Any]:
        return {
            "name": consumer,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subject": self._subject,
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(self._heartbeat * _NS),
            "inactive_threshold": _INACTIVE_SECONDS * _NS,
            "mem_storage": True,
            "num_replicas": 1,
        }

    async def _until_broken(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._broken.is_set():
            left = self._heard_at + self._heartbeat * _SILENCES - loop.time()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._broken.wait()
            except TimeoutError:
                continue

    async def _discard(self, consumer: str, subscription: Subscription) -> None:
        await subscription.unsubscribe()
        try:  # no answer wanted; whoever is not told forgets it by itself
            await self._bus.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", b"")
        except BusError as error:
            log.debug("consumer of %s not deleted: %s", self._subject, error)

    def _note(self, error: BusError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.debug("%s: not followed for now: %s", self._subject, error)

    # -- messages ----------------------------------------------------------------------------------

    async def _receive(self, consumer: str, message: Message) -> None:
        if consumer != self._consumer or self._broken.is_set():
            return
        self._heard_at = asyncio.get_running_loop().time()
        if self._early is not None:
            self._early.append(message)
        else:
            await self._handle(message)

    async def _handle(self, message: Message) -> None:
        if message.headers.get("Status") == "100":
            await self._on_control(message)
            return
        stored, sequence = _parse(message)
        if sequence != self._sequence + 1:
            self._broken.set()
            return
        self._sequence = sequence
        self._on_message(stored)

    async def _on_control(self, message: Message) -> None:
        """A heartbeat says how far the consumer is; flow control wants an answer."""
        last = message.headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._sequence:
            self._broken.set()
        wanted = message.reply or message.headers.get("Nats-Consumer-Stalled", "")
        if wanted:
            await self._bus.publish(wanted, b"")


def _parse(message: Message) -> tuple[Stored, int]:
    """The message, and its number in its consumer.

    The reply subject is $JS.ACK.[domain.account.]stream.consumer.tries.stream sequence.consumer
    sequence.time.pending[.token]
    """
    tokens = message.reply.split(".")
    at = 2 if len(tokens) == 9 else 4
    sequence, number, pending = int(tokens[at + 3]), int(tokens[at + 4]), int(tokens[at + 6])
    return Stored(message.subject, sequence, message.data, message.headers, pending), number
