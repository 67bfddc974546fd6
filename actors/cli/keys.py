"""Nodes' public keys, as files in the state and enrolment directories say; makes none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.places import PUBLIC_SUFFIX, public_file_name, seed_file
from configs.schema import AnySiteFile, CloudSiteFile, PoolSiteFile


@dataclass(frozen=True)
class KeyRow:
    """One node's public key and whether the cloud site can know it."""

    pool: str
    node: str
    public: str  # "" while there is none
    note: str = ""

    @property
    def file_name(self) -> str:
        """What it is called in the cloud site's enrolment directory."""
        return public_file_name(self.pool, self.node)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "file": self.file_name}


def of_site(site: AnySiteFile) -> list[KeyRow]:
    """A pool's nodes in their order, or all nodes that a cloud site lets in."""
    rows = _of_pool(site) if isinstance(site, PoolSiteFile) else _of_cloud(site)
    return list(rows)


def _of_cloud(site: CloudSiteFile) -> Iterator[KeyRow]:
    for path in sorted(site.enrolment.glob(f"*.*{PUBLIC_SUFFIX}")):
        pool, _, node = path.name.removesuffix(PUBLIC_SUFFIX).partition(".")
        yield KeyRow(pool, node, path.read_text(encoding="utf-8").strip())


def _of_pool(site: PoolSiteFile) -> Iterator[KeyRow]:
    for node in site.nodes:
        seed = seed_file(site.state, node.name)
        public = node.public_key or _public(seed)
        yield KeyRow(site.name, node.name, public, _note(site, node.name, public))


def _note(site: PoolSiteFile, node: str, public: str) -> str:
    if not public:
        return "made by the first `atoll up`"
    if site.cloud.enrolment is None:
        return "to be copied to the cloud site's enrolment directory"
    enrolled = site.cloud.enrolment / public_file_name(site.name, node)
    known = enrolled.read_text(encoding="utf-8").strip() if enrolled.is_file() else ""
    return "enrolled" if known == public else "not enrolled"


def _public(seed: Path) -> str:
    if not seed.is_file():
        return ""
    from bus.keys import NodeKey

    return NodeKey.load_or_create(seed).public
