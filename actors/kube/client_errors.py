"""What can go wrong between us and an API server, and the table from foreign exceptions to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import msgspec


class KubeError(Exception):
    """Base of all; foreign exceptions are its `__cause__`."""


class Unreachable(KubeError):
    """No answer, or it broke off: whether the request was acted on is unknown."""


class NotConnected(Unreachable):
    """Not even a connection: the request was certainly not acted on."""


class Misconfigured(KubeError):
    """The kubeconfig, token or certificates cannot be used; the text names the file."""


class UnknownResource(KubeError):
    """The API server serves no such resource; the text has the nearest names. It may come later."""


class Refused(KubeError):
    """The API server answered with an error, usually a `Status`."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after  # seconds; 0: the server did not say


class _Details(msgspec.Struct):
    retry_after: float = msgspec.field(name="retryAfterSeconds", default=0.0)


class _Status(msgspec.Struct):
    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


_SHOWN = 200  # characters of an answer that is no Status


def refused(code: int, body: bytes, retry_after: str = "") -> Refused:
    """The error told by an HTTP answer or (with code 0) by a `Status` in an ERROR event."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        status = _Status(message=body[:_SHOWN].decode(errors="replace"))
    wait = _seconds(retry_after) or (status.details.retry_after if status.details else 0.0)
    return Refused(code or status.code, status.reason or "", status.message or "", wait)


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0  # absent, or an HTTP date, which no API server sends


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turns what aiohttp and the system raise into KubeErrors."""
    try:
        yield
    except (ssl.SSLError, aiohttp.ClientSSLError) as error:
        raise Unreachable(f"{what}: TLS: {error}") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise Misconfigured(f"{what}: not an http(s) address") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise NotConnected(f"{what}: {error or type(error).__name__}") from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{what}: {error or type(error).__name__}") from error
