"""Binds an application to a port, in the way its watches need."""

from __future__ import annotations

import ssl

from aiohttp import web


class Server:
    """A running application. `port` is what was bound (asked for with 0: chosen by the system)."""

    def __init__(self, runner: web.AppRunner, host: str) -> None:
        self._runner = runner
        self.host = host

    @property
    def app(self) -> web.Application:
        return self._runner.app

    @property
    def port(self) -> int:
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, end watches cleanly, let requests finish, close connections."""
        await self._runner.cleanup()


async def start_server(
    app: web.Application,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    linger: float = 5.0,
) -> Server:
    """Raises OSError if the port cannot be bound. `linger`: seconds for open requests at stop.

    Handlers are cancelled when their client goes: an idle watch notices at once.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=linger,
        keepalive_timeout=90,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=512).start()
    except BaseException:
        await runner.cleanup()
        raise
    return Server(runner, host)
