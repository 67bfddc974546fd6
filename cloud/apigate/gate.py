"""One request: from the stream to the API server, and its answer back."""

from __future__ import annotations

from collections.abc import Container

from actors.kube.client import ClusterClient
from actors.kube.client_errors import KubeError, Misconfigured, NotConnected
from actors.kube.serve.passing import UNDONE, UNKNOWN, UNREACHABLE, Headers, end_to_end
from actors.kube.status_errors import ApiError, bad_request, service_unavailable
from bus.errors import StreamBroken
from bus.stream import Exchange
from cloud.apigate.identity import authorization, check_unclaimed, forwarded, impersonated


class Gate:
    """Handles the exchanges of one StreamServer."""

    def __init__(self, client: ClusterClient, identities: Container[str]) -> None:
        self.requests = 0
        self.refused = 0  # by us, not by the API server
        self._client = client
        self._identities = identities

    async def __call__(self, exchange: Exchange) -> None:
        """Raises StreamBroken where an answer that has begun cannot go on."""
        self.requests += 1
        try:
            headers = self._headers(exchange)
            await self._hand_on(exchange, headers)
        except ApiError as error:
            self.refused += 1
            await _answer(exchange, error)
        except KubeError as error:
            if exchange.is_started:
                raise StreamBroken(str(error)) from error
            refusal = _unavailable(error, exchange.request.method)
            is_undone = refusal.code != 504
            await _answer(exchange, refusal, (UNREACHABLE, UNDONE if is_undone else UNKNOWN))

    def _headers(self, exchange: Exchange) -> Headers:
        """Raises ApiError."""
        request = exchange.request
        if not request.path.startswith("/") or request.path.startswith("//"):
            raise bad_request("not a path of the API server")
        check_unclaimed(request.headers)
        own = authorization(request.headers)
        if own:
            return (*forwarded(request.headers), ("Authorization", own))
        acting = impersonated(exchange.node, request.identity, self._identities)
        return (*forwarded(request.headers), *acting)

    async def _hand_on(self, exchange: Exchange, headers: Headers) -> None:
        request = exchange.request
        body = await exchange.body()
        as_us = not authorization(request.headers)
        async with self._client.forward(
            request.method, request.path, headers, body or None, as_us=as_us
        ) as answer:
            if as_us and answer.status == 401:
                raise service_unavailable("ApiGate's own credentials are refused", 5)
            await exchange.start(answer.status, end_to_end(answer.headers))
            async for chunk in answer.chunks():
                await exchange.write(chunk)


def _unavailable(error: KubeError, method: str) -> ApiError:
    """503 makes clients ask again, which only whoever did nothing yet may tell them."""
    if isinstance(error, Misconfigured):
        return service_unavailable(f"ApiGate cannot reach the API server: {error}", 10)
    if method in ("GET", "HEAD") or isinstance(error, NotConnected):
        return service_unavailable(f"ApiGate cannot reach the API server: {error}")
    return ApiError(504, "Timeout", f"whether it was done is unknown: {error}")


async def _answer(exchange: Exchange, error: ApiError, *more: tuple[str, str]) -> None:
    headers = [("Content-Type", "application/json"), *more]
    if error.retry_after:
        headers.append(("Retry-After", str(error.retry_after)))
    await exchange.start(error.code, tuple(headers))
    await exchange.write(error.body())
