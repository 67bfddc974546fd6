"""Bodies of real clients, and bodies that no client should send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kube import protobuf
from actors.kube.protobuf import NotKnown, Undecodable, decode
from actors.kube.protobuf.groups import KINDS, KINDS_OF_ANY_GROUP
from tests.actors.kube.protobuf.samples import SAMPLES, Sample, enveloped, sent, varint


def config_map(raw: bytes) -> dict[str, Any]:
    return decode(enveloped("v1", "ConfigMap", raw))


def lease_spec(raw: bytes) -> dict[str, Any]:
    spec: dict[str, Any] = decode(
        enveloped("coordination.k8s.io/v1", "Lease", sent(2, raw)),
    )["spec"]
    return spec


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.origin)
def test_real_bodies(sample: Sample) -> None:
    assert decode(sample.body) == sample.obj


def test_every_kind_has_a_sample() -> None:
    seen = {(sample.obj["apiVersion"], sample.obj["kind"]) for sample in SAMPLES}
    assert KINDS.keys() - seen == set()
    assert KINDS_OF_ANY_GROUP.keys() - {kind for _, kind in seen} == set()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.origin)
def test_cut_off_anywhere(sample: Sample) -> None:
    """Nothing, or all: what may be missing at the end are the envelope's empty fields."""
    whole = 0
    for end in range(len(sample.body)):
        try:
            assert decode(sample.body[:end]) == sample.obj
            whole += 1
        except Undecodable:
            pass
    assert whole <= 4


def harmless(body: bytes) -> None:
    try:
        obj = decode(body)
    except (Undecodable, NotKnown):
        return
    assert msgspec.json.decode(msgspec.json.encode(obj)) == obj


@given(st.binary())
def test_random_bytes(data: bytes) -> None:
    harmless(data)
    harmless(b"k8s\0" + data)


@given(st.sampled_from(sorted(KINDS)), st.binary())
def test_random_objects(kind: tuple[str, str], data: bytes) -> None:
    harmless(enveloped(*kind, data))


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_bodies(sample: Sample, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sample.body) - 1))
    length = data.draw(st.integers(0, 3))
    harmless(sample.body[:at] + data.draw(st.binary(max_size=3)) + sample.body[at + length :])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (enveloped("v1", "Widget", b""), "kind Widget of v1"),
        (enveloped("v2", "Pod", b""), "kind Pod of v2"),
        (enveloped("", "Pod", b""), "kind Pod of no version"),
        (enveloped("v1", "ConfigMap", sent(99, b"x")), "field 99 of core.ConfigMap"),
        (enveloped("v1", "Pod", sent(2, sent(500, 1))), "field 500 of core.PodSpec"),
        (enveloped("v1", "ConfigMap", sent(2, sent(3, b""))), "field 3 of an entry of data"),
        (enveloped("v1", "ConfigMap", b"", sent(3, b"gzip")), "content encoding 'gzip'"),
        (enveloped("v1", "ConfigMap", b"", sent(4, b"application/json")), "'application/json'"),
        (enveloped("v1", "ConfigMap", b"", sent(9, b"")), "field 9 of meta.Unknown"),
    ],
)
def test_not_known(body: bytes, told: str) -> None:
    with pytest.raises(NotKnown) as caught:
        decode(body)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "starts with"),
        (b"{}", "starts with"),
        (b"k8s\0", "'Kind' is missing"),
        (enveloped("v1", "ConfigMap", b"")[:-2], "the envelope is empty"),
        (b"k8s\0" + bytes(protobuf.MAX_SIZE), "bytes"),
        (enveloped("v1", "ConfigMap", sent(1, 7)), "field 1 of core.ConfigMap has the wrong wire"),
        (enveloped("v1", "ConfigMap", sent(2, sent(1, 7))), "field 2 of core.ConfigMap"),
        (enveloped("v1", "ConfigMap", sent(4, b"x")), "field 4 of core.ConfigMap has the wrong"),
        (enveloped("v1", "ConfigMap", b"\x00\x00"), "field number of 0"),
        (enveloped("v1", "ConfigMap", b"\x0b"), "wire type 3"),
        (enveloped("v1", "ConfigMap", b"\x20" + b"\x80" * 11), "number"),
        (enveloped("v1", "ConfigMap", b"\x20" + b"\xff" * 9 + b"\x7f"), "64 bits"),
    ],
)
def test_undecodable(body: bytes, told: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(body)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        enveloped("v1", "ConfigMap", sent(2, b"") * 20),
        enveloped("v1", "ConfigMap", sent(2, sent(1, b"") * 20)),
        enveloped("v1", "Pod", sent(2, sent(14, sent(4, b"\1" * 20)))),
    ],
)
def test_too_many_fields(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode(body)
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 20)
    with pytest.raises(Undecodable, match="too many fields"):
        decode(body)


def test_zeros_are_told_where_go_tells_them() -> None:
    assert config_map(sent(4, 0))["immutable"] is False  # a pointer
    metadata = config_map(sent(1, sent(1, b"") + sent(7, 0) + sent(10, 0)))["metadata"]
    assert metadata == {"deletionGracePeriodSeconds": 0}


def test_the_last_one_counts_and_messages_are_merged() -> None:
    twice = sent(1, sent(1, b"a") + sent(3, b"ns")) + sent(1, sent(1, b"b"))
    assert config_map(twice)["metadata"] == {"name": "b", "namespace": "ns"}
    assert config_map(sent(1, sent(1, b"a")) + sent(1, sent(1, b"")))["metadata"] == {}


def test_maps() -> None:
    entry = sent(1, b"key") + sent(2, b"value")
    assert config_map(sent(2, entry) + sent(2, b""))["data"] == {"key": "value", "": ""}
    assert config_map(sent(3, sent(1, b"k")))["binaryData"] == {"k": ""}
    node = decode(enveloped("v1", "Node", sent(3, sent(1, sent(1, b"cpu")))))
    assert node["status"]["capacity"] == {"cpu": "0"}


def test_broken_text_is_mended() -> None:
    """The kubelet cuts long messages of events in the middle of a character."""
    obj = decode(enveloped("v1", "Event", sent(4, "für".encode()[:2])))
    assert obj["message"] == "f\N{REPLACEMENT CHARACTER}"


def test_numbers() -> None:
    assert lease_spec(sent(2, -5)) == {"leaseDurationSeconds": -5}
    with pytest.raises(Undecodable, match="no 32-bit number"):
        lease_spec(sent(2, 1 << 31))


def test_lists_of_numbers_may_be_packed() -> None:
    groups = sent(4, 1) + sent(4, varint(2) + varint(300))
    pod = decode(enveloped("v1", "Pod", sent(2, sent(14, groups))))
    assert pod["spec"]["securityContext"] == {"supplementalGroups": [1, 2, 300]}


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (b"", None),
        (sent(1, 0) + sent(2, 0), "1970-01-01T00:00:00.000000Z"),
        (sent(1, -1) + sent(2, 999_999_999), "1969-12-31T23:59:59.999999Z"),
        (sent(1, 253_402_300_799), "9999-12-31T23:59:59.000000Z"),
    ],
)
def test_times(time: bytes, told: str | None) -> None:
    assert lease_spec(sent(4, time)).get("renewTime") == told


@pytest.mark.parametrize("seconds", [253_402_300_800, -62_135_596_801, (1 << 63) - 1, -(1 << 63)])
def test_times_beyond_the_calendar(seconds: int) -> None:
    with pytest.raises(Undecodable, match="years"):
        lease_spec(sent(4, sent(1, seconds)))


def test_ints_or_strings() -> None:
    def port(raw: bytes) -> Any:
        spec = sent(1, sent(4, raw))
        return decode(enveloped("v1", "Service", sent(2, spec)))["spec"]["ports"][0]["targetPort"]

    assert port(b"") == 0
    assert port(sent(1, 1) + sent(3, b"http")) == "http"
    with pytest.raises(NotKnown, match="IntOrString"):
        port(sent(1, 2))


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 100_000])
def test_managed_fields_that_are_no_json(raw: bytes) -> None:
    entry = sent(17, sent(7, sent(1, raw)))
    with pytest.raises(Undecodable, match="managed fields"):
        config_map(sent(1, entry))
    assert config_map(sent(1, sent(17, sent(7, b""))))["metadata"] == {"managedFields": [{}]}
