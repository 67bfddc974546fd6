"""Where nodes' keys lie: seeds in the nodes' own state, public keys in an enrolment directory."""

from __future__ import annotations

from pathlib import Path

PUBLIC_SUFFIX = ".pub"


def node_state(site_state: Path, node: str) -> Path:
    """A node's own part of its site's state directory."""
    return site_state / "nodes" / node


def seed_file(site_state: Path, node: str) -> Path:
    return node_state(site_state, node) / "node.seed"


def public_file_name(pool: str, node: str) -> str:
    """What a node's public key is called in the cloud site's enrolment directory."""
    return f"{pool}.{node}{PUBLIC_SUFFIX}"
