"""The fields of the declared dataclasses (`model`), read twice: to decode values and to write a JSON Schema.

A field's annotation gives its type, its documentation (the text in `Annotated`) and its kinds; its default says
whether it is required. There is no other list of them.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from cni_provision.inventory.complaints import Complaints, did_you_mean
from cni_provision.inventory.kinds import Keys, Kind, OneOf, Schema
from cni_provision.inventory.located import BROKEN, Located, type_name
from cni_provision.inventory.model import Declarations, Network, PluginSource, ScalarText

BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Shape:
    """A type taken apart: `base` is a class, `item` the shape of a list's items or a mapping's values."""

    base: Any
    item: Shape | None = None
    about: str = ""
    kinds: tuple[Kind, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class FieldShape:
    """One field of a declared dataclass."""

    name: str
    shape: Shape
    required: bool


@cache
def fields_of(record: type) -> dict[str, FieldShape]:
    """What may be declared of a dataclass, by name."""
    hints = get_type_hints(record, include_extras=True)
    declared = [item for item in dataclasses.fields(record) if not item.metadata.get("internal")]
    missing = dataclasses.MISSING
    return {
        item.name: FieldShape(
            item.name, shape_of(hints[item.name]), item.default is missing and item.default_factory is missing
        )
        for item in declared
    }


def shape_of(hint: Any) -> Shape:
    """The shape of an annotation."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        about = next((extra for extra in extras if isinstance(extra, str)), "")
        return dataclasses.replace(
            shape_of(inner), about=about, kinds=tuple(e for e in extras if not isinstance(e, str))
        )
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return dataclasses.replace(shape_of(inner), optional=True)
    if origin is tuple:
        return Shape(list, shape_of(arguments[0]))
    if origin is Mapping:
        return Shape(dict, shape_of(arguments[1]))
    return Shape(hint)


@dataclass
class Decoder:
    """Values to dataclasses; mistakes go to `complaints`. What many nodes share is decoded once."""

    complaints: Complaints
    known: dict[tuple[int, int], tuple[Located, Any]] = field(default_factory=dict)

    def decode(self, located: Located, shape: Shape, name: str) -> Any:
        """The value in the given shape, or None if it is wrong; `name` is what the user calls it."""
        if located.value is BROKEN or (located.value is None and shape.optional):
            return None
        if not located.shared:
            return self.convert(located, shape, name)
        key = (id(located), id(shape))
        if key not in self.known:
            self.known[key] = (located, self.convert(located, shape, name))
        return self.known[key][1]

    def convert(self, located: Located, shape: Shape, name: str) -> Any:
        if dataclasses.is_dataclass(shape.base):
            value = self.record(located, shape.base, name)
        elif shape.base is list:
            value = self.sequence(located, shape, name)
        elif shape.base is dict:
            value = self.mapping(located, shape, name)
        else:
            value = self.scalar(located, shape, name)
        if value is not None:
            self.judge(value, located, shape, name)
        return value

    def record(self, located: Located, record: Any, name: str) -> Any:
        """A dataclass; unknown and missing keys are mistakes."""
        if not isinstance(located.value, dict):
            return self.wrong_type(located, "a mapping", name)
        fields = fields_of(record)
        for key in located.value:
            if key not in fields:
                hint = did_you_mean(key, fields) or "known are " + ", ".join(f"`{item}`" for item in fields)
                self.complaints.error(f"unknown key `{key}` in {name}", located.key_spot(key), hint)
        given = {key: located.value[key] for key in fields if key in located.value}
        missing = [key for key, item in fields.items() if item.required and key not in given]
        for key in missing:
            self.complaints.error(f"{name} has no `{key}`", located, f"add `{key}: …`: {fields[key].shape.about}")
        values = {key: self.decode(item, fields[key].shape, f"`{key}`") for key, item in given.items()}
        wrong = {key for key, value in values.items() if value is None and not fields[key].shape.optional}
        if missing or any(fields[key].required for key in wrong):
            return None
        standing = {
            "place": located.place,
            "places": dict(located.places()),
            "key_places": dict(located.key_places()),
            "secrets": frozenset(path for path, _ in located.secrets()),
        }
        internal = [item.name for item in dataclasses.fields(record) if item.metadata.get("internal")]
        right = {key: value for key, value in values.items() if key not in wrong}
        return record(**right, **{key: standing[key] for key in internal})

    def sequence(self, located: Located, shape: Shape, name: str) -> tuple[Any, ...] | None:
        items = self.items(located, shape, name)
        return None if items is None else tuple(value for value, _ in items)

    def items(self, located: Located, shape: Shape, name: str) -> list[tuple[Any, Located]] | None:
        """The items of a list that are right, each with where it stands."""
        item = shape.item or Shape(Any)
        if not isinstance(located.value, list):
            self.wrong_type(located, f"a list of {plural(item)}", name)
            return None
        pairs = [(self.decode(child, item, item_name(child, item, name)), child) for child in located.value]
        return [(value, child) for value, child in pairs if value is not None]

    def mapping(self, located: Located, shape: Shape, name: str) -> dict[Hashable, Any] | None:
        if not isinstance(located.value, dict):
            self.wrong_type(located, "a mapping", name)
            return None
        item = shape.item or Shape(Any)
        values = {}
        for key, child in located.value.items():
            self.judge_key(key, located, shape)
            values[key] = self.decode(child, item, f"`{key}`")
        return {key: value for key, value in values.items() if value is not None or item.base is Any}

    def judge_key(self, key: Hashable, located: Located, shape: Shape) -> None:
        """A key of an open mapping is text, and of the right kind."""
        if not isinstance(key, str):
            self.complaints.error(f"the key `{key}` is not text", located.key_spot(key), f'write `"{key}"`')
            return
        for kind in (kind.kind for kind in shape.kinds if isinstance(kind, Keys)):
            complaint = kind.complaint(key)
            if complaint:
                hint = did_you_mean(key, kind.words) if isinstance(kind, OneOf) else None
                self.complaints.error(complaint, located.key_spot(key), hint or kind.hint())

    def scalar(self, located: Located, shape: Shape, name: str) -> Any:
        if shape.base is Any:
            return located.plain
        value = located.value
        if shape.base is ScalarText:
            return self.scalar_text(located, name)
        if isinstance(value, str) and shape.base is not str and (located.origin or not located.place.line):
            value = from_text(value, shape.base)
        if shape.base is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is shape.base:
            return value
        return self.wrong_type(located, WORDS[shape.base], name)

    def scalar_text(self, located: Located, name: str) -> str | None:
        """A text that may be written as a number."""
        if isinstance(located.value, (str, int, float)) and not isinstance(located.value, bool):
            return str(located.value)
        self.wrong_type(located, "text or a number", name)
        return None

    def judge(self, value: Any, located: Located, shape: Shape, name: str) -> None:
        for kind in shape.kinds:
            complaint = kind.complaint(value)
            if complaint and not self.told(located):
                hint = did_you_mean(value, kind.words) if isinstance(kind, OneOf) else None
                self.complaints.error(complaint, located, hint or kind.hint(), rule=f"{name} {type(kind).__name__}")

    def told(self, located: Located) -> bool:
        """Whether the reader complained of this very value."""
        return located.origin is None and self.complaints.has(located)

    def wrong_type(self, located: Located, wanted: str, name: str) -> None:
        if self.told(located):
            return
        value = located.value
        hint = None
        if wanted == "text" and isinstance(value, (int, float)) and not isinstance(value, bool):
            hint = f'write `"{value}"`'
        elif wanted == "a list of words" and isinstance(value, str):
            hint = f"write `[{value}]`"
        self.complaints.error(f"{name} must be {wanted}, not {shown(value)}", located, hint, rule=f"{name} type")


NOUNS: dict[Any, str] = {Network: "network", PluginSource: "plugin source", str: "word"}
WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def item_name(item: Located, shape: Shape, name: str) -> str:
    """What to call an item of a list: its own name if it has one."""
    noun = NOUNS.get(shape.base, "item")
    own = item.get("name")
    return f"{noun} `{own.value}`" if own and isinstance(own.value, str) else f"a {noun} of {name}"


def shown(value: object) -> str:
    """A wrong value by its type, and itself if it is short."""
    if isinstance(value, bool):
        return f"the boolean `{str(value).lower()}`"
    if isinstance(value, (str, int, float)):
        return f"the {'text' if isinstance(value, str) else 'number'} `{value}`"
    return type_name(value)


def plural(item: Shape) -> str:
    return "mappings" if dataclasses.is_dataclass(item.base) or item.base is dict else "words"


def from_text(text: str, base: Any) -> Any:
    """What templates and `-e key=value` can give only as text; the text itself if it is nothing else."""
    if base is bool:
        return BOOLEANS.get(text.lower(), text)
    try:
        return base(text)
    except ValueError:
        return text


def json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of a YAML inventory, or of a variables file: what has no group in it."""
    group = {"$ref": "#/$defs/group"}
    hosts = {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/variables"}}
    section = {"hosts": hosts, "vars": {"$ref": "#/$defs/variables"}}
    children = {"type": ["object", "null"], "additionalProperties": group}
    like_group = {"type": "object", "anyOf": [{"required": [name]} for name in (*section, "children")]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An Ansible inventory, or a file of variables, with cni-provision's variables",
        "if": {"type": "object", "additionalProperties": {"not": like_group}},
        "then": {"$ref": "#/$defs/variables"},
        "else": {"type": "object", "additionalProperties": group},
        "$defs": {
            "group": {
                "type": ["object", "null"],
                "properties": {**section, "children": children},
                "additionalProperties": False,
            },
            "variables": variables_schema(),
            "template": {"type": "string", "pattern": r"\{[{%#]"},
        },
    }


def variables_schema() -> Schema:
    """The variables of a group or host: ours, and whatever else."""
    shapes = {f"cni_{name}": item.shape for name, item in fields_of(Declarations).items()}
    return {
        "type": ["object", "null"],
        "properties": {name: schema_of(shape) for name, shape in shapes.items()},
        "patternProperties": {f"^{name}__.+$": schema_of(shape) for name, shape in shapes.items()},
    }


def schema_of(shape: Shape) -> Schema:
    """The schema of a shape; any value may be a template instead."""
    if shape.base is Any:
        return {"description": shape.about} if shape.about else {}
    schema = bare_schema(shape)
    for kind in shape.kinds:
        schema |= kind.schema()
    either: Schema = {"anyOf": [schema, {"$ref": "#/$defs/template"}]}
    return {"description": shape.about} | either if shape.about else either


def bare_schema(shape: Shape) -> Schema:
    """The schema of the type alone."""
    if dataclasses.is_dataclass(shape.base):
        return record_schema(shape.base)
    if shape.base is list:
        return {"type": "array", "items": schema_of(shape.item or Shape(Any))}
    if shape.base is dict:
        return {"type": "object", "additionalProperties": schema_of(shape.item or Shape(Any))}
    names = {str: "string", int: "integer", float: "number", bool: "boolean", ScalarText: ["string", "number"]}
    return {"type": names[shape.base]}


def record_schema(record: Any) -> Schema:
    """Of a dataclass: only `name` is required, because a suffixed variable may complete the rest."""
    fields = fields_of(record)
    properties = {name: schema_of(item.shape) for name, item in fields.items()}
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if "name" in fields:
        properties["state"] = {"description": "`absent` removes the one of this name", "enum": ["present", "absent"]}
        schema["required"] = ["name"]
    return schema
