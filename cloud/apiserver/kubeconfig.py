"""A kubeconfig file for people and tools on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


def render(url: str, token: str = "", ca: Path | None = None) -> bytes:
    """JSON, which is YAML, too."""
    cluster: dict[str, Any] = {"server": url}
    if url.startswith("http:"):
        # There is none to verify; @kubernetes/client-node refuses plain HTTP unless told so.
        cluster["insecure-skip-tls-verify"] = True
    if ca is not None:
        cluster["certificate-authority"] = str(ca.absolute())
    user = {"token": token} if token else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "atoll", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "atoll", "context": {"cluster": "atoll", "user": "admin"}}],
        "current-context": "atoll",
    }
    return msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n"


def write(path: Path, url: str, token: str = "", ca: Path | None = None) -> None:
    """Replaces the file whole; only its owner may read it (it holds a token)."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(render(url, token, ca))
    new.replace(path)
