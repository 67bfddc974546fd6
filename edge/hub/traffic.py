"""Who asks a hub for what: requests, time and bytes by component, verb and resource.

Bounded: components and resources beyond the first so many are counted together as "other", but for
those that the site file names.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.figures import Figure
from actors.kube.serve.api import Finish, RequestInfo
from actors.kube.serve.routes import is_long_running
from edge.hub.components import component_of

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.abc import AbstractStreamWriter

OTHER = "other"
GONE = 499  # the client went before it was answered
MOST_COMPONENTS = 50
MOST_RESOURCES = 200
LABELS = ("component", "verb", "resource")
Key = tuple[str, str, str]
_VERBS = frozenset({
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("post", "put", "head", "options"),
})  # fmt: skip


@dataclass(eq=False)
class _Open:
    key: Key
    lasts: bool  # a watch
    writer: AbstractStreamWriter


class Traffic:
    """`known`: components that are always counted apart."""

    def __init__(
        self, known: Collection[str] = (), clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.seconds: defaultdict[Key, float] = defaultdict(float)
        self.bytes: Counter[Key] = Counter()
        self.stale: Counter[Key] = Counter()  # answers with a Warning
        self._open: set[_Open] = set()
        self._clock = clock
        self._known = frozenset(known)
        self._components: set[str] = set()
        self._resources: set[str] = set()

    def begin(self, request: web.Request, info: RequestInfo) -> Finish:
        """Implements `actors.kube.serve.api.Begin`."""
        began = self._clock()
        each = _Open(self._key(info), is_long_running(info), request.writer)
        self._open.add(each)

        def finish(response: web.StreamResponse | None) -> None:
            self._open.discard(each)
            self._finished(each, response, self._clock() - began)

        return finish

    def _finished(self, each: _Open, response: web.StreamResponse | None, seconds: float) -> None:
        status = response.status if response is not None else GONE
        self.requests[*each.key, str(status)] += 1
        if not each.lasts:
            self.seconds[each.key] += seconds
        self.bytes[each.key] += each.writer.output_size or _unsent(response)
        if response is not None and "Warning" in response.headers:
            self.stale[each.key] += 1

    def open(self) -> Counter[Key]:
        """Watches, and the like."""
        return Counter(each.key for each in self._open if each.lasts)

    def sent(self) -> Mapping[Key, int]:
        """Bytes, those of watches that go on among them."""
        sent = Counter(self.bytes)
        for each in self._open:
            sent[each.key] += each.writer.output_size
        return sent

    def figures(self) -> Iterator[Figure]:
        def floats(
            read: Callable[[], Mapping[Key, float]],
        ) -> Callable[[], dict[tuple[str, ...], float]]:
            return lambda: {key: float(value) for key, value in read().items()}

        yield Figure(
            "atoll_hub_requests",
            "Requests answered, watches when they end (499: the client went first)",
            lambda: {key: float(n) for key, n in self.requests.items()},
            (*LABELS, "code"),
            is_counter=True,
        )
        for name, text, read in (
            (
                "request_seconds",
                "Seconds that requests took, without watches",
                lambda: self.seconds,
            ),
            ("response_bytes", "Bytes of answers to the node's clients", self.sent),
            ("stale_answers", "Answers with a Warning: not as new as usual", lambda: self.stale),
        ):
            yield Figure(f"atoll_hub_{name}", text, floats(read), LABELS, is_counter=True)
        yield Figure("atoll_hub_watches", "Watches that are open", floats(self.open), LABELS)

    def _key(self, info: RequestInfo) -> Key:
        component = component_of(info.headers.get("User-Agent", "")) or "unknown"
        if component not in self._known:
            component = _bounded(component, self._components, MOST_COMPONENTS)
        resource = "none"
        if info.is_resource:
            resource = f"{info.plural}.{info.group}" if info.group else info.plural
        if info.subresource:
            resource += "/" + info.subresource.partition("/")[0]
        verb = info.verb if info.verb in _VERBS else OTHER
        return component, verb, _bounded(resource, self._resources, MOST_RESOURCES)


def _unsent(response: web.StreamResponse | None) -> int:
    """A small answer is written after its handler has returned it."""
    body = getattr(response, "body", None)
    return len(body) if isinstance(body, bytes) else 0


def _bounded(name: str, known: set[str], most: int) -> str:
    if name not in known:
        if len(known) >= most:
            return OTHER
        known.add(name)
    return name
