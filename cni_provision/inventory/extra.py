"""`-e`: `key=value …`, `@file`, or a YAML or JSON mapping."""

from __future__ import annotations

import codecs
import re

from cni_provision.errors import NeedsAnsible, Place
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import VAULTED, Located, Spot, is_template, type_name
from cni_provision.inventory.settings import READER_HINT
from cni_provision.inventory.source import read_yaml
from cni_provision.inventory.tree import Variables
from cni_provision.inventory.varsfiles import Texts

# A word: runs without spaces and quotes, or quoted pieces, or `{{ … }}` as a whole.
WORD = re.compile(r"""(?:\{\{.*?\}\}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'])+""", re.DOTALL)
ESCAPE = re.compile(r"\\(?:U[0-9a-fA-F]{8}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|N\{[^}]+\}|[\\'\"abfnrtv])")


def extra_variables(options: tuple[str, ...], texts: Texts, complaints: Complaints) -> Variables:
    """All `-e` together, later ones on top. Raises NeedsAnsible."""
    variables: Variables = {}
    for option in options:
        variables.update(one_option(option, texts, complaints))
    return variables


def one_option(option: str, texts: Texts, complaints: Complaints) -> Variables:
    spot = Spot(Place(f"-e {option}"))
    if option.startswith("@"):
        return mapping(texts.value(option[1:]), spot, complaints)
    if option.startswith(("/", ".")):
        complaints.error(f"`{option}` is not `key=value`", spot, f"write `-e @{option}` for a file")
        return {}
    if option.startswith(("{", "[")):
        return mapping(read_yaml(option, f"-e {option}", complaints), spot, complaints)
    return pairs(option, spot, complaints)


def mapping(root: Located | None, spot: Spot, complaints: Complaints) -> Variables:
    """The variables of a file or of a mapping on the command line."""
    if root is None or root.value is None:
        return {}
    if root.value is VAULTED:
        raise NeedsAnsible("the file of extra variables is vaulted", place=root.place, hint=READER_HINT)
    if not isinstance(root.value, dict):
        complaints.error(f"extra variables must be a mapping, not {type_name(root.value)}", spot)
        return {}
    return {str(key): value for key, value in root.value.items()}


def pairs(option: str, spot: Spot, complaints: Complaints) -> Variables:
    """`key=value` words; values are text and may be templates."""
    variables: Variables = {}
    for word in WORD.findall(option):
        text = ESCAPE.sub(lambda found: codecs.decode(found[0], "unicode-escape"), word)
        key, equals, value = text.partition("=")
        if not equals or not key:
            complaints.error(f"`{word}` is not `key=value`", spot, "put quotes around a value with spaces")
            continue
        value = unquoted(value.strip())
        variables[key.strip()] = Located(value, spot.place, template=is_template(value), shared=True)
    return variables


def unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
