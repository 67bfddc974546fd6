"""Who asks, and whether what he reads is kept for when nobody can be asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from actors.kube.resource import Resource

ALL = "*"
Components = Mapping[str, Sequence[str]]
"""Component -> resources; see `configs.schema.HubCache.components`."""


def component_of(user_agent: str) -> str:
    """ "kubelet/v1.32.0 (linux/amd64) kubernetes/70d3cc9" is "kubelet"; "" is nobody known."""
    first = user_agent.split(maxsplit=1)[:1]
    name = first[0].partition("/")[0].lower() if first else ""
    return name if name.isascii() and name.isprintable() else ""


def is_kept(component: str, resource: Resource, components: Components) -> bool:
    """What is named counts before `*`, and an exclusion before what is included."""
    if not component or f"-{component}" in components:
        return False
    resources = components.get(component, components.get(ALL, ()))
    names = _names(resource)
    if any(f"-{name}" in resources for name in names):
        return False
    return ALL in resources or any(name in resources for name in names)


def _names(resource: Resource) -> Collection[str]:
    """As one may write it in a site file."""
    if not resource.group:
        return (resource.plural, resource.name)
    return (resource.plural, f"{resource.plural}.{resource.group}", resource.name)
