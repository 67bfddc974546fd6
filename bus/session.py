"""One life of a connection: a nats-py client from its connect to its end. The home of nats-py.

nats-py's own reconnecting is off: it waits for buffers that a dead line never drains, and buffers
what it cannot send. A session that ended is thrown away and its line aborted. What we know of
nats-py 2.16 and work around is said where it matters; its private names are used in `_tasks_of`
and in `Session.__init__` only.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from bus.api import Message
from bus.errors import BusDown, BusError, MessageTooLarge, NoResponders, RequestTimeout
from bus.line import Line

log = logging.getLogger(__name__)

STEP_SECONDS = 1  # for each of TCP, TLS and NATS handshake: a round trip each, on a far line too
CLOSE_SECONDS = 0.5
_PENDING_BYTES = 256 << 10  # written but not yet taken by the socket; then `publish` waits
_NEVER = 1 << 30  # seconds; we ping ourselves
_NO_RESPONDERS = "503"

Deliver = Callable[[Message], None]


class Session:
    """Open until `ended` is set; then every method raises BusDown."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self.url = url
        self.client = Client()
        self.line = Line(secure=tls is not None)
        self.client._transport = self.line
        self.ended = asyncio.Event()
        self.reason = ""  # why it ended
        self._tls = tls
        self._is_open = False
        self._on_error: Callable[[Exception], None] = lambda error: None
        self._answers: dict[str, asyncio.Future[Message | None]] = {}
        self._inbox = ""
        self._asked = 0
        self._pings: set[asyncio.Task[None]] = set()

    # -- its life ---------------------------------------------------------------------------------

    async def open(
        self,
        *,
        name: str,
        seed_file: Path,
        inbox_prefix: str,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Raises BusDown with the reason; the session is then of no further use."""
        self._on_error = on_error
        try:
            await self._connect(name, seed_file)
            self._inbox = f"{inbox_prefix}.{secrets.token_hex(8)}."
            await self.client.subscribe(
                self._inbox + "*", cb=self._on_answer, pending_bytes_limit=0
            )
        except Exception as error:  # also of the key's or the certificate's own kinds
            await self.close()
            raise BusDown(f"{self.url}: {_text(error)}") from error
        except BaseException:
            await self.close()
            raise

    async def _connect(self, name: str, seed_file: Path) -> None:
        await self.client.connect(
            servers=[self.url],
            name=name,
            allow_reconnect=False,
            connect_timeout=STEP_SECONDS,
            ping_interval=_NEVER,
            nkeys_seed=str(seed_file),
            pending_size=0,  # nothing is buffered while down, and `publish` never waits inside
            skip_subject_validation=True,  # `bus.subjects` is stricter
            flusher_queue_size=0,  # no bound: whoever waits at a bound waits for ever, once it dies
            tls=self._tls,
            error_cb=self._failed,
            closed_cb=self._closed,
        )
        if not self.client.is_connected:
            raise OSError("the server does not speak NATS as expected")
        for task in _tasks_of(self.client):
            task.add_done_callback(self._task_ended)
        self._is_open = True

    async def _failed(self, error: Exception) -> None:
        """Raises while connecting: nats-py would try again for ever, on its own schedule."""
        if not self._is_open:
            raise error
        self._on_error(error)

    async def _closed(self) -> None:
        self._end_with(self.client.last_error)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Without its reader or writer nats-py is deaf or mute, whatever it says of its state."""
        error = None if task.cancelled() else task.exception()
        self._end_with(error or self.client.last_error)

    def _end_with(self, error: BaseException | None) -> None:
        self.end(_text(error) if error is not None else "the server closed the connection")

    def end(self, reason: str) -> None:
        """Everybody who waits for this session hears BusDown; the line is cut."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        for ping in self._pings:
            ping.cancel()
        self.line.abort()

    async def close(self) -> None:
        """Idempotent, and quick also on a dead line."""
        self.end("closed")
        self.line.abort()  # it may have been made since
        tasks = [*_tasks_of(self.client), *self._pings]
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.client.close()
        except Exception as error:  # it trips over its own dead line: any kind
            log.debug("close: %r", error)
        finally:
            await _cancel(tasks)

    # -- messages ---------------------------------------------------------------------------------

    @property
    def max_payload(self) -> int:
        return int(self.client.max_payload)

    async def publish(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Waits only where the socket does not keep up."""
        self._check()
        try:
            await self.client.publish(subject, data, reply, dict(headers) if headers else None)
            if self.client.pending_data_size > _PENDING_BYTES:
                await self._until_written(_PENDING_BYTES)
        except (nats.errors.Error, OSError) as error:
            raise _mapped(error, subject) from error

    async def _until_written(self, limit: int) -> None:
        """nats-py's writer takes what is pending once the socket has room; we follow it."""
        while self.client.pending_data_size > limit:
            self._check()
            await asyncio.sleep(0)
            await self.line.drain()  # type: ignore[no-untyped-call]

    async def request(
        self, subject: str, data: bytes, timeout: float, headers: Mapping[str, str] | None
    ) -> Message:
        """With answers of our own: nats-py's requests do not hear of a session's end."""
        self._check()
        self._asked += 1
        token = f"{self._asked:x}"
        answer = self._answers[token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self.publish(subject, data, self._inbox + token, headers)
                message: Message | None = await answer
        except TimeoutError as error:
            raise RequestTimeout(f"{subject}: no answer within {timeout} s") from error
        finally:
            del self._answers[token]
        if message is None:
            raise BusDown(f"{subject}: {self.reason}")
        if message.headers.get("Status") == _NO_RESPONDERS and not message.data:
            raise NoResponders(f"{subject}: nobody answers there")
        return message

    async def _on_answer(self, msg: Msg) -> None:
        answer = self._answers.get(msg.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(as_message(msg))

    async def subscribe(self, subject: str, queue: str, deliver: Deliver) -> ClientSubscription:
        self._check()

        async def on_message(msg: Msg) -> None:
            deliver(as_message(msg))

        try:
            return await self.client.subscribe(
                subject, queue=queue, cb=on_message, pending_bytes_limit=0
            )
        except (nats.errors.Error, OSError) as error:
            raise _mapped(error, subject) from error

    async def unsubscribe(self, subscription: ClientSubscription) -> None:
        if self.ended.is_set():
            return
        try:
            await subscription.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            log.debug("unsubscribe: %r", error)

    # -- round trips ------------------------------------------------------------------------------

    async def ping(self, timeout: float) -> None:
        """Returns when the server has taken all that was sent. Raises RequestTimeout, BusDown."""
        self._check()
        ping = self._start_ping()
        await asyncio.wait([ping], timeout=timeout)
        if not ping.done():
            raise RequestTimeout(f"no answer to a ping within {timeout} s")
        self._finish_ping(ping)

    async def probe(self, timeout: float) -> None:
        """As `ping`, but waits on while bytes pass: on a thin line the answer is behind them.

        It pings on meanwhile: the server hangs up on whoever is silent.
        """
        self._check()
        ping = self._start_ping()
        before = self.line.progress()
        while not (await asyncio.wait([ping], timeout=timeout))[0]:
            now = self.line.progress()
            if not now.shows_life_since(before):
                raise RequestTimeout(f"no answer to a ping within {timeout:.2g} s")
            before = now
            self._start_ping()
        self._finish_ping(ping)

    def _start_ping(self) -> asyncio.Task[None]:
        """A task of its own: nats-py's reader dies of a PONG whose waiter was cancelled."""
        ping = asyncio.create_task(self._round_trip(), name=f"ping {self.url}")
        self._pings.add(ping)
        ping.add_done_callback(self._ping_ended)
        return ping

    def _ping_ended(self, ping: asyncio.Task[None]) -> None:
        self._pings.discard(ping)
        if not ping.cancelled():
            ping.exception()  # looked at, also where nobody waits for it any more

    async def _round_trip(self) -> None:
        await self._until_written(0)  # nats-py's PING overtakes what is pending
        await self.client.flush(timeout=_NEVER)
        await asyncio.sleep(0)  # it also returns where its tasks are dead: let `end` be called

    def _finish_ping(self, ping: asyncio.Task[None]) -> None:
        if ping.cancelled():
            raise BusDown(self.reason)
        error = ping.exception()
        if error is not None:
            raise _mapped(error, "ping") from error
        self._check()

    def _check(self) -> None:
        if self.ended.is_set():
            raise BusDown(self.reason)


def as_message(msg: Msg) -> Message:
    return Message(msg.subject, msg.data, msg.reply, msg.headers or {})


def _mapped(error: BaseException, subject: str) -> Exception:
    """What our caller sees instead of nats-py's errors."""
    if isinstance(error, nats.errors.BadHeaderError):
        return ValueError(f"{subject}: a header that NATS does not take: {_text(error)}")
    if isinstance(error, nats.errors.MaxPayloadError):
        return MessageTooLarge(f"{subject}: {_text(error)}")
    if isinstance(error, BusError):
        return error
    return BusDown(f"{subject}: {_text(error)}")


def _text(error: BaseException) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__


def _tasks_of(client: Client) -> list[asyncio.Task[None]]:
    """nats-py's own tasks; it does not wait for their end."""
    found = [client._reading_task, client._flusher_task, client._ping_interval_task]
    found += [subscription._wait_for_msgs_task for subscription in client._subs.values()]
    return [task for task in found if task is not None and not task.done()]


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    mine = asyncio.current_task()
    others = [task for task in tasks if task is not mine]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
