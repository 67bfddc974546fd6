"""What is different in two answers, beside names, times and versions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.interop.differential.play import Answer
from tests.interop.differential.steps import OWN

HEADERS = (  # those that mean something to a client
    "Allow",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "Vary",
    "Warning",
    "WWW-Authenticate",
    "X-Content-Type-Options",
)
LIST_VERSION = re.compile(r"list at (\d+)")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_CLUSTER_IP = re.compile(r"\b10\.96\.\d+\.\d+")
_AGE = re.compile(r"(\d+[smhd])+|<unknown>")
_GENERATED = re.compile(r"\b(gen-)[a-z0-9]{5}\b")
_ABSENT = "(absent)"


class Difference(NamedTuple):
    where: str
    api_server: Any
    hub: Any


@dataclass
class View:
    """One side's answers of one session: what differs by nature gets the same name on both.

    A version is named by when it was first seen, unless both sides read the same objects.
    """

    namespace: str
    is_shared: bool
    _versions: dict[str, str] = field(default_factory=dict)

    def of(self, answer: Answer) -> dict[str, Any]:
        headers = {name: self._text(answer.headers.get(name, _ABSENT)) for name in HEADERS}
        shown: dict[str, Any] = {"status": answer.status, "headers": headers}
        if answer.events is None:
            return {**shown, "body": self._value(answer.body)}
        return {**shown, "events": [self._event(event) for event in answer.events]}

    def _event(self, event: Any) -> Any:
        if isinstance(event, dict) and event.get("type") == "BOOKMARK":
            metadata = event["object"]["metadata"]
            kept = metadata | self._marks(metadata)
            event = {**event, "object": {**event["object"], "metadata": kept}}
        return self._value(event)

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(name): self._member(value, name) for name in sorted(value)}
        if isinstance(value, list):
            return [self._value(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _member(self, holder: dict[str, Any], name: str) -> Any:
        value = holder[name]
        if name == "metadata" and _is_list(holder) and isinstance(value, dict):
            known = self._value({k: v for k, v in value.items() if k not in _OF_LIST})
            return known | self._marks(value)
        if name == "managedFields" and isinstance(value, list):
            value = sorted(value, key=_manager)  # theirs is of times, which lie in other seconds
        if name == "resourceVersion" and isinstance(value, str) and value.isdigit():
            return self._version(value)
        return self._value(value)

    def _marks(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        """Of a list: its version for `LIST_VERSION`, and whether there is more. While others write
        the two sides are asked at different versions."""
        marks = {}
        if "resourceVersion" in metadata:
            at = metadata["resourceVersion"] if self.is_shared else "ANY"
            marks["resourceVersion"] = f"list at {at}"
        if "continue" in metadata:
            marks["continue"] = "TOKEN" if metadata["continue"] else ""
        return marks

    def _version(self, version: str) -> str:
        if self.is_shared:
            return version
        return self._versions.setdefault(version, f"version {len(self._versions)}")

    def _text(self, text: str) -> str:
        if _AGE.fullmatch(text):
            return "AGE"
        if not self.is_shared:
            text = _CLUSTER_IP.sub("IP", text.replace(self.namespace, OWN))
        return _GENERATED.sub(r"\1x", _TIME.sub("TIME", _UID.sub("UID", text)))


def _is_list(value: Mapping[str, Any]) -> bool:
    return "items" in value or "rows" in value


_OF_LIST = ("resourceVersion", "continue")


def _manager(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(entry.get(name, "")) for name in ("manager", "operation", "subresource"))


def differences(api_server: Any, hub: Any, where: str = "") -> Iterator[Difference]:
    """Leaf by leaf; lists of unequal length are one difference, beside those of their items."""
    if isinstance(api_server, dict) and isinstance(hub, dict):
        for name in sorted(api_server.keys() | hub.keys()):
            yield from differences(
                api_server.get(name, _ABSENT), hub.get(name, _ABSENT), f"{where}.{name}"
            )
    elif isinstance(api_server, list) and isinstance(hub, list):
        if len(api_server) != len(hub):
            yield Difference(f"{where}.length", len(api_server), len(hub))
        for index, (one, other) in enumerate(zip(api_server, hub, strict=False)):
            yield from differences(one, other, f"{where}.{index}")
    elif api_server != hub or type(api_server) is not type(hub):
        yield Difference(where, api_server, hub)
