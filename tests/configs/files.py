"""Site files for tests, short and valid; a test spoils what it is about."""

from __future__ import annotations

from pathlib import Path

CLOUD = """\
version: 1
kind: cloud
name: cloud
state: var
enrolment: keys
api:
  embedded: {}
"""

POOL = """\
version: 1
kind: pool
name: pool-a
state: var
cloud:
  url: nats://127.0.0.1:14222
nodes:
  - name: node-1
  - name: node-2
    listen: 127.0.0.1:10361
"""


def write(directory: Path, text: str, name: str = "site.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path
