"""Surgery on raw objects."""

from __future__ import annotations

from actors.kube.meta import metadata_only, with_resource_version

RAW = b'{"kind":"X","metadata":{"name":"a","resourceVersion":"1","z":[1.50]},"spec":{"big":1e400}}'


def test_only_the_version_changes() -> None:
    assert with_resource_version(RAW, 22) == RAW.replace(b'"1"', b'"22"')


def test_a_missing_version_is_added() -> None:
    assert with_resource_version(b"{}", 5) == b'{"metadata":{"resourceVersion":"5"}}'


def test_metadata_only() -> None:
    assert metadata_only(RAW) == (
        b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",'
        b'"metadata":{"name":"a","resourceVersion":"1","z":[1.50]}}'
    )
