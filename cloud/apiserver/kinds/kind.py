"""How one kind differs from the others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from actors.kube.status_errors import Cause
from cloud.apiserver.names import NameCheck, dns_subdomain

Object = dict[str, Any]
Default = Callable[[Object, Object | None], None]
"""Fills in what clients rely on, in place; the second is the object as it was (None: a create)."""

Validate = Callable[[Object, Object | None], Iterator[Cause]]
"""What is wrong with an object, as it is after defaulting."""


def no_defaults(obj: Object, old: Object | None) -> None:
    return


def no_faults(obj: Object, old: Object | None) -> Iterator[Cause]:
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Kind:
    name_check: NameCheck = dns_subdomain
    default: Default = no_defaults
    validate: Validate = no_faults
    generation: bool = False  # counts changes of the desired state
    free_status: bool = False  # a create may bring a status (nodes)
    unconditional: bool = True  # an update needs no resourceVersion
    create_on_update: bool = False  # a PUT may create
    returns_deleted: bool = False  # a delete is answered with the object, not with a Status
