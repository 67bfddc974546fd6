"""What the queue needs of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from actors.kube.resource import Resource


class Objects(Protocol):
    """What the hub knows of objects, and shows of them. None of it may block."""

    def get(self, resource: Resource, key: str) -> bytes | None:
        """As shown now, whoever brought it (mirror, feed, document); None: not known, or gone."""

    def revise(self, resource: Resource, key: str, raw: bytes | None) -> None:
        """Show this from now on (None: no object), until the cloud's next version is given to
        `Offline.on_server_object`."""

    def restore(self, resource: Resource, key: str) -> None:
        """Show again what the cloud told last: the local writes are gone."""


class Upstream(Protocol):
    """The way to the API server."""

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        """Status and whole body, whatever the status. Raises ApiError, OSError or TimeoutError
        where the API server cannot be reached, or its answer did not come."""


@dataclass(frozen=True)
class Replayed:
    """What one pass has done."""

    sent: int = 0  # entries that are done
    dropped: int = 0  # and reported
    left: int = 0
    retry_in: float | None = None  # seconds until another pass makes sense; None: at once, or none
    is_cut: bool = False  # the API server could not be reached
