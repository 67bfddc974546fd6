"""Writes that are wrong in their form, and some that only look so."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from tests.interop.differential.steps import OWN, Step

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
BASE = f"/api/v1/namespaces/{OWN}/configmaps"


def malformed(agent: str) -> Iterator[Step]:
    session = f"write malformed as {agent.partition('/')[0]}"
    for method, path, body, kind in _cases():
        headers = {"Content-Type": kind or "application/json"} if body or kind else {}
        raw = base64.b64encode(body.encode()).decode()
        yield Step(session, path, method, agent, headers=headers, raw=raw)


def _named(kind: str, name: str, **rest: object) -> str:
    meta = {"name": name, "labels": {"app": "w"}}
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": meta, **rest})


def _cases() -> Iterator[tuple[str, str, str, str]]:
    """(method, path, body, content type), each on what those before it left."""
    one, it = f"{BASE}/it", _named("ConfigMap", "it", data={"a": "1"})
    yield "POST", f"{BASE}?fieldManager=test&fieldValidation=Strict", it, ""
    for body in (_named("Secret", "x"), "{", "", "[]", "null", "a: b", "kind: ConfigMap"):
        yield "POST", BASE, body, ""
        yield "PUT", one, body, ""
    yield "POST", BASE, "a: b", "text/plain"
    yield "POST", BASE, "metadata: {name: y}", "application/yaml"
    yield "POST", f"{BASE}?fieldValidation=Strict", _named("ConfigMap", "z", nonsense=1), ""
    yield "POST", one, it, ""
    yield "PUT", BASE, it, ""
    yield "PATCH", BASE, "{}", PATCHES["merge"]
    yield "PUT", one, _named("ConfigMap", "another"), ""
    yield from _patches(one)
    yield "POST", f"/api/v1/namespaces/{OWN}/nonsense", "{}", ""
    yield "POST", "/api/v1/namespaces/none/configmaps", it, ""
    yield "DELETE", one, "{", ""
    yield "DELETE", f"{one}?propagationPolicy=Nonsense", "", ""
    yield "DELETE", f"{BASE}?labelSelector=app%3Dw", "", ""


def _patches(one: str) -> Iterator[tuple[str, str, str, str]]:
    cases = {
        "json": (
            '[{"op":"add","path":"/data/b","value":"2"}]',
            '[{"op":"remove","path":"/data/none"}]',
            '[{"op":"nonsense","path":"/data/a"}]',
            '{"data":{}}',
            "[",
        ),
        "merge": ('{"data":{"c":"3","b":null}}', '{"metadata":{"name":"other"}}', "[]", "{"),
        "strategic": ('{"metadata":{"labels":{"x":"y"}}}', '{"$patch":"nonsense"}', "{"),
        "apply": (_named("ConfigMap", "it", data={"z": "1"}), _named("ConfigMap", "x"), "nonsense"),
    }
    for kind, bodies in cases.items():
        for body in bodies:
            yield "PATCH", f"{one}?fieldManager=m" if kind == "apply" else one, body, PATCHES[kind]
    yield "PATCH", one, "{}", "application/nonsense"
    yield "PATCH", one, "{}", PATCHES["apply"]
    yield "PATCH", one, "", PATCHES["merge"]
