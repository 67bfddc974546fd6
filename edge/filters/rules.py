"""The site file's own rules: keep, drop or patch what matches and fulfils a condition.

In their order; `keep` leaves an object out of the rules that follow. A rule that fails for an
object (a condition that asks for what the object lacks, a patch that does not fit) is as if it were
not there, for that object; it is counted, and logged once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from actors.kube.patch import json_patch
from actors.kube.resource import Resource
from actors.kube.selectors import LabelSelector, parse_labels
from actors.kube.status_errors import ApiError
from configs.conditions import Condition, ConditionError
from configs.schema import FilterRule, RuleMatch
from edge.filters.inputs import Inputs
from edge.filters.steps import Depends, Object, Troubles, labels_of, require_same
from edge.filters.table import names_of


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of the site file, compiled. Equal by what the file says."""

    settings: FilterRule
    condition: Condition | None
    labels: LabelSelector
    patch: Sequence[Mapping[str, Any]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash((self.settings.name, self.settings.when))

    @property
    def label(self) -> str:
        """For messages and figures."""
        return f"rule {self.settings.name}"

    def concerns(self, component: str, resource: Resource, verb: str) -> bool:
        match = self.settings.match
        return (
            _is_named(component, match)
            and _is_among(resource, match)
            and (not match.verbs or verb in match.verbs)
        )

    def mentions(self, variable: str) -> bool:
        """Possibly: the word may be within a string."""
        return re.search(rf"\b{variable}\b", self.settings.when) is not None

    def matches(self, key: str, item: Object) -> bool:
        held = labels_of(item) if self.labels else {}
        return self.is_within(key) and all(term.matches(held) for term in self.labels)

    def is_within(self, key: str) -> bool:
        namespaces = self.settings.match.namespaces
        return not namespaces or key.rpartition("/")[0] in namespaces


def compile_rule(settings: FilterRule) -> Rule:
    """Raises ConditionError or SelectorError, which a loaded site file does not."""
    condition = Condition(settings.when) if settings.when else None
    patch = [each.model_dump(by_alias=True, exclude_unset=True) for each in settings.patch]
    return Rule(settings, condition, parse_labels(settings.match.labels), patch)


@dataclass(frozen=True)
class Rules:
    """All rules that concern a chain, as one filter of it."""

    rules: tuple[Rule, ...]
    component: str  # "" where no condition asks for it, so that chains of several are equal
    inputs: Inputs
    troubles: Troubles = field(compare=False)
    name: ClassVar[str] = "rules"

    @property
    def depends(self) -> Depends:
        asks = any(rule.mentions("pool") for rule in self.rules)
        return Depends.SELF if asks else Depends.NOTHING

    def wants(self, key: str, raw: bytes) -> bool:
        return any(rule.is_within(key) for rule in self.rules)

    def show(self, key: str, item: Object) -> Object | None:
        for rule in self.rules:
            try:
                if not (rule.matches(key, item) and self._holds(rule, item)):
                    continue
                if rule.settings.action == "keep":
                    return item
                if rule.settings.action == "drop":
                    return None
                item = _patched(rule, item)
            except (ConditionError, ApiError, ValueError, TypeError, AttributeError) as error:
                self.troubles.note(rule.label, key, error)
        return item

    def _holds(self, rule: Rule, item: Object) -> bool:
        if rule.condition is None:
            return True
        node = self.inputs.node
        variables = {"node": node, "pool": self.inputs.pool_of(node), "component": self.component}
        return rule.condition.holds({**variables, "object": item})


def rules_for(
    rules: Sequence[Rule],
    component: str,
    resource: Resource,
    verb: str,
    inputs: Inputs,
    troubles: Troubles,
) -> Rules | None:
    concerned = tuple(rule for rule in rules if rule.concerns(component, resource, verb))
    if not concerned:
        return None
    asks = any(rule.mentions("component") for rule in concerned)
    return Rules(concerned, component if asks else "", inputs, troubles)


def _patched(rule: Rule, item: Object) -> Object:
    patched = json_patch(item, list(rule.patch))
    require_same(item, patched)
    return item if patched == item else patched


def _is_named(component: str, match: RuleMatch) -> bool:
    named = match.components
    return not named or component in named or (component != "" and "*" in named)


def _is_among(resource: Resource, match: RuleMatch) -> bool:
    named = match.resources
    return not named or "*" in named or any(name in named for name in names_of(resource))
