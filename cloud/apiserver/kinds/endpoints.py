"""Endpoints and EndpointSlices: defaults and validation. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from actors.kube.status_errors import Cause
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.kinds.service import is_ip
from cloud.apiserver.names import dns_subdomain, immutable, invalid_value, not_supported, required

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
_IP_TYPES: dict[str, type] = {"IPv4": ipaddress.IPv4Address, "IPv6": ipaddress.IPv6Address}


def default_slice(slice_: Object, old: Object | None) -> None:
    # Upstream answers null for a slice without endpoints; an empty list is as good for Go and does
    # not break the Python client.
    if slice_.get("endpoints") is None:
        slice_["endpoints"] = []
    for port in slice_.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def validate_slice(slice_: Object, old: Object | None) -> Iterator[Cause]:
    kind = slice_.get("addressType", "")
    if not kind:
        yield required("addressType")
    elif kind not in ADDRESS_TYPES:
        yield not_supported("addressType", kind, ADDRESS_TYPES)
    elif old is not None and old.get("addressType") != kind:
        yield immutable("addressType", kind)
    endpoints = slice_["endpoints"]
    if len(endpoints) > MAX_ENDPOINTS:
        text = f"Too many: {len(endpoints)}: must have at most {MAX_ENDPOINTS} items"
        yield Cause("FieldValueTooMany", text, "endpoints")
    wanted = _IP_TYPES.get(kind)
    for index, endpoint in enumerate(endpoints):
        yield from _endpoint_faults(endpoint, f"endpoints[{index}].addresses", kind, wanted)


def _endpoint_faults(
    endpoint: Object, path: str, kind: str, wanted: type | None
) -> Iterator[Cause]:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        yield required(path, "must contain at least 1 address")
    if len(addresses) > MAX_ADDRESSES:
        text = f"Too many: {len(addresses)}: must have at most {MAX_ADDRESSES} items"
        yield Cause("FieldValueTooMany", text, path)
    for index, address in enumerate(addresses):
        if wanted is not None and not _is(address, wanted):
            yield invalid_value(f"{path}[{index}]", address, f"must be an {kind} address")
        elif kind == "FQDN" and (fault := dns_subdomain(address)):
            yield invalid_value(f"{path}[{index}]", address, fault)


def _is(address: str, wanted: type) -> bool:
    try:
        wanted(address)
    except ValueError:
        return False
    return True


def default_endpoints(endpoints: Object, old: Object | None) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def validate_endpoints(endpoints: Object, old: Object | None) -> Iterator[Cause]:
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not (subset.get("addresses") or subset.get("notReadyAddresses")):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for group in ("addresses", "notReadyAddresses"):
            for at, address in enumerate(subset.get(group) or ()):
                ip = address.get("ip", "")
                if not is_ip(ip):
                    why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    yield invalid_value(f"{path}.{group}[{at}].ip", ip, why)


SLICE = Kind(default=default_slice, validate=validate_slice, generation=True)
ENDPOINTS = Kind(default=default_endpoints, validate=validate_endpoints, create_on_update=True)
