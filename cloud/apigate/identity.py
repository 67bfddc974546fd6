"""As whom a request acts, and which of its headers go on. Pure."""

from __future__ import annotations

from collections.abc import Container

from actors.kube.serve.passing import Headers, end_to_end
from actors.kube.status_errors import ApiError, service_unavailable

NODE = "system:node:"
NODES = "system:nodes"
SERVICE_ACCOUNT = "system:serviceaccount:"
_OURS = frozenset({"authorization", "host", "content-length", "x-forwarded-for", "forwarded"})


def impersonated(node: str, identity: str, allowed: Container[str]) -> Headers:
    """The headers of acting as `identity` ("": the node itself). Raises ApiError 403."""
    user = identity or f"{NODE}{node}"
    if user != f"{NODE}{node}" and user not in allowed:
        why = f"node {node} may not act as {user}: not in apigate.identities"
        raise ApiError(403, "Forbidden", why)
    groups = (("Impersonate-Group", group) for group in groups_of(user))
    return (("Impersonate-User", user), *groups)


def groups_of(user: str) -> tuple[str, ...]:
    """As the API server's own authenticators give them."""
    own: tuple[str, ...] = ()
    if user.startswith(NODE):
        own = (NODES,)
    elif user.startswith(SERVICE_ACCOUNT):
        namespace = user.removeprefix(SERVICE_ACCOUNT).partition(":")[0]
        own = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return (*own, "system:authenticated")


def service_account(user: str) -> tuple[str, str] | None:
    """(namespace, name); None for a user who is none."""
    namespace, colon, name = user.removeprefix(SERVICE_ACCOUNT).partition(":")
    return (namespace, name) if user.startswith(SERVICE_ACCOUNT) and colon and name else None


def is_refused(status: int, body: bytes) -> bool:
    """Whether the API server says that we may not act as that user."""
    return status == 403 and b"cannot impersonate resource" in body


def not_in_their_name() -> ApiError:
    """Where that is so: no fault of the node, and it may try again."""
    return service_unavailable("ApiGate may not act in the asker's name", 5)


def authorization(headers: Headers) -> str:
    """The request's own; "" if it has none."""
    return next((value for name, value in headers if name.lower() == "authorization"), "")


def forwarded(headers: Headers) -> Headers:
    """What goes on to the API server, besides who asks."""
    return tuple((name, value) for name, value in end_to_end(headers) if name.lower() not in _OURS)
