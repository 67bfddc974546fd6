"""Bodies against the published schemas: the quick look and the close one agree."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.kube.builtin import BUILTIN
from actors.kube.schemas import published
from actors.kube.status_errors import ApiError
from cloud.apiserver.codec import BuiltIn
from cloud.apiserver.shapes import Shapes
from cloud.apiserver.typed import Walk, WrongType
from tests.cloud.apiserver.api import pod, service

SERVICE = "io.k8s.api.core.v1.Service"


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return Shapes(published())


def codec(shapes: Shapes, name: str = SERVICE) -> BuiltIn:
    return BuiltIn(published(), shapes, name)


@pytest.mark.parametrize("resource", BUILTIN, ids=lambda r: r.name)
def test_every_builtin_is_published(shapes: Shapes, resource: Any) -> None:
    name = published().name_of(resource.group, resource.version, resource.kind)
    assert name is not None
    decoded = codec(shapes, name).decode(
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"nome": "x"}}
    )
    assert decoded.unknown == ["metadata.nome"]


def test_good_objects_pass_quickly(shapes: Shapes) -> None:
    body = msgspec.json.encode(service(ports=[{"port": 80, "targetPort": "http"}]))
    assert shapes.fits(SERVICE, body)


@pytest.mark.parametrize(
    "change",
    [
        {"ports": [{"port": "80"}]},
        {"ports": [{"name": "no port"}]},
        {"selector": None},
        {"foo": 1},
        {"ports": {}},
    ],
)
def test_odd_ones_do_not(shapes: Shapes, change: dict[str, Any]) -> None:
    assert not shapes.fits(SERVICE, msgspec.json.encode(service(**change)))


def test_unknown_members_are_dropped_and_told(shapes: Shapes) -> None:
    obj = service(foo=1, ports=[{"port": 80, "bar": {"x": 1}}]) | {"baz": 1}
    decoded = codec(shapes).decode(obj)
    assert decoded.obj == service(ports=[{"port": 80}])
    assert sorted(decoded.unknown) == ["baz", "spec.foo", "spec.ports[0].bar"]


def test_nulls_are_absent(shapes: Shapes) -> None:
    decoded = codec(shapes).decode(service(clusterIP=None, selector=None))
    assert "clusterIP" not in decoded.obj["spec"]
    assert "selector" not in decoded.obj["spec"]
    assert not decoded.unknown


def test_required_members_are_missed(shapes: Shapes) -> None:
    decoded = codec(shapes).decode(service(ports=[{"name": "a"}]))
    assert [cause.field for cause in decoded.missing] == ["spec.ports[0].port"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"ports": [{"port": "80"}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80.5}]}, "spec.ports[0].port"),
        ({"ports": [{"port": True}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80, "targetPort": {}}]}, "spec.ports[0].targetPort"),
        ({"selector": {"a": 1}}, "spec.selector.a"),
        ({"selector": ["a"]}, "spec.selector"),
        ({"type": 1}, "spec.type"),
    ],
)
def test_wrong_types_are_bad_requests(shapes: Shapes, change: dict[str, Any], path: str) -> None:
    with pytest.raises(ApiError) as caught:
        codec(shapes).decode(service(**change))
    assert caught.value.code == 400
    assert f"into field {path} of" in caught.value.message


def test_quantities_and_free_members(shapes: Shapes) -> None:
    container = {"name": "c", "image": "i", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}
    name = "io.k8s.api.core.v1.Pod"
    assert shapes.fits(name, msgspec.json.encode(pod(containers=[container])))
    assert not codec(shapes, name).decode(pod(containers=[container], x=1)).missing


def test_schemas_that_contain_themselves(shapes: Shapes) -> None:
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    deep = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": deep}}
    names = {"plural": "a", "kind": "A"}
    spec = {"group": "g", "scope": "Cluster", "names": names, "versions": [version]}
    decoded = codec(shapes, name).decode({"kind": "X", "apiVersion": "v1", "spec": spec | {"y": 1}})
    assert decoded.obj["spec"] == spec
    assert decoded.unknown == ["spec.y"]


def test_unpublished_kinds_are_free(shapes: Shapes) -> None:
    obj = {"kind": "X", "anything": [1]}
    assert BuiltIn(published(), shapes, None).decode(obj).obj is obj


def test_unknown_members_are_bounded() -> None:
    walk = Walk()
    walk.clean({"type": "object", "properties": {}}, {str(n): 1 for n in range(500)})
    assert len(walk.unknown) == 100


def test_text_of_wrong_types() -> None:
    with pytest.raises(WrongType, match="cannot unmarshal string into field a of type integer"):
        Walk().clean({"properties": {"a": {"type": "integer"}}}, {"a": "x"})
