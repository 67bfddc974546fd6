"""Our packages have common names: what gets imported must be this repository's."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from actors.specs import Site

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("actors", "bus", "cloud", "configs", "edge", "tests")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_this_repository_s(package: str) -> None:
    assert importlib.import_module(package).__file__ == str(ROOT / package / "__init__.py")


def test_a_process_elsewhere_gets_them_too(tmp_path: Path) -> None:
    """As Ray's workers do: from what is installed, whatever folder they start in."""
    names = [name for name in PACKAGES if name != "tests"]
    script = f"import {', '.join(names)}\nfor each in ({', '.join(names)}): print(each.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(ROOT / name / "__init__.py") for name in names]


def test_the_command_is_what_pyproject_says() -> None:
    [command] = entry_points(group="console_scripts", name="atoll")
    assert command.value == PROJECT["project"]["scripts"]["atoll"]
    assert callable(command.load())


def test_the_kinds_of_sites_load() -> None:
    declared = PROJECT["project"]["entry-points"]["atoll.sites"]
    sites = {each.name: each for each in entry_points(group="atoll.sites")}
    assert {name: each.value for name, each in sites.items()} == declared
    for each in sites.values():
        site: type[Site] = each.load()
        assert callable(site.hosts)
        assert callable(site.servers)


def test_tests_stay_out_of_the_wheel_and_examples_go_into_it() -> None:
    """By what pyproject tells setuptools: to build a wheel takes seconds and a package index."""
    told = PROJECT["tool"]["setuptools"]
    patterns = told["packages"]["find"]["include"]
    folders = [init.parent.name for init in ROOT.glob("*/__init__.py")]
    taken = {name for name in folders if any(fnmatch(name, pattern) for pattern in patterns)}
    assert taken == {*PACKAGES} - {"tests"}
    data = {
        file.relative_to(ROOT)
        for package, globs in told["package-data"].items()
        for glob in globs
        for file in (ROOT / package).glob(glob)
    }
    others = {
        file.relative_to(ROOT)
        for package in taken
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and file.name != "py.typed"
    }
    assert data == others
    assert all((ROOT / package / "py.typed").is_file() for package in taken)
