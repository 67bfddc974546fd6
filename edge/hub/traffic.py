"""Who asks a hub for what: requests, time and bytes by component, verb and resource.

Bounded: components and resources beyond the first so many are counted together as "other".
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actors.figures import Figure
from actors.kube.serve.api import RequestInfo
from edge.hub.components import component_of

if TYPE_CHECKING:
    from aiohttp import web

OTHER = "other"
MOST_COMPONENTS = 50
MOST_RESOURCES = 200
LABELS = ("component", "verb", "resource", "code")
Key = tuple[str, ...]


class Traffic:
    def __init__(self) -> None:
        self.requests: Counter[Key] = Counter()
        self.seconds: dict[Key, float] = {}
        self.bytes: Counter[Key] = Counter()
        self._components: set[str] = set()
        self._resources: set[str] = set()

    def finished(self, info: RequestInfo, response: web.StreamResponse, seconds: float) -> None:
        """Implements `actors.kube.serve.api.Finished`."""
        key = self._key(info, response.status)
        self.requests[key] += 1
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds
        self.bytes[key] += max(0, response.body_length)

    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure(
                "atoll_hub_requests",
                "Requests answered, watches when they end",
                lambda: {key: float(n) for key, n in self.requests.items()},
                LABELS,
                is_counter=True,
            ),
            Figure(
                "atoll_hub_request_seconds",
                "Seconds that requests took, all together",
                lambda: dict(self.seconds),
                LABELS,
                is_counter=True,
            ),
            Figure(
                "atoll_hub_response_bytes",
                "Bytes of answers to the node's clients",
                lambda: {key: float(n) for key, n in self.bytes.items()},
                LABELS,
                is_counter=True,
            ),
        )

    def _key(self, info: RequestInfo, status: int) -> Key:
        component = component_of(info.headers.get("User-Agent", "")) or "unknown"
        resource = info.plural if info.is_resource else "none"
        if info.subresource:
            resource += "/" + info.subresource.partition("/")[0]
        return (
            _bounded(component, self._components, MOST_COMPONENTS),
            info.verb,
            _bounded(resource, self._resources, MOST_RESOURCES),
            str(status),
        )


def _bounded(name: str, known: set[str], most: int) -> str:
    if name not in known:
        if len(known) >= most:
            return OTHER
        known.add(name)
    return name
