"""Label selectors as a site file has them: whether kubectl would take this one.

What they select is up to `actors.kube.selectors`, which takes the same ones (a test compares them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TERM = re.compile(  # of tokens, each followed by a space; a word is one that is no symbol
    r"(?:! (?P<absent>[^\s=!<>(),]+)"
    r"|(?P<key>[^\s=!<>(),]+)"
    r"(?: (?:(?:=|==|!=)(?: (?P<value>[^\s=!<>(),]+))?"
    r"|(?:>|<) (?P<number>[^\s=!<>(),]+)"
    r"|(?:in|notin) \( (?P<set>(?:[^\s=!<>(),]+ )?(?:, (?:[^\s=!<>(),]+ )?)*)\)))?)"
)


def check_selector(text: str) -> str:
    """The same text, for a schema: "app=web,tier in (a,b),!canary". ValueError says where not."""
    for term in _terms(text):
        match = _TERM.fullmatch(term)
        if not match:
            raise ValueError(f'must be a label selector, as "app=web,tier in (a,b)"; not "{term}"')
        _check_key(match["absent"] or match["key"])
        if match["number"] and not re.fullmatch(r"-?\d+", match["number"]):
            raise ValueError(f'must compare with a whole number; not "{match["number"]}"')
        for value in (match["value"] or "", *(match["set"] or "").replace(" ", "").split(",")):
            if value and (len(value) > 63 or not _NAME.fullmatch(value)):
                raise ValueError(f'"{value}" can be no label\'s value')
    return text


def _terms(text: str) -> Iterator[str]:
    """Split at the commas outside of brackets; tokens are one space apart."""
    tokens, depth = [""], 0
    for token in _TOKEN.findall(text):
        if token == "," and not depth:
            tokens.append("")
            continue
        depth += (token == "(") - (token == ")")
        tokens[-1] += f"{token} "
    if tokens != [""]:
        yield from (term.strip() for term in tokens)


def _check_key(key: str) -> None:
    domain, slash, name = key.rpartition("/")
    if len(name) > 63 or not _NAME.fullmatch(name):
        raise ValueError(f'"{key}" can be no label\'s name')
    if slash and (len(domain) > 253 or not _DOMAIN.fullmatch(domain)):
        raise ValueError(f'"{key}" can be no label\'s name')
