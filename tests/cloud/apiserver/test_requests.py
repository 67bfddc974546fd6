"""Options and bodies of writes."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import MultiDict

from actors.kube.builtin import SERVICES
from actors.kube.status_errors import ApiError
from cloud.apiserver import requests
from cloud.apiserver.requests import FieldValidation
from tests.actors.kube.protobuf.samples import enveloped, sent

PROTOBUF = "application/vnd.kubernetes.protobuf"


def refused(code: int, call: Any, *args: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args)
    assert caught.value.code == code
    return caught.value


def test_options() -> None:
    options = requests.write_options(MultiDict(dryRun="All", fieldValidation="Strict"))
    assert options == requests.WriteOptions(True, FieldValidation.STRICT)
    assert requests.write_options(MultiDict()) == requests.WriteOptions()
    options = requests.write_options(MultiDict(fieldManager="me", force="true"))
    assert (options.manager, options.force) == ("me", True)
    refused(422, requests.write_options, MultiDict(dryRun="Some"))
    refused(422, requests.write_options, MultiDict(fieldValidation="Rough"))
    refused(422, requests.write_options, MultiDict(fieldManager="a\nb"))


def test_managers() -> None:
    none, named = requests.WriteOptions(), requests.WriteOptions(manager="me")
    assert requests.manager_name(named, "kubectl/v1.32.4 (linux)") == "me"
    assert requests.manager_name(none, "kubectl/v1.32.4 (linux)") == "kubectl"
    assert requests.manager_name(none, "") == "unknown"
    assert requests.manager_name(none, "x" * 200) == "x" * 128


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"kind":"Service","metadata":{"name":"a"}}', "application/json"),
        (b'{"metadata":{"name":"a"}}', ""),
        (b"kind: Service\nmetadata:\n  name: a\n", "application/yaml"),
    ],
)
def test_objects(body: bytes, content_type: str) -> None:
    obj = requests.decode_object(body, content_type, SERVICES)
    assert obj == {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "application/json", 400),
        (b'{"kind":', "application/json", 400),
        (b'{"a":"\xff"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b'{"kind":"Pod"}', "application/json", 400),
        (b'{"apiVersion":"v2"}', "application/json", 400),
        (b'{"metadata":"text"}', "application/json", 400),
        (b"a: b: c", "application/yaml", 400),
        (b"a: &x [1]\nb: *x", "application/yaml", 400),
        (b"{}", "text/html", 415),
        (b"k8s\0", PROTOBUF, 400),
        (b"{}", PROTOBUF, 400),
        (enveloped("v1", "Widget", b""), PROTOBUF, 415),
        (enveloped("v1", "ConfigMap", b""), PROTOBUF, 400),
    ],
)
def test_bad_objects(body: bytes, content_type: str, code: int) -> None:
    refused(code, requests.decode_object, body, content_type, SERVICES)


def test_protobuf() -> None:
    metadata, spec = sent(1, sent(1, b"a")), sent(2, sent(3, b"None"))
    body = enveloped("v1", "Service", metadata + spec)
    assert requests.decode_object(body, PROTOBUF, SERVICES) == {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "a"},
        "spec": {"clusterIP": "None"},
    }


def test_protobuf_that_is_not_known_is_named() -> None:
    body = enveloped("v1", "Service", sent(99, b""))
    error = refused(415, requests.decode_object, body, PROTOBUF, SERVICES)
    assert "field 99 of core.Service" in error.message
    assert "application/json" in error.message
    refused(415, requests.decode_patch, body, PROTOBUF)


def test_patches() -> None:
    assert requests.decode_patch(b"[]", "application/json-patch+json") == []
    error = refused(415, requests.decode_patch, b"{}", "application/apply-patch+cbor")
    assert "application/merge-patch+json" in error.message
    strategic = "application/strategic-merge-patch+json"
    refused(415, requests.decode_patch, b"{}", strategic, requests.patch_types(True))
    refused(400, requests.decode_patch, b"{", "application/merge-patch+json")


def test_delete_options() -> None:
    body = b'{"propagationPolicy":"Foreground","gracePeriodSeconds":0}'
    options = requests.delete_options(body, "application/json", MultiDict())
    assert requests.propagation(options) == "Foreground"
    body = enveloped("v1", "DeleteOptions", sent(1, 0) + sent(4, b"Foreground"))
    assert requests.delete_options(body, PROTOBUF, MultiDict())["gracePeriodSeconds"] == 0
    query = MultiDict(gracePeriodSeconds="5", propagationPolicy="Orphan")
    options = requests.delete_options(b"", "", query)
    assert options["gracePeriodSeconds"] == 5
    assert requests.propagation(options) == "Orphan"
    assert requests.propagation({}) == "Background"
    assert requests.propagation({"orphanDependents": True}) == "Orphan"


@pytest.mark.parametrize(
    ("body", "query", "code"),
    [
        (b"[]", {}, 400),
        (b'{"kind":"Pod"}', {}, 400),
        (b'{"propagationPolicy":"Sideways"}', {}, 422),
        (b'{"gracePeriodSeconds":-1}', {}, 422),
        (b'{"dryRun":["Some"]}', {}, 422),
        (b"", {"gracePeriodSeconds": "soon"}, 400),
    ],
)
def test_bad_delete_options(body: bytes, query: dict[str, str], code: int) -> None:
    refused(code, requests.delete_options, body, "application/json", MultiDict(query))
