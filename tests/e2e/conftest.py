"""One lab for all tests of a module (`PLAN` there says what is special), healed between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.lab import Lab, Plan
from tests.support.trial import Trial

Note = Callable[..., None]
_FIGURES = pytest.StashKey[dict[str, str]]()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    directory: Path = tmp_path_factory.mktemp("lab")
    async with Lab(directory, getattr(request.module, "PLAN", Plan())) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def lab(module_lab: Lab) -> AsyncIterator[Lab]:
    """Whole at the start; whatever the test broke is healed afterwards."""
    yield module_lab
    await module_lab.recover()


@pytest_asyncio.fixture(loop_scope="module")
async def trial(lab: Lab) -> AsyncIterator[Trial]:
    async with Trial(lab) as trial:
        yield trial


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Figures of this test, shown at the end of the run: seconds unless the name says otherwise."""
    figures = request.config.stash.setdefault(_FIGURES, {})

    def tell(**values: object) -> None:
        shown = (f"{k}={v:.2f}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        figures[request.node.name] = " ".join([figures.get(request.node.name, ""), *shown]).strip()

    return tell


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, {})
    if figures:
        terminalreporter.section("figures of the end-to-end tests")
    for name, values in figures.items():
        terminalreporter.write_line(f"{name}: {values}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the processes said last."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("module_lab")
    if report.failed and isinstance(lab, Lab):
        report.sections.append(("what the lab's processes said", lab.tails()))
    return report
