"""What the demo's cluster holds and how it changes: services, endpoint slices, rollouts. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass
class Workload:
    """`services` services with one endpoint slice of `endpoints` endpoints each.

    Churn is what deployments cause: a pod turns unready, then is replaced by one with a new address
    on some node. Deterministic by `seed`.
    """

    services: int
    endpoints: int
    nodes: tuple[str, ...]
    seed: int = 7
    _random: random.Random = field(init=False)
    _slices: list[Object] = field(init=False)
    _pods: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._slices = [self._slice(number) for number in range(self.services)]

    def service_objects(self) -> list[Object]:
        return [self._service(number) for number in range(self.services)]

    def slice_objects(self) -> list[Object]:
        return self._slices

    def churn(self) -> Iterator[Object]:
        """Endless: slices as they shall be next (no resourceVersion: last write wins)."""
        while True:
            number = self._random.randrange(self.services)
            changed = self._slices[number]
            endpoint = self._random.randrange(self.endpoints)
            yield self._with(changed, endpoint, ready=False)
            yield self._with(changed, endpoint, ready=True)

    def _with(self, held: Object, position: int, *, ready: bool) -> Object:
        endpoints = held["endpoints"]
        if ready:  # the replacement: a new pod with a new address
            endpoints[position] = self._endpoint(held["metadata"]["labels"]["app"])
        endpoints[position]["conditions"] = {
            "ready": ready,
            "serving": ready,
            "terminating": not ready,
        }
        return held

    def _service(self, number: int) -> Object:
        name = f"app-{number:04}"
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {
                "selector": {"app": name},
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        }

    def _slice(self, number: int) -> Object:
        name = f"app-{number:04}"
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-x7k2p",
                "namespace": "default",
                "labels": {
                    "app": name,
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [self._endpoint(name) for _ in range(self.endpoints)],
        }

    def _endpoint(self, app: str) -> Object:
        self._pods += 1
        unique = f"{self._random.getrandbits(25):05x}"
        return {
            "addresses": [
                f"10.{self._pods >> 16 & 255}.{self._pods >> 8 & 255}.{self._pods & 255}"
            ],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": self._random.choice(self.nodes),
            "targetRef": {
                "kind": "Pod",
                "namespace": "default",
                "name": f"{app}-5d4f8c7b9-{unique}",
                "uid": f"{self._random.getrandbits(128):032x}",
            },
            "zone": "zone-a",
        }
