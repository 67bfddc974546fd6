"""What the tests put into the API server."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

GROUP = "interop.atoll.example"
COLLECTIONS = {  # kind: where its group is, its plural
    "Service": ("/api/v1", "services"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Widget": (f"/apis/{GROUP}/v1", "widgets"),
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
}
CARRIED = ("Service", "EndpointSlice", "ConfigMap", "Widget")  # kinds that every hub here has


def collection(kind: str, namespace: str = "") -> str:
    """The path of a kind's collection; of all namespaces without one."""
    prefix, plural = COLLECTIONS[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"


def service(name: str, type_: str = "ClusterIP", headless: bool = False, **labels: str) -> Json:
    spec: Json = {
        "type": type_,
        "selector": {"app": name},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
    }
    if headless:
        spec["clusterIP"] = "None"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name, **labels}},
        "spec": spec,
    }


def endpoint_slice(name: str, *addresses: str, **labels: str) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": name, **labels},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}}
            for address in addresses or ("10.1.2.3",)
        ],
    }


def config_map(name: str, data: dict[str, str] | None = None, **labels: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": data or {"key": "value"},
    }


def widget(name: str, size: int = 1, colour: str = "red", **labels: str) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": name, "labels": labels},
        "spec": {"size": size, "colour": colour},
    }


def sample(kind: str, name: str, **labels: str) -> Json:
    """One of a kind, with labels that tests select by."""
    makers = {
        "Service": service,
        "EndpointSlice": endpoint_slice,
        "ConfigMap": config_map,
        "Widget": widget,
    }
    made: Json = makers[kind](name, **labels)  # type: ignore[operator]
    return made


def namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


WIDGETS: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "shortNames": ["wd"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {
                        "name": "Colour",
                        "type": "string",
                        "jsonPath": ".spec.colour",
                        "priority": 1,
                    },
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "description": "How large it is."},
                                    "colour": {"type": "string"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}
