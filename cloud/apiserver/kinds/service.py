"""Services: defaults and validation. Addresses are given out elsewhere (`addresses.py`). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from actors.kube.status_errors import Cause
from cloud.apiserver.addresses import Addresses, Exhausted
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.names import (
    dns_label,
    dns_label_1035,
    forbidden,
    invalid_value,
    not_supported,
    required,
)

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
EXPOSED = ("NodePort", "LoadBalancer")


def is_headless(spec: Object) -> bool:
    return bool(spec.get("clusterIP") == "None")


def default(service: Object, old: Object | None) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if "port" in port and port.get("targetPort", 0) in (0, ""):  # 0 is Go's "not set"
            port["targetPort"] = port["port"]
    was = (old or {}).get("spec", {})
    _drop_what_the_type_has_not(spec, was)
    if spec["type"] != "ExternalName":
        _default_networking(spec, was)
    service.setdefault("status", {"loadBalancer": {}})


_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
_EXPOSURE = ("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts")


def _drop_what_the_type_has_not(spec: Object, old: Object) -> None:
    """A change of the type takes along what only the old one had, unless the client sets it."""
    dropped: tuple[str, ...] = ()
    if spec["type"] == "ExternalName":
        dropped += _ADDRESSES
    if spec["type"] not in EXPOSED:
        dropped += _EXPOSURE
    for name in dropped:
        if name in old and spec.get(name) == old[name]:
            spec.pop(name, None)


def _default_networking(spec: Object, old: Object) -> None:
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in EXPOSED:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    _keep_addresses(spec, old)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    spec.setdefault("ipFamilies", [_family(spec.get("clusterIP", ""))])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _keep_addresses(spec: Object, old: Object) -> None:
    """An update that does not name what was given out keeps it."""
    if old.get("type", "ExternalName") == "ExternalName":
        return
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"):
        if name in old and not spec.get(name):
            spec[name] = old[name]
    if spec.get("clusterIP") != old.get("clusterIP") and (
        spec.get("clusterIPs") == old.get("clusterIPs")
    ):
        spec["clusterIPs"] = [spec["clusterIP"]]  # who changes one means both
    if spec["type"] in EXPOSED:
        given = {_number(port): port.get("nodePort") for port in old.get("ports", ())}
        for port in spec.get("ports", ()):
            node_port = given.get(_number(port))
            if node_port and not port.get("nodePort"):
                port["nodePort"] = node_port


def _number(port: Object) -> tuple[str, int]:
    return port.get("protocol", ""), port.get("port", 0)


def _family(ip: str) -> str:
    return "IPv6" if ":" in ip else "IPv4"


def validate(service: Object, old: Object | None) -> Iterator[Cause]:
    spec = service["spec"]
    if spec["type"] not in TYPES:
        yield not_supported("spec.type", spec["type"], TYPES)
    if spec["sessionAffinity"] not in ("ClientIP", "None"):
        yield not_supported("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
    yield from _port_faults(spec)
    yield from _address_faults(spec)
    if old is not None:
        yield from _change_faults(spec, old.get("spec", {}))


def _port_faults(spec: Object) -> Iterator[Cause]:
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and not is_headless(spec):
        yield required("spec.ports")
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from _one_port(port, path, needs_name=len(ports) > 1)
        if (name := port.get("name", "")) and name in names:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{path}.name")
        names.add(name)
        number = _number(port)
        if number in numbers:
            shown = f'{{"protocol":"{number[0]}","port":{number[1]}}}'
            yield Cause("FieldValueDuplicate", f"Duplicate value: {shown}", path)
        numbers.add(number)


def _one_port(port: Object, path: str, needs_name: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if not name and needs_name:
        yield required(f"{path}.name")
    if name and (fault := dns_label(name)):
        yield invalid_value(f"{path}.name", name, fault)
    yield from port_number(port.get("port", 0), f"{path}.port")
    target = port.get("targetPort")
    if isinstance(target, int):
        yield from port_number(target, f"{path}.targetPort")
    if port.get("protocol") not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", port.get("protocol"), PROTOCOLS)


def port_number(number: Any, path: str) -> Iterator[Cause]:
    if not 1 <= number <= 65535:
        yield invalid_value(path, number, "must be between 1 and 65535, inclusive")


def _address_faults(spec: Object) -> Iterator[Cause]:
    ip = spec.get("clusterIP", "")
    if spec["type"] == "ExternalName":
        if ip:
            yield forbidden("spec.clusterIPs[0]", "may not be set for ExternalName services")
        if not spec.get("externalName"):
            yield required("spec.externalName")
        return
    if is_headless(spec) and spec["type"] in EXPOSED:
        yield invalid_value(
            "spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services"
        )
    if ip and ip != "None" and not is_ip(ip):
        yield invalid_value("spec.clusterIPs[0]", ip, "must be a valid IP address")
    for index, given in enumerate(spec.get("clusterIPs", ())):
        if index == 0 and given != ip:
            yield invalid_value("spec.clusterIPs[0]", given, "first value must match `clusterIP`")


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _change_faults(spec: Object, old: Object) -> Iterator[Cause]:
    was, now = old.get("clusterIP", ""), spec.get("clusterIP", "")
    if was and now != was and "ExternalName" not in (spec["type"], old.get("type")):
        yield invalid_value("spec.clusterIPs[0]", f'[]string{{"{now}"}}', "may not change once set")


def allocate(service: Object, addresses: Addresses, key: str) -> Iterator[Cause]:
    """Gives the service what it lacks, in place; tells what it asks for and cannot have."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    try:
        if not spec.get("clusterIP"):
            spec["clusterIP"] = addresses.free_ip()
            spec["clusterIPs"] = [spec["clusterIP"]]
        elif not is_headless(spec):
            yield from _asked_ip(spec["clusterIP"], addresses, key)
        yield from _allocate_ports(spec, addresses, key)
    except Exhausted as error:
        yield Cause("InternalError", f"Internal error: failed to allocate: {error}", "spec")


def _asked_ip(ip: str, addresses: Addresses, key: str) -> Iterator[Cause]:
    owner = addresses.owner_of_ip(ip)
    why = ""
    if not addresses.contains(ip):
        why = (
            "failed to allocate IP "
            f"{ip}: the provided network does not match the current range {addresses.network}"
        )
    elif owner not in (None, key):
        why = f"failed to allocate IP {ip}: provided IP is already allocated"
    if why:
        shown = f'[]string{{"{ip}"}}'
        yield Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", "spec.clusterIPs")


def _allocate_ports(spec: Object, addresses: Addresses, key: str) -> Iterator[Cause]:
    if spec["type"] not in EXPOSED:
        for port in spec.get("ports", ()):
            port.pop("nodePort", None)
        return
    taken = {port["nodePort"] for port in spec.get("ports", ()) if port.get("nodePort")}
    for index, port in enumerate(spec.get("ports", ())):
        asked = port.get("nodePort")
        if not asked:
            port["nodePort"] = addresses.free_port(port["protocol"], taken)
            taken.add(port["nodePort"])
        elif addresses.owner_of_port(port["protocol"], asked) not in (None, key):
            path = f"spec.ports[{index}].nodePort"
            yield invalid_value(path, asked, "provided port is already allocated")


KIND = Kind(
    name_check=dns_label_1035,
    default=default,
    validate=validate,
    create_on_update=True,
    returns_deleted=True,
)
