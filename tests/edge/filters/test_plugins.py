"""Python filters: found by entry point, isolated from what they do wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from configs import ConfigError, load
from edge.filters import Chain, Depends
from tests.configs.files import POOL, write
from tests.edge.filters.samples import (
    PODS,
    SERVICES,
    chain,
    decode,
    encode,
    filters,
    inputs,
    service,
)

MODULE = """
from edge.filters import Depends

def _mark(item):
    item["spec"]["marked"] = True
    return item

def _hide(item):
    return None if item["metadata"]["name"] == "web" else item

def _raise(item):
    item["spec"].clear()
    raise RuntimeError("oops")

def _rename(item):
    item["metadata"]["name"] = "other"
    return item

def mark(context):
    return _mark if context.resource.plural == "services" else None

def hide(context):
    return _hide

def fails(context):
    return _raise

def renames(context):
    return _rename

def forgets(context):
    return lambda item: "text"

def closes(context):
    def show(item):
        item["spec"]["for"] = context.component, context.node, context.inputs.pool_of(context.node)
        return item
    show.depends = Depends.NODES
    return show

def breaks(context):
    raise RuntimeError("no filter today")
"""
OFFERED = ("mark", "hide", "fails", "renames", "forgets", "closes", "breaks")
RAW = encode(service(type="NodePort"))


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers filters, and one entry that leads nowhere."""
    (tmp_path / "atoll_test_filters.py").write_text(MODULE)
    info = tmp_path / "atoll_test_filters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: atoll-test-filters\nVersion: 1.0\n"
    )
    lines = [f"{name} = atoll_test_filters:{name}" for name in OFFERED]
    lines += ["gone = atoll_test_filters:gone", "lost = atoll_no_such_module:x"]
    (info / "entry_points.txt").write_text("\n".join(["[atoll.filters]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("atoll_test_filters", None)


def made(*names: str, component: str = "kubectl") -> Chain:
    return chain(component, SERVICES, python=list(names))


def test_they_mark_and_hide() -> None:
    assert decode(made("mark")("shop/web", RAW))["spec"] == {"type": "NodePort", "marked": True}
    assert made("mark", "hide")("shop/web", RAW) is None
    other = encode(service("db"))
    assert made("hide")("shop/db", other) is other


def test_a_factory_may_have_nothing_to_do() -> None:
    assert filters(python=["mark"]).chain_for("kubectl", PODS, "list") is None


def test_they_come_last() -> None:
    rule = {"name": "r", "action": "patch", "patch": [{"op": "add", "path": "/spec/a", "value": 1}]}
    both = chain("kube-proxy", SERVICES, python=["mark"], rules=[rule])
    names = [step.name for step in both.steps]
    assert names == ["discardcloudservice", "nodeportisolation", "rules", "python mark"]
    assert decode(both("shop/web", RAW))["spec"] == {"type": "NodePort", "a": 1, "marked": True}


@pytest.mark.parametrize("name", ["fails", "renames", "forgets"])
def test_one_that_fails_leaves_the_object_whole(name: str) -> None:
    both = made(name, "mark")
    assert decode(both("shop/web", RAW))["spec"] == {"type": "NodePort", "marked": True}
    assert both.troubles.counts == {f"python {name}": 1}


def test_a_factory_that_fails_is_asked_once() -> None:
    found = filters(python=["breaks"])
    assert found.chain_for("kubectl", SERVICES, "list") is None
    assert found.chain_for("kubectl", SERVICES, "list") is None
    assert found.troubles.counts == {"python breaks": 1}


def test_each_component_has_its_own_and_the_same_callable_is_shared() -> None:
    found = filters(python=["closes"])
    one, two, again = (found.chain_for(name, SERVICES, "list") for name in ("a", "b", "a"))
    assert one is not None
    assert one == again != two
    assert one.depends == Depends.NODES
    assert decode(one("shop/web", RAW))["spec"]["for"] == ["a", "n1", "a"]
    shared = filters(inputs(), python=["hide"])
    assert shared.chain_for("a", SERVICES, "list") == shared.chain_for("b", SERVICES, "watch")


def test_what_cannot_be_loaded_is_said_and_left_out() -> None:
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), format="{message}", level="ERROR")
    try:
        found = filters(python=["gone", "lost", "absent", "mark"])
    finally:
        logger.remove(handler)
    assert [step.name for step in _steps(found.chain_for("kubectl", SERVICES, "list"))] == [
        "python mark"
    ]
    assert ['"gone"' in lines[0], '"lost"' in lines[1], '"absent"' in lines[2]] == [True] * 3
    assert "no package offers it" in lines[2]


def _steps(found: Chain | None) -> Any:
    assert found is not None
    return found.steps


def test_a_site_file_names_what_is_installed(tmp_path: Path) -> None:
    load(write(tmp_path, POOL + "hub: {filters: {python: [mark, hide]}}\n"))
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, POOL + "hub: {filters: {python: [mark, absent]}}\n"))
    assert 'hub.filters.python[1]: no package offers "absent" as entry point' in str(caught.value)
    assert "installed: breaks, closes" in str(caught.value)
