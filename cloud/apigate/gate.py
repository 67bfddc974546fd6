"""One request: from the stream to the API server, and its answer back."""

from __future__ import annotations

from collections.abc import Callable, Container

from actors.kube.brief import BRIEF, brief_of, is_marked
from actors.kube.client import ClusterClient, Forwarded
from actors.kube.client_errors import KubeError, Misconfigured, NotConnected
from actors.kube.serve.passing import (
    UNDONE,
    UNKNOWN,
    UNREACHABLE,
    Headers,
    check_unclaimed,
    end_to_end,
)
from actors.kube.status_errors import ApiError, bad_request, service_unavailable
from bus.errors import StreamBroken
from bus.stream import Conversation, Request
from cloud.apigate.identity import (
    authorization,
    forwarded,
    impersonated,
    is_refused,
    not_in_their_name,
)
from cloud.apigate.mirroring import Mirroring, is_mirror

_OURS = "atoll-"  # headers between hub and gate


class Gate:
    """Handles the exchanges of one StreamServer."""

    def __init__(
        self,
        client: ClusterClient,
        identities: Container[str],
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_refused`: the API server does not let us act as someone."""
        self.requests = 0
        self.refused = 0  # by us, not by the API server
        self.mirroring = Mirroring(client, on_refused=on_refused)
        self._client = client
        self._identities = identities
        self._on_refused = on_refused

    async def __call__(self, exchange: Conversation) -> None:
        """Raises StreamBroken where an answer that has begun cannot go on."""
        self.requests += 1
        try:
            headers = _onward(exchange, self._headers(exchange))
            as_us = not authorization(exchange.request.headers)
            if is_mirror(exchange.request):
                await self.mirroring.serve(exchange, headers, as_us=as_us)
            else:
                await self._hand_on(exchange, headers, as_us=as_us)
        except ApiError as error:
            self.refused += 1
            await _answer(exchange, error)
        except KubeError as error:
            if exchange.is_started:
                raise StreamBroken(str(error)) from error
            refusal = _unavailable(error, exchange.request.method)
            is_undone = refusal.code != 504
            await _answer(exchange, refusal, (UNREACHABLE, UNDONE if is_undone else UNKNOWN))

    def _headers(self, exchange: Conversation) -> Headers:
        """Raises ApiError."""
        request = exchange.request
        if not request.path.startswith("/") or request.path.startswith("//"):
            raise bad_request("not a path of the API server")
        check_unclaimed(name for name, _ in request.headers)
        own = authorization(request.headers)
        if own:
            return (*forwarded(request.headers), ("Authorization", own))
        acting = impersonated(exchange.node, request.identity, self._identities)
        return (*forwarded(request.headers), *acting)

    async def _hand_on(self, exchange: Conversation, headers: Headers, *, as_us: bool) -> None:
        request = exchange.request
        body = await exchange.body()
        async with self._client.forward(
            request.method, request.path, headers, body or None, as_us=as_us
        ) as answer:
            if as_us and answer.status == 401:
                raise service_unavailable("ApiGate's own credentials are refused", 5)
            if as_us and answer.status == 403:
                await self._answer_forbidden(exchange, answer)
                return
            if _may_be_brief(request, answer):
                await _answer_briefly(exchange, answer)
                return
            await exchange.start(answer.status, end_to_end(answer.headers))
            async for chunk in answer.chunks():
                await exchange.write(chunk)

    async def _answer_forbidden(self, exchange: Conversation, answer: Forwarded) -> None:
        """What the node may not do is told as it is; what we may not do is no fault of the node."""
        body = b"".join([chunk async for chunk in answer.chunks()])
        if is_refused(answer.status, body):
            self._on_refused()
            raise not_in_their_name()
        await exchange.start(answer.status, end_to_end(answer.headers))
        await exchange.write(body)


def _onward(exchange: Conversation, headers: Headers) -> Headers:
    """What is compressed on the stream need not be so before: it would not shrink twice."""
    drop = ("accept-encoding",) if exchange.takes_coding else ()
    return tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in drop and not name.lower().startswith(_OURS)
    )


def _may_be_brief(request: Request, answer: Forwarded) -> bool:
    headers = {name.lower(): value for name, value in answer.headers}
    is_json = headers.get("content-type", "").startswith("application/json")
    is_one = request.method in ("GET", "POST", "PUT", "PATCH") and answer.status in (200, 201)
    return is_one and is_json and "content-encoding" not in headers and is_marked(request.headers)


async def _answer_briefly(exchange: Conversation, answer: Forwarded) -> None:
    """The asker has the rest by a mirror, or soon will."""
    body = b"".join([chunk async for chunk in answer.chunks()])
    short = brief_of(body)
    told = body if short is None else short
    headers = [h for h in end_to_end(answer.headers) if h[0].lower() != "content-length"]
    headers += [BRIEF] if short is not None else []
    headers.append(("Content-Length", str(len(told))))
    await exchange.start(answer.status, tuple(headers))
    await exchange.write(told)


def _unavailable(error: KubeError, method: str) -> ApiError:
    """503 makes clients ask again, which only whoever did nothing yet may tell them."""
    if isinstance(error, Misconfigured):
        return service_unavailable(f"ApiGate cannot reach the API server: {error}", 10)
    if method in ("GET", "HEAD") or isinstance(error, NotConnected):
        return service_unavailable(f"ApiGate cannot reach the API server: {error}")
    return ApiError(504, "Timeout", f"whether it was done is unknown: {error}")


async def _answer(exchange: Conversation, error: ApiError, *more: tuple[str, str]) -> None:
    body = error.body()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more]
    if error.retry_after:
        headers.append(("Retry-After", str(error.retry_after)))
    await exchange.start(error.code, tuple(headers))
    await exchange.write(body)
