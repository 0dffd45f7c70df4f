"""Jinja as Ansible uses it for variables: sandboxed, strict, native types, a closed list of filters.

Only this module and `filters` import jinja2, and only `scope` imports them, when a template is used.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from cni_provision.errors import NeedsAnsible
from cni_provision.inventory import filters
from cni_provision.inventory.complaints import did_you_mean
from cni_provision.inventory.lazy import LazyMapping, LazySequence, plain
from cni_provision.inventory.located import OMIT

READER_HINT = "for what only Ansible has, add `--reader ansible`"
# Not deterministic, bound to HTML, or different in Ansible.
REFUSED = frozenset({"random", "xmlattr", "urlize", "pprint", "groupby", "forceescape", "safe"})
LAZY = frozenset({"map", "select", "selectattr", "reject", "rejectattr", "batch", "slice", "unique"})
GLOBALS = ("range", "dict", "cycler", "joiner", "namespace")


class Undefined(StrictUndefined):
    """An undefined value: any use but `default` and `is defined` fails; attributes of it are undefined too.

    `fault` is what made it undefined, where that is another variable's template.
    """

    fault: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> Undefined:  # type: ignore[override]
        return self

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"`{self._undefined_name}` is not defined"
        return f"there is no `{self._undefined_name}` in this value"

    def is_method(self) -> bool:
        """Whether a list or dictionary of Python, which Ansible's values are, would have this attribute."""
        owner, name = self._undefined_obj, str(self._undefined_name)
        python = dict if isinstance(owner, LazyMapping) else list if isinstance(owner, LazySequence) else None
        return python is not None and not name.startswith("_") and hasattr(python, name)

    def known(self) -> list[str]:
        """The names that would have been right, for a hint."""
        owner = self._undefined_obj
        return [str(key) for key in owner] if isinstance(owner, Mapping) else []

    def _fail_with_undefined_error(self, *args: Any, **kwargs: Any) -> Any:
        if self.fault:
            raise self.fault
        if self._undefined_exception is SecurityError or self.is_method():
            raise SecurityError(f"`{self._undefined_name}` of a list or mapping")
        raise UndefinedName(self._undefined_message, self)

    __str__ = __len__ = __iter__ = __eq__ = __ne__ = __bool__ = __hash__ = _fail_with_undefined_error
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __contains__ = _fail_with_undefined_error
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _fail_with_undefined_error
    __pos__ = __neg__ = __call__ = __lt__ = __le__ = __gt__ = __ge__ = __int__ = _fail_with_undefined_error
    __float__ = __complex__ = __pow__ = __rpow__ = _fail_with_undefined_error


class UndefinedName(jinja2.UndefinedError):
    """An undefined value was used."""

    def __init__(self, message: str, value: Undefined) -> None:
        super().__init__(message)
        name = value._undefined_name
        self.name = name if isinstance(name, str) else None
        self.known = value.known()


class Generator(NativeCodeGenerator):
    """Keeps the type of constant expressions: `{{ 5 }}` is a number, `{{ '5' }}` is text."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> Any:
        if isinstance(node, nodes.TemplateData):
            return node.as_const(frame.eval_ctx)
        raise nodes.Impossible


def joined(values: Iterable[Any]) -> Any:
    """One output keeps its type, several become text; None is no output."""
    outputs = [value for value in values if value is not None]
    if len(outputs) == 1:
        only = outputs[0]
        return list(only) if isinstance(only, types.GeneratorType) else only
    return "".join(as_text(value) for value in outputs) if outputs else None


def as_text(value: Any) -> str:
    if value is None or value is OMIT:
        return ""
    return value if isinstance(value, str) else str(value if isinstance(value, jinja2.Undefined) else plain(value))


class Environment(ImmutableSandboxedEnvironment):
    """What the templates of an inventory may use."""

    code_generator_class = Generator
    concat = staticmethod(joined)

    def __init__(self, lookups: filters.Lookups) -> None:
        super().__init__(undefined=Undefined, trim_blocks=True, keep_trailing_newline=False, optimized=False)
        self.filters = available_filters()
        self.globals = {name: self.globals[name] for name in GLOBALS}
        self.globals |= {"lookup": lookups.lookup, "query": lookups.query, "q": lookups.query}
        self.policies["json.dumps_function"] = filters.to_json


class Names(Mapping[str, Any]):
    """What a template finds by name: the node's variables, then Jinja's and our functions."""

    def __init__(self, resolve: Callable[[str], Any], functions: Mapping[str, Any]) -> None:
        self._resolve = resolve
        self._functions = functions

    def __getitem__(self, name: str) -> Any:
        value = self._resolve(name)
        if value is not missing:
            return value
        return self._functions[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions or self._resolve(str(name)) is not missing

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


class Engine:
    """Compiles each template text once and evaluates it for any node.

    `met_secret` is told of each secret that is looked up.
    """

    def __init__(self, met_secret: Callable[[], None]) -> None:
        self.environment = Environment(filters.Lookups(met_secret))
        self.compiled: dict[str, jinja2.Template] = {}

    def evaluate(self, text: str, resolve: Callable[[str], Any]) -> Any:
        """The value of a template. Raises jinja2.TemplateError, NeedsAnsible and whatever a filter raises."""
        template = self.compile(text)
        names = Names(resolve, self.environment.globals)
        context = Context(self.environment, names, template.name, template.blocks)  # type: ignore[arg-type]
        value = joined(template.root_render_func(context))
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()
        if not isinstance(value, str):
            return value
        newlines = len(text) - len(text.rstrip("\n"))
        return value + "\n" * (newlines - (len(value) - len(value.rstrip("\n"))))

    def compile(self, text: str) -> jinja2.Template:
        if text not in self.compiled:
            try:
                self.compiled[text] = self.environment.from_string(literal_backslashes(self.environment, text))
            except jinja2.TemplateAssertionError as error:
                raise self.stranger(error) from error
        return self.compiled[text]

    def stranger(self, error: Exception) -> NeedsAnsible:
        """An unknown filter or test, with the known one that is close."""
        word = str(error).partition("'")[2].partition("'")[0]
        near = did_you_mean(word, self.environment.filters)
        kind = "test" if str(error).startswith("No test") else "filter"
        return NeedsAnsible(
            f"there is no {kind} `{word}` here", hint=f"{near} {READER_HINT}" if near else READER_HINT
        )

    def names(self, text: str) -> list[str]:
        """The variables that a template names."""
        return sorted(meta.find_undeclared_variables(self.environment.parse(text)))

    def undefined(self, name: str, fault: Exception) -> Undefined:
        """An undefined value that fails with `fault` when it is used."""
        value = Undefined(name=name)
        value.__dict__["fault"] = fault
        return value


def available_filters() -> dict[str, Callable[..., Any]]:
    """Jinja's filters and the closed list of Ansible's, those under their full names too."""
    own = dict(filters.FILTERS)
    for name, function in filters.FILTERS.items():
        collection = "ansible.utils" if name in filters.NETWORK else "ansible.builtin"
        own[f"{collection}.{name}"] = function
    taken = {name: function for name, function in FILTERS.items() if name not in REFUSED}
    return {name: unrolled(function) if name in LAZY else function for name, function in taken.items()} | own


def unrolled(function: Callable[..., Iterable[Any]]) -> Callable[..., list[Any]]:
    """A filter of Jinja that gives a list instead of a generator."""

    @functools.wraps(function)
    def listed(*args: Any, **kwargs: Any) -> list[Any]:
        return list(function(*args, **kwargs))

    return listed


def literal_backslashes(environment: jinja2.Environment, text: str) -> str:
    """In Ansible, a backslash in a text literal of a template is a backslash."""
    if "\\" not in text:
        return text
    tokens = environment.lex(text)
    return "".join(value.replace("\\", "\\\\") if kind == "string" else value for _, kind, value in tokens)
