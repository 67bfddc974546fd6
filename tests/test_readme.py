"""What the README tells a stranger to write and to run is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import configs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SITE_FILES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", SITE_FILES, ids=["cloud", "pool"])
def test_site_files_are_valid(tmp_path: Path, text: str) -> None:
    for name in ("tls.crt", "tls.key", "pool.crt", "pool.key", "pool-ca.crt"):
        (tmp_path / name).touch()
    file = tmp_path / "site.yaml"
    file.write_text(text)
    configs.load(file)


def test_ci_runs_the_test_command() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && "
    tests = command + ".venv/bin/python -m tests"
    assert tests in README
    assert tests in (ROOT / ".ci" / "run").read_text()
    assert command + ".venv/bin/atoll demo" in README


@pytest.mark.parametrize("path", sorted(set(re.findall(r"configs/examples/[\w-]+\.yaml", README))))
def test_example_files_exist(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_folder_map_is_complete() -> None:
    mapped = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert mapped == folders
