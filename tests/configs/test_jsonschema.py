"""The schema for editors agrees with the loader and says all that the models say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from configs.jsonschema import json_schema
from tests.configs.files import CLOUD, POOL
from tests.configs.test_filters import FULL

EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in schema["$defs"].items():
        for key, value in definition["properties"].items():
            yield f"{name}.{key}", value


@pytest.mark.parametrize(
    "text", [CLOUD, POOL, POOL + FULL, POOL + 'hub: {filters: {disabled: "*"}}\n']
)
def test_valid_files_pass(validator: jsonschema.Draft202012Validator, text: str) -> None:
    validator.validate(yaml.safe_load(text))


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_examples_pass(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        CLOUD + "zzz: 1\n",
        CLOUD + "feeds: {tick: 1}\n",
        CLOUD + "bus: {storage: 8MB}\n",
        CLOUD.replace("version: 1\n", ""),
        CLOUD.replace("kind: cloud", "kind: pool"),
        POOL.replace("node-1", "Node"),
        POOL + "hub: {filters: {disabled: [none]}}\n",
        POOL + FULL.replace("/spec/a", "spec"),
    ],
)
def test_what_the_loader_refuses_fails(
    validator: jsonschema.Draft202012Validator, text: str
) -> None:
    assert not validator.is_valid(yaml.safe_load(text))


def test_every_key_is_described() -> None:
    schema = json_schema()
    bare = [
        key
        for key, value in properties(schema)
        if not value.get("description") and "$ref" not in value
    ]
    assert bare == []
    assert all(definition.get("description") for definition in schema["$defs"].values())


def test_defaults_are_written_as_in_a_file_and_live_keys_are_marked() -> None:
    known = dict(properties(json_schema()))
    assert known["Leases.ttl"]["default"] == "2s"
    assert known["PoolBus.storage"]["default"] == "1GiB"
    assert known["CloudSiteFile.bus"]["default"] == {}
    assert known["Log.level"]["x-live"] is True
    assert "x-live" not in known["Log.json"]
