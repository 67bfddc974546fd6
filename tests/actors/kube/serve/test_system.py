"""Discovery, OpenAPI and version."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from actors.kube.builtin import BUILTIN, find
from actors.kube.resource import Resource
from actors.kube.serve.api import Hooks
from actors.kube.serve.discovery import grouped, version_order
from actors.kube.watchcache import WatchCache
from tests.actors.kube.objects import WIDGETS
from tests.actors.kube.serve.serving import Api, serving

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


async def test_legacy_discovery(api: Api) -> None:
    assert (await api.get("/api")).json["versions"] == ["v1"]
    groups = (await api.get("/apis")).json["groups"]
    widgets = next(g for g in groups if g["name"] == "example.com")
    assert widgets["preferredVersion"] == {"groupVersion": "example.com/v1", "version": "v1"}
    assert (await api.get("/apis/example.com")).json["kind"] == "APIGroup"
    listed = (await api.get("/apis/example.com/v1")).json
    assert listed["groupVersion"] == "example.com/v1"
    assert [r["name"] for r in listed["resources"]] == ["widgets", "widgets/status"]
    assert listed["resources"][0]["shortNames"] == ["wd"]
    assert listed["resources"][0]["verbs"] == ["get", "list", "watch"]
    assert "services" in {r["name"] for r in (await api.get("/api/v1")).json["resources"]}


async def test_aggregated_discovery(api: Api) -> None:
    answer = await api.get("/apis?timeout=32s", Accept=AGGREGATED)
    assert answer.headers["Content-Type"] == (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    )
    document = answer.json
    assert (document["kind"], document["apiVersion"]) == (
        "APIGroupDiscoveryList",
        "apidiscovery.k8s.io/v2",
    )
    group = next(i for i in document["items"] if i["metadata"]["name"] == "example.com")
    (version,) = group["versions"]
    assert (version["version"], version["freshness"]) == ("v1", "Current")
    (resource,) = version["resources"]
    assert resource["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}
    assert (resource["scope"], resource["singularResource"]) == ("Namespaced", "widget")
    assert resource["subresources"][0]["subresource"] == "status"
    core = (await api.get("/api", Accept=AGGREGATED)).json
    assert [i["metadata"]["name"] for i in core["items"]] == [""]


async def test_v2beta1(api: Api) -> None:
    answer = await api.get("/apis", Accept=AGGREGATED.split(",")[1])
    assert answer.json["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


async def test_etag_until_a_resource_comes(api: Api) -> None:
    first = await api.get("/apis", Accept=AGGREGATED)
    etag = first.headers["ETag"]
    again = await api.get("/apis", Accept=AGGREGATED, If_None_Match=etag)
    assert (again.status, again.body) == (304, b"")
    more = msgspec.structs.replace(WIDGETS, plural="gadgets", kind="Gadget")
    api.backend.add(WatchCache(more))
    assert (await api.get("/apis", Accept=AGGREGATED, If_None_Match=etag)).status == 200


async def test_a_writer_shows_in_the_verbs() -> None:
    class Nobody:
        async def write(self, *_: object) -> object:
            raise NotImplementedError

    async with serving(Hooks(writer=Nobody())) as api:  # type: ignore[arg-type]
        verbs = (await api.get("/api/v1")).json["resources"][0]["verbs"]
        assert {"create", "delete", "patch"} <= set(verbs)


async def test_resources_come_and_go(api: Api) -> None:
    api.backend.remove(WIDGETS)
    assert (await api.get("/apis/example.com/v1/widgets")).status == 404
    assert (await api.get("/apis/example.com")).status == 404


@pytest.mark.parametrize(
    ("given", "ordered"),
    [(["v1beta1", "v1", "v2", "v1alpha1", "x"], ["v2", "v1", "v1beta1", "v1alpha1", "x"])],
)
def test_version_order(given: list[str], ordered: list[str]) -> None:
    assert sorted(given, key=version_order) == ordered


def test_core_is_there_even_when_empty() -> None:
    assert grouped(()) == {"": {"v1": []}}


async def test_version(api: Api) -> None:
    version = (await api.get("/version")).json
    assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "36", "v1.36.0")


# -- OpenAPI --------------------------------------------------------------------------------------


async def test_minimal_v3(api: Api) -> None:
    index = (await api.get("/openapi/v3")).json["paths"]
    url = index["apis/example.com/v1"]["serverRelativeURL"]
    answer = await api.get(url)
    assert answer.headers["Cache-Control"] == "public, immutable"
    (schema,) = answer.json["components"]["schemas"].values()
    kind = {"group": "example.com", "kind": "Widget", "version": "v1"}
    assert schema["x-kubernetes-group-version-kind"] == [kind]
    (operations,) = answer.json["paths"].values()
    assert "fieldValidation" in {p["name"] for p in operations["patch"]["parameters"]}


async def test_v3_with_an_outdated_hash(api: Api) -> None:
    async with api.session.get(
        f"{api.url}/openapi/v3/api/v1?hash=OLD", allow_redirects=False
    ) as answer:
        assert answer.status == 301
        assert "hash=" in answer.headers["Location"]
    assert (await api.get("/openapi/v3/api/v1?hash=OLD")).json["openapi"] == "3.0.0"
    assert (await api.get("/openapi/v3/apis/none/v1")).status == 404


async def test_v2(api: Api) -> None:
    assert (await api.get("/openapi/v2")).json["swagger"] == "2.0"
    protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    old_kubectl = await api.get("/openapi/v2", Accept=protobuf)
    assert (old_kubectl.status, old_kubectl.body) == (200, b"")
    assert (await api.get("/openapi/v2", Accept="application/xml")).status == 406


class Documents:
    """A provider."""

    def __init__(self) -> None:
        self.v3 = b'{"openapi":"3.0.0","large":"%s"}' % (b"x" * 200_000)

    def openapi_v2(self) -> bytes:
        return b'{"swagger":"2.0","mine":true}'

    def openapi_v3(self) -> Mapping[str, bytes]:
        return {"api/v1": self.v3}


async def test_provider() -> None:
    async with serving(Hooks(openapi=Documents())) as api:
        assert (await api.get("/openapi/v2")).json["mine"]
        index = (await api.get("/openapi/v3")).json["paths"]
        assert list(index) == ["api/v1"]
        url = index["api/v1"]["serverRelativeURL"]
        answer = await api.get(url, Accept_Encoding="gzip")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.body) < 10_000
        assert (await api.get(url, If_None_Match=answer.headers["ETag"])).status == 304


def test_every_builtin_is_well_formed() -> None:

    names = [resource.name for resource in BUILTIN]
    assert len(set(names)) == len(names)
    assert all(find(name) is not None for name in names)
    assert isinstance(BUILTIN[0], Resource)
