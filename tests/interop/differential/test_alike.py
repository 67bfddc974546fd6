"""The API server and a hub over it answer alike; what differs is in `edge.hub.DIFFERENCES`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.hub import DIFFERENCES
from tests.interop.conftest import make_target
from tests.interop.differential.allowed import RULES, row_of
from tests.interop.differential.compare import View, differences
from tests.interop.differential.play import Answer
from tests.interop.differential.sides import Found, Sides
from tests.interop.differential.state import prepare
from tests.interop.differential.steps import RECORDED, VARIANTS, Step, load, text_of
from tests.interop.differential.variants import variants
from tests.interop.target import Target

AT_LEAST = 500
SHOWN = 40


@pytest.fixture
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return make_target(request, "hub", tmp_path)


async def test_the_api_server_and_the_hub_answer_alike(hub: Target) -> None:
    steps = load(RECORDED) + load(VARIANTS)
    assert len(steps) >= AT_LEAST
    async with hub.writes.open() as api, hub.reads.open() as at_hub:
        await prepare(api, at_hub)
    found = await Sides(hub.writes, hub.reads).play(steps)
    seen, unexplained = _sorted(found)
    told = "\n".join(str(each) for each in unexplained[:SHOWN])
    assert not unexplained, f"{len(unexplained)} differences are in no row of the table:\n{told}"
    stale = {row.name for row in DIFFERENCES} - seen.keys()
    assert not stale, "the hub no longer differs so"


def _sorted(found: Sequence[Found]) -> tuple[Counter[str], list[Found]]:
    of_step: dict[int, list[Found]] = defaultdict(list)
    for each in found:
        of_step[id(each.step)].append(each)
    rows = [(row_of(each, of_step[id(each.step)]), each) for each in found]
    return Counter(name for name, _ in rows if name), [each for name, each in rows if not name]


def test_each_row_has_a_rule() -> None:
    assert [row.name for row in DIFFERENCES] == list(RULES)
    assert all(row.what and row.why for row in DIFFERENCES)


def test_the_variants_are_those_of_the_script() -> None:
    assert VARIANTS.read_bytes() == text_of(variants())


def test_the_mix_is_of_everything() -> None:
    """So that it does not wither: who asks, how, and what clients were really seen to send."""
    steps = load(RECORDED) + load(VARIANTS)
    methods = Counter(step.method for step in steps)
    assert set(methods) >= {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
    assert sum(step.is_watch for step in steps) >= 100
    agents = {step.agent.partition("/")[0] for step in steps}
    assert agents >= {"", "kubelet", "kube-proxy", "kubectl", "kopf", "OpenAPI-Generator"}
    sessions = {step.session for step in load(RECORDED)}
    assert sessions >= {f"write: {name}" for name in ("kopf", "kr8s", "client-node", "kubernetes")}


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (Answer(200, {}, {"a": 1}), Answer(201, {}, {"a": 1})),
        (Answer(200, {"Vary": "Accept"}, {}), Answer(200, {}, {})),
        (Answer(200, {}, {"a": 1}), Answer(200, {}, {"a": "1"})),
        (Answer(200, {}, {"a": [1, 2]}), Answer(200, {}, {"a": [1]})),
        (Answer(200, {}, {"a": None}), Answer(200, {}, {})),
        (Answer(200, {}, "text"), Answer(200, {}, "other")),
        (Answer(200, {}, events=[{"type": "ADDED"}]), Answer(200, {}, events=[])),
    ],
)
def test_a_difference_is_seen(mine: Answer, other: Answer) -> None:
    views = [View("differ-00-api", False), View("differ-00-hub", False)]
    shown = [view.of(answer) for view, answer in zip(views, (mine, other), strict=True)]
    [found] = differences(shown[0], shown[1])
    step = Step("write", "/x?resourceVersion={v}")
    assert row_of(Found(step, found), [Found(step, found)]) == ""
    assert list(differences(shown[0], shown[0])) == []


def test_versions_are_compared_by_what_they_relate() -> None:
    """A write that changes nothing keeps its version, at both or at none."""

    def answers(*versions: int) -> list[Answer]:
        return [Answer(200, {}, {"metadata": {"resourceVersion": str(n)}}) for n in versions]

    def shown(*versions: int) -> list[object]:
        view = View("differ-00-api", False)
        return [view.of(answer) for answer in answers(*versions)]

    assert shown(5, 7, 7) == shown(30, 31, 31)
    assert shown(5, 7, 7) != shown(30, 31, 32)
