"""ApiGate's manifests for one site: `manifests/` with the site's identities and feeds filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from actors.kube.builtin import BUILTIN
from actors.kube.client_errors import UnknownResource
from actors.kube.discovery import pick
from cloud.apigate.identity import NODES, groups_of, service_account

NAMESPACE, ACCOUNT = "atoll", "cloud"
_DIRECTORY = Path(__file__).with_name("manifests")
_VERSION = re.compile(r"v\d+((alpha|beta)\d+)?")


def render(
    identities: Iterable[str],
    resources: Iterable[str],
    namespace: str = NAMESPACE,
    account: str = ACCOUNT,
) -> str:
    """YAML for `kubectl apply -f -`. `identities` and `resources` are as in the site file."""
    identities = tuple(identities)
    reads = "".join(_reads(resources))
    names = {"namespace": namespace, "account": account}
    main = _template("rbac.yaml").substitute(
        names, groups=_flow(needed_groups(identities)), reads=reads, node_reads=reads or " []"
    )
    by_namespace: dict[str, list[str]] = {}
    for each in filter(None, map(service_account, identities)):
        by_namespace.setdefault(each[0], []).append(each[1])
    more = [
        _template("accounts.yaml").substitute(names, of=of, names=_flow(found))
        for of, found in by_namespace.items()
    ]
    return "".join([main, *more])


def needed_groups(identities: Iterable[str]) -> list[str]:
    """Those in which ApiGate acts: nodes', and those of its identities."""
    found = [NODES, *(group for user in identities for group in groups_of(user))]
    return list(dict.fromkeys([*found, "system:authenticated"]))


def group_and_plural(name: str) -> tuple[str, str]:
    """Of a resource as the site file names it; the group is "*" where only the server knows."""
    try:
        known = pick(name, BUILTIN)
        return known.group, known.plural
    except UnknownResource:
        plural, *rest = name.split(".")
    if rest and _VERSION.fullmatch(rest[0]):
        rest = rest[1:]
    return ".".join(rest) or "*", plural


def _template(name: str) -> Template:
    return Template((_DIRECTORY / name).read_text(encoding="utf-8"))


def _flow(names: Sequence[str]) -> str:
    return json.dumps(list(names))


def _reads(resources: Iterable[str]) -> list[str]:
    """A rule for each API group."""
    groups: dict[str, list[str]] = {}
    for name in resources:
        group, plural = group_and_plural(name)
        groups.setdefault(group, []).append(plural)
    return [
        f'\n  - {{apiGroups: ["{group}"], resources: {_flow(plurals)}, verbs: [get, list, watch]}}'
        for group, plurals in groups.items()
    ]
