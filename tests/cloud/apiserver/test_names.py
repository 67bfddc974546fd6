"""Names, labels and annotations."""

from __future__ import annotations

import pytest

from cloud.apiserver import names


@pytest.mark.parametrize("name", ["a", "a-b", "a.b-c.d1", "1", "a" * 253])
def test_good_subdomains(name: str) -> None:
    assert names.dns_subdomain(name) == ""


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a.", ".a", "a..b", "a" * 254, "ä", "a\n"])
def test_bad_subdomains(name: str) -> None:
    assert names.dns_subdomain(name)


@pytest.mark.parametrize(("name", "good"), [("a1", True), ("1a", True), ("a.b", False)])
def test_labels(name: str, good: bool) -> None:
    assert (names.dns_label(name) == "") is good


@pytest.mark.parametrize(("name", "good"), [("a1", True), ("1a", False), ("a" * 64, False)])
def test_labels_of_services(name: str, good: bool) -> None:
    assert (names.dns_label_1035(name) == "") is good


@pytest.mark.parametrize(
    "key", ["a", "A_b.c-d", "example.com/Name", "kubernetes.io/metadata.name", "a" * 63]
)
def test_good_keys(key: str) -> None:
    assert names.qualified(key) == ""


@pytest.mark.parametrize("key", ["", "/a", "a/", "-a", "a b", "UP.com/a", "a" * 64, "a/b/c"])
def test_bad_keys(key: str) -> None:
    assert names.qualified(key)


def test_path_segments() -> None:
    assert names.path_segment("a:b_c") == ""
    assert all(names.path_segment(bad) for bad in (".", "..", "a/b", "a%b"))


def test_metadata_faults_name_their_fields() -> None:
    metadata = {
        "name": "Bad",
        "labels": {"-": "x", "ok": "no spaces"},
        "annotations": {"a b": "x", "fine/Any": "anything at all"},
        "finalizers": ["no/way/this"],
    }
    fields = [c.field for c in names.metadata_faults(metadata, names.dns_subdomain)]
    assert fields == [
        "metadata.name",
        "metadata.labels",
        "metadata.labels",
        "metadata.annotations",
        "metadata.finalizers",
    ]


def test_annotations_are_bounded() -> None:
    metadata = {"name": "a", "annotations": {"a": "x" * names.MAX_ANNOTATIONS}}
    (fault,) = names.metadata_faults(metadata, names.dns_subdomain)
    assert fault.reason == "FieldValueTooLong"


def test_generated_names() -> None:
    made = {names.generate("web-") for _ in range(50)}
    assert len(made) > 45
    assert all(name.startswith("web-") and len(name) == 9 for name in made)
    assert len(names.generate("x" * 200)) == 63
