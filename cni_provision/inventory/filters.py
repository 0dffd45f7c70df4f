"""The filters and lookups of Ansible that inventories may use without it; each gives Ansible's value or refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from cni_provision.errors import NeedsAnsible
from cni_provision.inventory import networkfilters
from cni_provision.inventory.lazy import plain

TRUE, FALSE = ("yes", "on", "true", "1"), ("no", "off", "false", "0")
JSON_OPTIONS = frozenset({"indent", "sort_keys", "separators", "ensure_ascii"})
YAML_OPTIONS = frozenset({"indent", "width", "sort_keys", "explicit_start", "explicit_end"})
LOOKUP_HINT = "only `env` and `file` work without it; add `--reader ansible`"


def to_bool(value: Any) -> bool:
    """`yes on true 1` and their opposites; nothing is false. Of anything else Ansible disapproves: NeedsAnsible."""
    word = str(value).lower() if isinstance(value, (str, int)) or value is None else "?"
    if word not in TRUE + FALSE + ("", "none"):
        raise NeedsAnsible(f"`{value}` is neither true nor false", hint="Ansible takes most such values as false")
    return word in TRUE


def to_json(value: Any, **options: Any) -> str:
    if options.keys() - JSON_OPTIONS:
        raise NeedsAnsible("only Ansible knows these options of `to_json`", hint="add `--reader ansible`")
    return json.dumps(plain(list(value) if isinstance(value, range) else value), default=str, **options)


def to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    """YAML as libyaml writes it."""
    import yaml

    if options.keys() - YAML_OPTIONS:
        raise NeedsAnsible("only Ansible knows these options of `to_yaml`", hint="add `--reader ansible`")
    met = list(containers(value))
    if len(met) != len(set(met)):
        message = "something stands there twice, which Ansible writes as an anchor and an alias"
        raise NeedsAnsible(message, hint="add `--reader ansible`")
    style = {"allow_unicode": True, "default_flow_style": default_flow_style, **options}
    text: str = yaml.dump(plain(value), Dumper=yaml.CSafeDumper, **style)
    return text


def containers(value: Any) -> Iterator[int]:
    """The identity of every list and mapping in a value; that of the inventory's is where they stand."""
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        yield id(getattr(value, "_located", value))
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from containers(child)


@jinja2.pass_environment
def extract(environment: jinja2.Environment, item: Any, container: Any, morekeys: Any = None) -> Any:
    """An item of a container, and an item of that for each further key."""
    more = morekeys if isinstance(morekeys, Sequence) and not isinstance(morekeys, str) else [morekeys]
    for key in [item, *(key for key in more if morekeys is not None)]:
        container = environment.getitem(container, key)
    return container


def from_json(text: str) -> Any:
    return json.loads(text)


def regex_replace(
    value: Any = "",
    pattern: str = "",
    replacement: str = "",
    ignorecase: object = False,
    multiline: object = False,
    count: int = 0,
    mandatory_count: int = 0,
) -> str:
    text, found = re.compile(pattern, flags(ignorecase, multiline)).subn(replacement, str(value), count=count)
    if mandatory_count and mandatory_count != found:
        raise ValueError(f"`{pattern}` matches {found} times in `{value}`, not {mandatory_count} times")
    return text


def regex_search(
    value: Any, pattern: str, *groups: str, ignorecase: object = False, multiline: object = False
) -> Any:
    """The match, or the groups asked for as `\\1` or `\\g<name>`; None without a match."""
    found = re.search(pattern, str(value), flags(ignorecase, multiline))
    if not found or not groups:
        return found and found[0]
    names = [re.fullmatch(r"\\(?:g<(\w+)>|(\d+))", group) for group in groups]
    if not all(names):
        raise ValueError("groups are written `\\\\1` or `\\\\g<name>`")
    return [found[name[1] or int(name[2])] for name in names if name]


def flags(ignorecase: object, multiline: object) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def combine(*mappings: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    """Mappings (or lists of them) on top of each other."""
    if list_merge != "replace":
        raise NeedsAnsible(f"only Ansible knows `combine(list_merge='{list_merge}')`", hint="add `--reader ansible`")
    result: dict[Any, Any] = {}
    for mapping in flat(mappings):
        if mapping is None:
            continue
        if not isinstance(mapping, Mapping):
            raise TypeError(f"`combine` takes mappings, not `{type(mapping).__name__}`")
        result = merged(result, mapping) if recursive else {**result, **mapping}
    return result


def flat(values: Iterable[Any]) -> list[Any]:
    """One level of lists removed."""
    listed = (value if isinstance(value, Sequence) and not isinstance(value, str) else [value] for value in values)
    return [item for value in listed for item in value]


def merged(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def dict2items(mapping: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    if not isinstance(mapping, Mapping):
        raise TypeError("`dict2items` takes a mapping")
    return [{key_name: key, value_name: value} for key, value in mapping.items()]


def items2dict(items: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    return {item[key_name]: item[value_name] for item in items}


def union(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    return as_set([*first, *second])


def difference(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    others = list(second)
    return as_set([item for item in first if item not in others])


def intersect(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    others = list(second)
    return as_set([item for item in first if item in others])


def as_set(items: list[Any]) -> list[Any]:
    """Without repetition. Ansible's order is a set's: of numbers it is the same here, of words it is arbitrary."""
    if all(isinstance(item, (int, float)) for item in items):
        return list(set(items))
    kept: list[Any] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept


def ternary(value: Any, when_true: Any, when_false: Any, when_none: Any = None) -> Any:
    if value is None and when_none is not None:
        return when_none
    return when_true if value else when_false


def digest(value: Any, kind: str = "sha1") -> str:
    return hashlib.new(kind, str(value).encode()).hexdigest()


def b64encode(value: Any, encoding: str = "utf-8", urlsafe: object = False) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(str(value).encode(encoding)).decode()


def b64decode(value: Any, encoding: str = "utf-8", urlsafe: object = False) -> str:
    decode = base64.urlsafe_b64decode if urlsafe else base64.b64decode
    return decode(str(value)).decode(encoding)


@dataclass(frozen=True)
class Lookups:
    """`lookup` and `query` as templates call them; `met_secret` is told of what comes from the environment."""

    met_secret: Callable[[], None]

    def lookup(self, kind: str, *terms: Any, **options: Any) -> Any:
        """What a lookup finds, several terms joined by commas."""
        found = self.query(kind, *terms, **options)
        return found[0] if len(found) == 1 else ",".join(found)

    def query(self, kind: str, *terms: Any, **options: Any) -> list[Any]:
        """`env` and `file`. Raises NeedsAnsible for any other lookup or option."""
        name = kind.removeprefix("ansible.builtin.")
        if name not in LOOKUPS:
            raise NeedsAnsible(f"only Ansible has the lookup `{kind}`", hint=LOOKUP_HINT)
        if options.keys() - {"default"} or (options and name != "env"):
            raise NeedsAnsible(f"only Ansible knows these options of the lookup `{kind}`", hint=LOOKUP_HINT)
        if name == "env":
            self.met_secret()
        if not all(isinstance(term, str) for term in terms):
            raise TypeError(f"the lookup `{kind}` takes names, each as an argument of its own")
        return [LOOKUPS[name](term, **options) for term in terms]


def from_environment(name: str, default: Any = "") -> Any:
    return os.environ.get(name, default)


def from_file(path: str) -> str:
    """A file's text without white space at its end; relative paths start here, or in `files/` here."""
    name = os.path.expanduser(path)
    found = next((item for item in (os.path.join("files", name), name) if os.path.isfile(item)), None)
    if found is None:
        raise ValueError(f"there is no file `{path}`")
    with open(found, encoding="utf-8") as file:
        return file.read().rstrip()


LOOKUPS: dict[str, Callable[..., Any]] = {"env": from_environment, "file": from_file}
NETWORK: dict[str, Callable[..., Any]] = {
    "ipaddr": networkfilters.ipaddr,
    "ipv4": networkfilters.ipv4,
    "ipv6": networkfilters.ipv6,
    "ipsubnet": networkfilters.ipsubnet,
    "ipmath": networkfilters.ipmath,
    "nthhost": networkfilters.nthhost,
}
FILTERS: dict[str, Callable[..., Any]] = {
    "bool": to_bool,
    "to_json": to_json,
    "to_yaml": to_yaml,
    "extract": extract,
    "from_json": from_json,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "combine": combine,
    "dict2items": dict2items,
    "items2dict": items2dict,
    "union": union,
    "difference": difference,
    "intersect": intersect,
    "ternary": ternary,
    "hash": digest,
    "b64encode": b64encode,
    "b64decode": b64decode,
    **NETWORK,
}
