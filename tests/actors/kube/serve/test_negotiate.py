"""Accept headers of real clients."""

from __future__ import annotations

import pytest

from actors.kube.serve.negotiate import View, Wanted, discovery_version, negotiate
from actors.kube.status_errors import ApiError

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,"
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", Wanted()),
        ("*/*", Wanted()),
        ("application/json", Wanted()),
        ("application/json;stream=watch", Wanted()),
        ("application/vnd.kubernetes.protobuf, */*", Wanted()),
        ("application/vnd.kubernetes.protobuf,application/json", Wanted()),
        ("application/yaml", Wanted(yaml=True)),
        ("application/json;q=0.5, application/yaml", Wanted(yaml=True)),
        ("application/json;q=0, application/yaml;q=0.1", Wanted(yaml=True)),
        (TABLE, Wanted(View.TABLE)),
        (
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
            Wanted(View.TABLE, version="v1beta1"),
        ),
        ("application/json;as=Nonsense;v=v1;g=meta.k8s.io, application/json", Wanted()),
        (PARTIAL.format(""), Wanted(View.PARTIAL)),
        (PARTIAL.format("List"), Wanted()),
    ],
)
def test_wanted(header: str, wanted: Wanted) -> None:
    assert negotiate(header) == wanted


def test_partial_lists() -> None:
    assert negotiate(PARTIAL.format("List"), is_list=True) == Wanted(View.PARTIAL)


@pytest.mark.parametrize(
    "header",
    [
        "application/vnd.kubernetes.protobuf",
        "text/html",
        "application/json;as=Nonsense;v=v1;g=meta.k8s.io",
        "application/json;q=0",
    ],
)
def test_not_acceptable(header: str) -> None:
    with pytest.raises(ApiError) as raised:
        negotiate(header)
    assert raised.value.code == 406
    assert raised.value.message.startswith("only the following media types are accepted: ")


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/json", ""),
        (AGGREGATED, "v2"),
        (AGGREGATED.partition(",")[2], "v2beta1"),
        ("application/json," + AGGREGATED, ""),
    ],
)
def test_discovery(header: str, version: str) -> None:
    assert discovery_version(header) == version
