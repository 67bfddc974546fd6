"""`hub.filters`: what a site file may say, and what is wrong with what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import ConfigError, PoolSiteFile, load
from configs.conditions import Condition, ConditionError
from tests.configs.files import POOL, write

FULL = """\
hub:
  filters:
    disabled: [masterservice]
    components: {servicetopology: [traefik, -coredns]}
    rules:
      - name: no-canaries
        match:
          components: [kube-proxy]
          resources: [endpointslices.discovery.k8s.io]
          verbs: [list, watch]
          namespaces: [shop]
          labels: app in (web,api),!internal
        when: has(object.metadata.annotations) && pool != ''
        action: drop
      - name: note
        action: patch
        patch:
          - {op: add, path: /metadata/labels/a~1b, value: null}
          - {op: move, from: /spec/a, path: /spec/b}
          - {op: test, path: /metadata/name, value: x}
"""


def reasons(directory: Path, filters: str) -> str:
    try:
        load(write(directory, f"{POOL}hub: {{filters: {filters}}}\n"))
    except ConfigError as error:
        return str(error)
    return ""


def rule(text: str) -> str:
    return f"{{rules: [{{name: r, {text}}}]}}"


def test_all_that_can_be_said(tmp_path: Path) -> None:
    site = load(write(tmp_path, POOL + FULL))
    assert isinstance(site, PoolSiteFile)
    filters = site.hub.filters
    assert filters.components == {"servicetopology": ("traefik", "-coredns")}
    assert filters.rules[0].match.namespaces == ("shop",)
    assert filters.rules[1].patch[1].source == "/spec/a"
    patch = [each.model_dump(by_alias=True, exclude_unset=True) for each in filters.rules[1].patch]
    assert patch[0] == {"op": "add", "path": "/metadata/labels/a~1b", "value": None}
    assert patch[1] == {"op": "move", "from": "/spec/a", "path": "/spec/b"}


def test_all_may_be_off(tmp_path: Path) -> None:
    site = load(write(tmp_path, POOL + 'hub: {filters: {disabled: "*"}}\n'))
    assert isinstance(site, PoolSiteFile)
    assert site.hub.filters.disabled == ("*",)
    assert reasons(tmp_path, "{disabled: masterservice}") != ""


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("{disabled: [masterservce]}", "disabled[0]: must be one of *, masterservice,"),
        ("{components: {masterservce: [a]}}", "hub.filters.components.masterservce"),
        ("{rulez: []}", 'did you mean "rules"?'),
        (rule("action: hide"), "hub.filters.rules[0].action: must be one of keep, drop, patch"),
        (
            rule("action: drop, match: {label: x}"),
            'match.label: unknown key; did you mean "labels"?',
        ),
        (rule("action: drop, match: {verbs: [create]}"), "rules[0].match.verbs[0]: must be one of"),
        (rule("action: drop, match: {labels: 'a in b'}"), "rules[0].match.labels: must be a label"),
        (rule("action: drop, match: {labels: 'a=-b'}"), 'labels: "-b" can be no label\'s value'),
        (
            rule("action: drop, when: 'object.'"),
            "rules[0].when: is no CEL: line 1, column 8: Syntax",
        ),
        (
            rule("action: drop, when: obj.x == 1"),
            "rules[0].when: is no CEL: line 1, column 4: undecl",
        ),
        (rule("action: drop, when: size(node)"), "rules[0].when: must be true or false; not int"),
        (rule("action: patch"), "hub.filters.rules[0].action: patch needs the key patch"),
        (rule("action: drop, patch: [{op: remove, path: /a}]"), "rules[0].patch: is of use only"),
        (rule("action: patch, patch: [{op: set, path: /a}]"), "patch[0].op: must be one of add,"),
        (
            rule("action: patch, patch: [{op: add, path: a}]"),
            "patch[0].path: must be a JSON pointer",
        ),
        (rule("action: patch, patch: [{op: add, path: /a}]"), "patch[0]: add needs value"),
        (rule("action: patch, patch: [{op: move, path: /a}]"), "patch[0]: move needs from"),
        (
            rule("action: patch, patch: [{op: remove, path: /metadata/name}]"),
            "patch[0].path: /metad",
        ),
        (
            rule("action: patch, patch: [{op: remove, path: /metadata}]"),
            "what makes it this object",
        ),
        (rule("action: patch, patch: [{op: move, from: /kind, path: /x}]"), "/kind holds what"),
        ("{rules: [{name: r, action: drop}, {name: r, action: keep}]}", "r is already rules[0]"),
        ("{python: [absent]}", 'python[0]: no package offers "absent" as entry point of'),
    ],
)
def test_what_is_wrong_is_said_with_its_key(tmp_path: Path, filters: str, expected: str) -> None:
    assert expected in reasons(tmp_path, filters)


def test_labels_and_annotations_may_be_patched(tmp_path: Path) -> None:
    for path in ("/metadata/labels/x", "/metadata/namespaces", "/spec", "/kinds"):
        text = rule(f"action: patch, patch: [{{op: remove, path: {path}}}]")
        assert reasons(tmp_path, text) == ""


def test_a_condition_holds_or_cannot_be_told() -> None:
    condition = Condition("object.a == 1 || object.b[0] == node")
    others = {"node": "n", "pool": "", "component": ""}
    assert condition.holds({"object": {"a": 1}, **others})
    assert condition.holds({"object": {"a": 2, "b": ["n"]}, **others})
    assert not condition.holds({"object": {"a": 2, "b": [1]}, **others})
    for item in ({}, {"a": 2, "b": []}, {"a": 2, "b": 5}, {"a": 2**80}):
        with pytest.raises(ConditionError):
            condition.holds({"object": item, **others})
