"""The generated JSON Schema says what the decoder says; a small validator of the keywords that it uses."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_provision.inventory.model import Declarations, Kernel, Network, PluginSource, Runtime, Verify
from cni_provision.inventory.schema import fields_of, json_schema

CASES = Path(__file__).parent.parent / "cases" / "inventory"
SCHEMA = json_schema()
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
CONDITIONS = ("not", "if", "then", "else")
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "patternProperties", "required",
    "additionalProperties", "propertyNames", "items", "enum", "pattern", "minimum", "maximum", "anyOf", *CONDITIONS,
}  # fmt: skip


def is_type(value: object, name: str) -> bool:
    if name in ("integer", "number"):
        return not isinstance(value, bool) and isinstance(value, int if name == "integer" else (int, float))
    return isinstance(value, TYPES[name])


def valid(value: Any, schema: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return valid(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    kinds = schema.get("type", [])
    checks = [
        any(is_type(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)) or not kinds,
        "not" not in schema or not valid(value, schema["not"]),
        "if" not in schema or valid(value, schema["then" if valid(value, schema["if"]) else "else"]),
        "enum" not in schema or value in schema["enum"],
        "anyOf" not in schema or any(valid(value, option) for option in schema["anyOf"]),
        not isinstance(value, str) or re.search(schema.get("pattern", ""), value) is not None,
        not is_type(value, "number") or schema.get("minimum", value) <= value <= schema.get("maximum", value),
        not isinstance(value, list) or all(valid(item, schema.get("items", True)) for item in value),
        not isinstance(value, dict) or valid_object(value, schema),
    ]
    return all(checks)


def valid_object(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    def of_key(key: str) -> list[Any]:
        patterns = [item for pattern, item in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        named = [schema["properties"][key]] if key in schema.get("properties", {}) else []
        return [*named, *patterns] or [schema.get("additionalProperties", True)]

    return (
        all(key in value for key in schema.get("required", []))
        and all(valid(key, schema.get("propertyNames", True)) for key in value)
        and all(valid(item, part) for key, item in value.items() for part in of_key(key))
    )


def keywords(schema: Any) -> set[str]:
    """Every keyword anywhere in the schema."""
    if not isinstance(schema, dict):
        return set()
    maps = [schema[name] for name in ("properties", "patternProperties", "$defs") if name in schema]
    below = [item for part in maps for item in part.values()] + list(schema.get("anyOf", []))
    below += [
        schema[name] for name in ("items", "additionalProperties", "propertyNames", *CONDITIONS) if name in schema
    ]
    return set(schema).union(*map(keywords, below))


def variables(text: str) -> bool:
    return valid(yaml.safe_load(text), SCHEMA)


def test_only_keywords_that_are_checked_here() -> None:
    assert keywords(SCHEMA) <= KNOWN
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("case", ["addresses", "connection", "declarations", "filters", "lazy"])
def test_good_inventories_are_valid(case: str) -> None:
    folder = CASES / "good" / case
    assert valid(yaml.safe_load((folder / "hosts.yaml").read_text()), SCHEMA)
    assert all(valid(yaml.safe_load(file.read_text()), SCHEMA) for file in folder.glob("group_vars/*"))


@pytest.mark.parametrize("case", ["bad-names", "plugin-sources", "unknown-keys", "wrong-types", "inventory-shape"])
def test_broken_inventories_are_not(case: str) -> None:
    assert not valid(yaml.safe_load((CASES / "broken" / case / "hosts.yaml").read_text()), SCHEMA)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("cni_networks: [{name: a, template: bridge}]", True),
        ("cni_networks: [{name: a, order: '{{ x }}'}]", True),
        ("cni_networks: '{{ x }}'", True),
        ("cni_networks: [{name: a, order: ten}]", False),
        ("cni_networks: [{template: bridge}]", False),
        ("cni_networks__web: [{name: a, state: absent}]", True),
        ("cni_networks__web: [{name: a, stat: absent}]", False),
        ("cni_kernel: {sysctl: {a.b: 1}}", True),
        ("cni_kernel: {sysctl: {a.b: true}}", False),
        ("cni_plugins: [{name: a, source: release, checksums: {amd65: x}}]", False),
        ("cni_owner: a b", False),
        ("anything_else: [1, {}]", True),
    ],
)
def test_variables(text: str, right: bool) -> None:
    assert variables(text) is right


@pytest.mark.parametrize("record", [Declarations, Network, PluginSource, Runtime, Kernel, Verify])
def test_every_field_is_documented(record: type) -> None:
    declared = [item.name for item in dataclasses.fields(record) if not item.metadata.get("internal")]
    assert list(fields_of(record)) == declared
    assert all(item.shape.about for item in fields_of(record).values())
