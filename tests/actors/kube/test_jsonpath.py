"""The JSONPath that CRDs use in printer columns."""

from __future__ import annotations

import pytest

from actors.kube.jsonpath import PathError, compile_path

OBJECT = {
    "metadata": {"labels": {"a.b/c": "dotted"}},
    "spec": {"replicas": 3, "on": True, "items": [{"n": 1}, {"n": 2}]},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Synced", "status": "False", "ok": True},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("spec.replicas", [3]),
        (".spec.items[0].n", [1]),
        (".spec.items[-1].n", [2]),
        (".spec.items[*].n", [1, 2]),
        (".spec.items[7].n", []),
        (".metadata.labels['a.b/c']", ["dotted"]),
        (r".metadata.labels.a\.b/c", ["dotted"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Synced')].status", ["False"]),
        (".status.conditions[?(@.type!='Ready')].type", ["Synced"]),
        (".status.conditions[?(@.ok==true)].type", ["Synced"]),
        (".status.conditions[?(@.ok)].type", ["Synced"]),
        (".nothing.here", []),
        (".spec.replicas.deeper", []),
    ],
)
def test_values(path: str, expected: list[object]) -> None:
    assert compile_path(path)(OBJECT) == expected


@pytest.mark.parametrize("path", ["..a", ".a[1:2]", ".a[", ".a[?(@.b>1)]"])
def test_refused(path: str) -> None:
    with pytest.raises(PathError):
        compile_path(path)
