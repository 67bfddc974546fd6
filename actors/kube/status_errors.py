"""The errors of the Kubernetes API: `Status` objects with the texts clients know from upstream.

Source: k8s.io/apimachinery/pkg/api/errors. A handler raises `ApiError`; the app answers with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec


class Cause(NamedTuple):
    """One entry of `details.causes`: ("FieldValueRequired", "Required value", "spec.ports") ..."""

    reason: str
    message: str
    field: str = ""


class ApiError(Exception):
    """A request that fails with a `Status`. `details` are as in the API, without empty members."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        retry_after: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details if details is None else dict(details)
        self.retry_after = retry_after
        self.metadata = metadata or {}
        if retry_after:
            self.details = (self.details or {}) | {"retryAfterSeconds": retry_after}

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def body(self) -> bytes:
        return msgspec.json.encode(self.status())


def success(details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The `Status` of a finished delete."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
    }
    return status | ({"details": details} if details else {})


def qualified(group: str, plural: str) -> str:
    """As upstream writes a resource in messages: "leases.coordination.k8s.io", "pods"."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, plural: str, name: str = "") -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def _causes(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{k: v for k, v in cause._asdict().items() if v} for cause in causes]


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return ApiError(401, "Unauthorized", message)


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """Without a name it is about a collection, without a resource about a path."""
    what = qualified(group, plural) + (f' "{name}"' if name else "")
    message = f"{what} is forbidden: {why}" if plural else f"forbidden: {why}"
    return ApiError(403, "Forbidden", message, _details(group, plural, name))


def not_found(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(group, plural, name))


def unknown_resource() -> ApiError:
    """A path of a resource that is not served; `details` is an empty object upstream."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed(
    group: str = "", plural: str = "", verb: str = "", message: str = ""
) -> ApiError:
    if not message and plural:
        message = f"{verb} is not supported on resources of kind {qualified(group, plural)!r}"
        message = message.replace("'", '"')
    message = message or "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, _details(group, plural))


def not_acceptable(offered: Sequence[str]) -> ApiError:
    accepted = ", ".join(offered)
    message = f"only the following media types are accepted: {accepted}"
    return ApiError(406, "NotAcceptable", message)


def already_exists(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(group, plural, name))


STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(group: str, plural: str, name: str, why: str = STALE) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(group, plural, name))


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large(limit: int) -> ApiError:
    message = f"Request entity is too large: limit is {limit}"
    return ApiError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    message = (
        "the body of the request was in an unknown format - "
        f"accepted media types include: {', '.join(accepted)}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with causes, one per wrong field, worded as `field.ErrorList.ToAggregate` does."""
    texts = [
        f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes
    ]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {text}'
    details = _details(group, kind, name) | {"causes": _causes(causes)}
    return ApiError(422, "Invalid", message, details)


def too_many_requests(retry_after: int = 1) -> ApiError:
    message = "Too many requests, please try again later."
    return ApiError(429, "TooManyRequests", message, retry_after=retry_after)


def internal_error(why: str) -> ApiError:
    message = f"Internal error occurred: {why}"
    return ApiError(500, "InternalError", message, {"causes": _causes([Cause("", why)])})


def service_unavailable(message: str, retry_after: int = 1) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, retry_after=retry_after)


def version_too_large(asked: int, current: int) -> ApiError:
    """504: the cache is not there yet; the client should ask again in a second."""
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    return ApiError(504, "Timeout", message, {"causes": _causes([cause])}, retry_after=1)
