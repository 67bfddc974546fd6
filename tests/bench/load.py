"""OpenYurt's published load: 1,000 services of 50 endpoints each, and how it changes."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.demo.workload import Workload

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
PATHS = (SERVICES, SLICES)
STORAGES = {"Service": "services", "EndpointSlice": "endpointslices.discovery.k8s.io"}


def workload(services: int, endpoints: int, nodes: int = 100) -> Workload:
    return Workload(services, endpoints, tuple(f"node-{number:03}" for number in range(nodes)))


def slice_of_size(number: int, size: int) -> dict[str, Any]:
    """An EndpointSlice of at least `size` bytes of JSON: as many endpoints as that takes."""
    made = Workload(1, max(1, -(-(size - 350) // 250)), ("node-1",), seed=number).slice_objects()[0]
    made["metadata"]["name"] = f"app-{number:04}"
    made["metadata"]["resourceVersion"] = str(number + 1)
    return made


def json_size(obj: dict[str, Any]) -> int:
    return len(msgspec.json.encode(obj))
