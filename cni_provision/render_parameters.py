"""The first comment of a template: which parameters it takes, and what an inventory gave for them.

    {#
    One sentence on what the template makes.

      bridge: interface = "cni0"    # the host's bridge, made where it is missing
      master: interface             # no default: it must be given
      mtu: integer 68..65535?       # may be left out
      exactly one of: subnet, subnets, ranges
    #}

Indented lines are parameters, in the language of `conflist_shape`, with a default in JSON; other lines are prose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cni_provision.conflist_shape import (
    Problem,
    describe,
    did_you_mean,
    is_secret,
    known,
    plain_problems,
    problems,
)
from cni_provision.errors import Place, UserError
from cni_provision.inventory.model import Value

COMMENT = re.compile(r"\s*\{#-?(.*?)-?#\}", re.DOTALL)
LINE = re.compile(
    r"^\s+(?P<name>[a-z][a-z0-9_]*): (?P<shape>.+?)(?P<optional>\?)?(?: = (?P<default>.+?))?(?:\s+# (?P<about>.*))?$"
)
CHOICE = re.compile(r"^\s+(?P<count>exactly|at least|at most) one of: (?P<names>[a-z0-9_, ]+)$")
BUILT_IN = ("network", "node", "runtime", "omit")


@dataclass(frozen=True)
class Parameter:
    """One parameter; `default` counts only where `required` is false, None is "left out"."""

    name: str
    shape: str
    required: bool
    default: Value
    about: str


@dataclass(frozen=True)
class Choice:
    """`count` is `exactly`, `at least` or `at most`: so many of `names` may be given."""

    count: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """What a template's first comment declares."""

    template: str
    about: str
    parameters: Mapping[str, Parameter]
    choices: tuple[Choice, ...] = ()

    def secrets(self, given: Mapping[str, Value]) -> tuple[str, ...]:
        """The given parameters that must not be shown."""
        return tuple(name for name in given if name in self.parameters and is_secret(self.parameters[name].shape))


def parse(template: str, text: str, file: str) -> Signature:
    """The signature of a template's text; raises `UserError` with the place of a line that cannot be read."""
    comment = COMMENT.match(text)
    if comment is None:
        raise UserError(
            f"template `{template}` does not begin with a comment that lists its parameters",
            place=Place(file, 1, 1),
            hint="begin with `{# … #}`, one indented line `name: type` for each parameter",
        )
    first = text.count("\n", 0, comment.start(1)) + 1
    prose, parameters, choices = [], {}, []
    for number, line in enumerate(comment[1].split("\n"), first):
        if number == first or not line[:1].isspace() or not line.strip():
            prose.append(line.strip())
        elif choice := CHOICE.match(line):
            choices.append(Choice(choice["count"], tuple(choice["names"].replace(" ", "").split(","))))
        else:
            parameter = _parameter(line, Place(file, number, 1))
            parameters[parameter.name] = parameter
    return Signature(template, " ".join(filter(None, prose)), parameters, tuple(choices))


def _parameter(line: str, place: Place) -> Parameter:
    match = LINE.match(line)
    if match is None or not known(match["shape"]):
        hint = 'such as `mtu: integer 68..65535?` or `bridge: interface = "cni0"`'
        raise UserError(f"`{line.strip()}` does not declare a parameter", place=place, hint=hint)
    if match["name"] in BUILT_IN:
        raise UserError(f"`{match['name']}` is a name that every template has already", place=place)
    try:
        default = json.loads(match["default"]) if match["default"] else None
    except ValueError as error:
        raise UserError(f"the default `{match['default']}` is not JSON: {error}", place=place) from None
    required = match["default"] is None and not match["optional"]
    return Parameter(match["name"], match["shape"], required, default, match["about"] or "")


def check(signature: Signature, given: Mapping[str, Value]) -> list[Problem]:
    """Unknown, missing and wrong parameters; paths are relative to the parameters. None counts as not given."""
    present = {name: value for name, value in given.items() if value is not None}
    return [*_values(signature, present), *_missing(signature, present), *_choices(signature, present)]


def _values(signature: Signature, present: Mapping[str, Value]) -> Iterator[Problem]:
    for name, value in present.items():
        parameter = signature.parameters.get(name)
        if parameter is None:
            hint = did_you_mean(str(name), signature.parameters) or _listing(signature)
            message = f"template `{signature.template}` has no parameter `{name}`"
            yield Problem((name,), message, hint, at_key=True)
            continue
        what = f"parameter `{name}` of template `{signature.template}`"
        found = list(plain_problems(value)) or problems(parameter.shape, value, what)
        yield from (problem.below((name,)) for problem in found)


def _listing(signature: Signature) -> str:
    names = ", ".join(f"`{name}`" for name in signature.parameters)
    return f"its parameters are {names}" if names else "it takes no parameters"


def _missing(signature: Signature, present: Mapping[str, Value]) -> Iterator[Problem]:
    for parameter in signature.parameters.values():
        if parameter.required and parameter.name not in present:
            message = f"template `{signature.template}` needs the parameter `{parameter.name}`"
            words = parameter.about or describe(parameter.shape)
            yield Problem((), message, f"add `{parameter.name}` below `parameters`: {words}")


def _choices(signature: Signature, present: Mapping[str, Value]) -> Iterator[Problem]:
    for choice in signature.choices:
        chosen = [name for name in choice.names if name in present]
        names = ", ".join(f"`{name}`" for name in choice.names)
        if not chosen and choice.count != "at most":
            yield Problem((), f"template `{signature.template}` needs one of {names}", "add it below `parameters`")
        if len(chosen) > 1 and choice.count != "at least":
            message = f"template `{signature.template}` takes only one of {names}"
            yield Problem((chosen[1],), message, f"leave out `{chosen[0]}` or `{chosen[1]}`", at_key=True)


def complete(signature: Signature, given: Mapping[str, Value], absent: Value) -> dict[str, Value]:
    """Every parameter with what was given, its default, or `absent`."""
    values = {}
    for name, parameter in signature.parameters.items():
        value = given.get(name)
        value = parameter.default if value is None else value
        values[name] = absent if value is None else value
    return values
