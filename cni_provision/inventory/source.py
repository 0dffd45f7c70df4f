"""YAML text to values and where they stood, with the values that Ansible reads (YAML 1.1 by PyYAML)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from cni_provision.errors import Place
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import BROKEN, VAULTED, Located, Spot, is_template
from cni_provision.inventory.model import Declarations

if TYPE_CHECKING:
    from yaml import MappingNode, Node, ScalarNode, SequenceNode
    from yaml.constructor import SafeConstructor

DECLARATION = re.compile(rf"cni_(?:{'|'.join(item.name for item in dataclasses.fields(Declarations))})(?:__.+)?")
VAULT_HEADER = "$ANSIBLE_VAULT;"
TAG = "tag:yaml.org,2002:"
YAML_TYPES = frozenset(TAG + name for name in ("null", "bool", "int", "float", "timestamp"))
TEXT_TYPES = frozenset(TAG + name for name in ("str", "value", "merge"))
PLAIN_NUMBER = re.compile(
    r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)|[-+]?[0-9]+\.(?:[0-9]|[0-9]*[1-9])|[-+]?\.(?:inf|nan)"
)


def read_yaml(text: str, file: str, complaints: Complaints) -> Located | None:
    """The one document of the text; None if it is empty or its syntax is wrong."""
    import yaml

    if text.startswith(VAULT_HEADER):
        return Located(VAULTED, Place(file, 1, 1), len(text.partition("\n")[0]), shared=True)
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return Reader(file, complaints, loader).read(node) if node else None
    except yaml.MarkedYAMLError as error:
        complain_of_syntax(error, file, text, complaints)
    except yaml.YAMLError as error:
        complaints.error(f"bad YAML: {' '.join(str(error).split())}", Spot(Place(file)))
    finally:
        loader.dispose()
    return None


def complain_of_syntax(error: Any, file: str, text: str, complaints: Complaints) -> None:
    """PyYAML's complaint at its mark, with what usually is behind it."""
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    hint = None
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces, YAML does not take tabs"
    elif re.search(r":\s+\{\{", line):
        hint = 'put quotes around a value that starts with `{{`: `key: "{{ value }}"`'
    context = f" ({error.context})" if error.context and error.problem else ""
    complaints.error(f"bad YAML: {error.problem or error.context}{context}", Spot(place), hint)


class Care(Enum):
    """How surprises of YAML are taken: below our declarations, below other variables, below Ansible's own."""

    ERROR = "error"
    WARN = "warn"
    SILENT = "silent"

    def below(self, key: Hashable) -> Care:
        """The care for what stands below a key."""
        if self is Care.ERROR or is_declaration(key):
            return Care.ERROR
        return Care.SILENT if isinstance(key, str) and key.startswith("ansible_") else self


@dataclass
class Reader:
    """Builds values out of the nodes of one file; aliases give the same value again."""

    file: str
    complaints: Complaints
    constructor: SafeConstructor
    known: dict[tuple[int, Care, bool], Located] = field(default_factory=dict)

    def read(self, node: Node, care: Care = Care.WARN, *, unsafe: bool = False) -> Located:
        """The value of a node."""
        key = (id(node), care, unsafe)
        if key not in self.known:
            self.known[key] = Located(BROKEN, self.spot(node).place)
            self.known[key] = self.build(node, care, unsafe=unsafe or node.tag == "!unsafe")
        elif self.known[key].value is BROKEN:
            self.complaints.error("an alias stands below its own anchor", self.spot(node))
        return self.known[key]

    def build(self, node: Node, care: Care, *, unsafe: bool) -> Located:
        from yaml import nodes

        spot = self.spot(node)
        if node.tag in ("!vault", "!vault-encrypted"):
            return Located(VAULTED, spot.place, spot.width, shared=True)
        if not (node.tag.startswith(TAG) or node.tag == "!unsafe"):
            self.complaints.error(f"unknown tag `{node.tag}`", spot, "known tags are `!vault` and `!unsafe`")
        if isinstance(node, nodes.MappingNode):
            return self.mapping(node, spot, care, unsafe=unsafe)
        if isinstance(node, nodes.SequenceNode):
            return self.sequence(node, spot, care, unsafe=unsafe)
        assert isinstance(node, nodes.ScalarNode)
        value = self.scalar(node, spot, care)
        template = not unsafe and isinstance(value, str) and is_template(value)
        return Located(value, spot.place, spot.width, template=template, shared=True)

    def sequence(self, node: SequenceNode, spot: Spot, care: Care, *, unsafe: bool) -> Located:
        items = [self.read(child, care, unsafe=unsafe) for child in node.value]
        return Located(items, spot.place, spot.width, shared=True)

    def mapping(self, node: MappingNode, spot: Spot, care: Care, *, unsafe: bool) -> Located:
        children: dict[Hashable, Located] = {}
        keys: dict[Hashable, Spot] = {}
        for key, (key_node, child) in self.merged(node).items():
            children[key] = self.read(child, care.below(key), unsafe=unsafe)
            keys[key] = self.spot(key_node)
        seen: dict[Hashable, Spot] = {}
        for key_node, child in node.value:
            if key_node.tag == TAG + "merge":
                continue
            key, at = self.key(key_node), self.spot(key_node)
            below = care.below(key)
            if key in seen:
                self.duplicate(key, at, seen[key], below)
            seen[key] = keys[key] = at
            children[key] = self.read(child, below, unsafe=unsafe)
        return Located(children, spot.place, spot.width, keys, shared=True)

    def merged(self, node: MappingNode) -> dict[Hashable, tuple[Node, Node]]:
        """What `<<` brings in, by key: of several mappings the first wins, and its keys come first."""
        found: dict[Hashable, tuple[Node, Node]] = {}
        for key, value in node.value:
            if key.tag == TAG + "merge":
                for mapping in value.value if value.id == "sequence" else [value]:
                    if mapping.id != "mapping":
                        self.complaints.error("`<<` merges mappings only", self.spot(value))
                        continue
                    own = {self.key(pair[0]): pair for pair in mapping.value if pair[0].tag != TAG + "merge"}
                    for name, pair in {**self.merged(mapping), **own}.items():
                        found.setdefault(name, pair)
        return found

    def key(self, node: Node) -> Hashable:
        from yaml import ScalarNode

        if not isinstance(node, ScalarNode):
            hint = 'put quotes around a value that starts with `{{`: `key: "{{ value }}"`'
            self.complaints.error("a key must be plain text", self.spot(node), hint)
            return f"<{node.start_mark.line}>"
        value: Hashable = self.convert(node)
        return value

    def duplicate(self, key: Hashable, at: Spot, first: Spot, care: Care) -> None:
        message = f"`{key}` is there twice"
        if care is Care.ERROR:
            self.complaints.error(message, at, related=((first.place, "first here"),))
        else:
            self.complaints.warning(message, at, f"the last one counts; the first is in line {first.place.line}")

    def scalar(self, node: ScalarNode, spot: Spot, care: Care) -> Any:
        value = self.convert(node)
        surprise = surprising(node, value)
        if surprise and care is Care.ERROR:
            self.complaints.error(surprise, spot, correction(node, value))
        elif surprise and care is Care.WARN:
            self.complaints.warning(surprise, spot, correction(node, value))
        return value

    def convert(self, node: ScalarNode) -> Any:
        """What PyYAML makes of a scalar."""
        if node.tag not in YAML_TYPES:
            return node.value
        try:
            value = self.constructor.construct_object(node)
        except ValueError as error:
            self.complaints.error(f"bad YAML: {error}", self.spot(node))
            return node.value
        return value

    def spot(self, node: Node) -> Spot:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if start.line == end.line else 1
        return Spot(Place(self.file, start.line + 1, start.column + 1), max(1, width))


def is_declaration(key: object) -> bool:
    """Whether a variable is one of ours."""
    return isinstance(key, str) and DECLARATION.fullmatch(key) is not None


def surprising(node: ScalarNode, value: Any) -> str | None:
    """What YAML 1.1 makes of an unquoted word that people mean otherwise, as a message."""
    if node.style or node.tag not in YAML_TYPES:
        return None
    if isinstance(value, bool):
        surprise = node.value.lower() not in ("true", "false")
    elif isinstance(value, (int, float)):
        surprise = PLAIN_NUMBER.fullmatch(node.value) is None
    else:
        surprise = value is not None
    return f"YAML reads `{node.value}` as {shown(value)}" if surprise else None


def correction(node: ScalarNode, value: Any) -> str:
    text = f'write `"{node.value}"` for the text'
    return f"{text}, `{shown(value).split()[-1]}` for the boolean" if isinstance(value, bool) else text


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "the boolean " + ("true" if value else "false")
    return f"the number {value}" if isinstance(value, (int, float)) else f"the date {value}"
