"""kube-proxy uses its service account, so that it comes to the hub. OpenYurt's form since v1.2.

In the ConfigMap that kubelet mounts for kubeadm's kube-proxy the `kubeconfig:` is commented out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from edge.filters.steps import Depends, Object, part

_CONFIG = "config.conf"
_LINE = re.compile(r"^(\s*)kubeconfig:", re.MULTILINE)


@dataclass(frozen=True)
class InClusterConfig:
    name: ClassVar[str] = "inclusterconfig"
    depends: ClassVar[Depends] = Depends.NOTHING

    def wants(self, key: str, raw: bytes) -> bool:
        return key == "kube-system/kube-proxy"

    def show(self, key: str, item: Object) -> Object | None:
        data = part(item, "data")
        text, count = _LINE.subn(r"\1#kubeconfig:", data.get(_CONFIG) or "")
        return {**item, "data": {**data, _CONFIG: text}} if count else item
