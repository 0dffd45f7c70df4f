"""The templates of some folders: found, read, evaluated by Jinja (sandboxed, every undefined name an error).

jinja2 is imported when the first template is needed: commands that render nothing must not pay for it.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cni_provision.conflist_shape import did_you_mean
from cni_provision.errors import Place, UserError
from cni_provision.inventory.model import Value
from cni_provision.render_parameters import COMMENT, Signature, parse

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from cni_provision.render_trace import Trace

ENDING = ".conflist.j2"
OMIT_TEXT = "\0omit"  # no YAML text can hold NUL
READS_NODE = re.compile(r"\bnode\b|{%-? *(include|extends)\b")
UNDEFINED = re.compile(r"'(\w+)' is undefined")


class Omit:
    """An optional parameter that was not given: false in conditions; the key or item that holds it is left out."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "omit"


OMIT = Omit()


def to_json(value: Value) -> str:
    """The filter `tojson`: text that cannot end a JSON value early, `omit` included."""
    return ENCODER.encode(value)


def _omit_text(value: Value) -> str:
    if isinstance(value, Omit):
        return OMIT_TEXT
    raise TypeError(f"`{value}` has no form in JSON")  # an undefined value raises by being made text


ENCODER = json.JSONEncoder(default=_omit_text, allow_nan=False)


def without_omitted(value: Value) -> Value:
    """The document that a template wrote, without what it omitted."""
    if isinstance(value, dict):
        return {key: without_omitted(item) for key, item in value.items() if item != OMIT_TEXT}
    return [without_omitted(item) for item in value if item != OMIT_TEXT] if isinstance(value, list) else value


class Templates:
    """`<name>.conflist.j2` in some folders; the first folder that has a name wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folder for folder in folders if folder.is_dir())
        self._signatures: dict[str, Signature] = {}

    def names(self) -> tuple[str, ...]:
        """Every template there is, sorted."""
        found = (file.name.removesuffix(ENDING) for folder in self.folders for file in folder.glob(f"*{ENDING}"))
        return tuple(sorted(set(found)))

    def signature(self, name: str) -> Signature:
        """What a template takes; raises `UserError` if there is none of that name or its comment cannot be read."""
        if name not in self._signatures:
            file = self.file(name + ENDING)
            if file is None:
                hint = did_you_mean(name, self.names()) or f"there are {', '.join(f'`{n}`' for n in self.names())}"
                raise UserError(f"there is no template `{name}`", hint=hint)
            self._signatures[name] = parse(name, file.read_text(encoding="utf-8"), str(file))
        return self._signatures[name]

    def file(self, file_name: str) -> Path | None:
        """Where a file of the folders is."""
        return next((folder / file_name for folder in self.folders if (folder / file_name).is_file()), None)

    def line(self, file_name: str, number: int) -> str:
        """One line of a file of the folders, from 1; empty where there is none."""
        file = self.file(file_name)
        lines = file.read_text(encoding="utf-8").splitlines() if file else []
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def place(self, file_name: str, line: int) -> Place:
        """A line of a file of the folders as a place; the column is that of the first character in it."""
        text = self.line(file_name, line)
        column = len(text) - len(text.lstrip()) + 1
        return Place(str(self.file(file_name) or file_name), line, column if line else 0)

    def render(self, name: str, variables: Mapping[str, Value]) -> str:
        """The text that a template gives; raises `UserError` with the template's line."""
        return self._evaluate(self._environment, name, variables)

    def trace(self, name: str, variables: Mapping[str, Value]) -> Trace:
        """The same text, and which template line wrote each piece of it."""
        from cni_provision.render_trace import read

        return read(self._evaluate(self._marking, name, variables))

    def reads_node(self, name: str) -> bool:
        """Whether what a template gives may depend on the node, not on the parameters alone; yes where in doubt."""
        file = self.file(name + ENDING)
        return file is None or READS_NODE.search(COMMENT.sub("", file.read_text(encoding="utf-8"))) is not None

    @cached_property
    def _environment(self) -> ImmutableSandboxedEnvironment:
        return self._new(extensions=())

    @cached_property
    def _marking(self) -> ImmutableSandboxedEnvironment:
        from cni_provision.render_trace import Marks

        return self._new(extensions=(Marks,))

    def _new(self, extensions: Sequence[type]) -> ImmutableSandboxedEnvironment:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        loader = FileSystemLoader([str(folder) for folder in self.folders])
        environment = ImmutableSandboxedEnvironment(
            loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, extensions=extensions
        )
        environment.filters["tojson"] = to_json
        environment.globals["omit"] = OMIT
        return environment

    def _evaluate(self, environment: ImmutableSandboxedEnvironment, name: str, variables: Mapping[str, Value]) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            return environment.get_template(name + ENDING).render(variables)
        except TemplateSyntaxError as error:
            place = self.place(Path(error.filename or name + ENDING).name, error.lineno)
            raise UserError(f"template `{name}`: {str(error.message).rstrip('.')}", place=place) from error
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            place = self._raised_at(error, name)
            raise TemplateFailed(name, error, place, _hint(error, variables)) from error

    def _raised_at(self, error: BaseException, name: str) -> Place:
        """The innermost template line of a traceback: Jinja gives its frames the template's file and line."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
        if not frames:
            return self.place(name + ENDING, 0)
        return self.place(Path(frames[-1].filename).name, frames[-1].lineno or 0)


class TemplateFailed(UserError):
    """A template that could not be evaluated; `undefined`: because of a name in it, not of a value."""

    def __init__(self, template: str, error: BaseException, place: Place, hint: str | None) -> None:
        super().__init__(f"template `{template}`: {str(error).rstrip('.')}", place=place, hint=hint)
        self.template = template
        self.undefined = UNDEFINED.search(str(error)) is not None


def _hint(error: BaseException, variables: Iterable[str]) -> str | None:
    undefined = UNDEFINED.search(str(error))
    if undefined is None:
        return None
    return did_you_mean(undefined[1], variables) or "declare it in the template's first comment"
