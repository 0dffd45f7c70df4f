"""A node's variables, evaluated when they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cni_provision.errors import Diagnostic, NeedsAnsible, Place, UserError
from cni_provision.inventory.complaints import did_you_mean
from cni_provision.inventory.connection import CONNECTION_VARIABLES
from cni_provision.inventory.hiding import Hiding, unquoted
from cni_provision.inventory.lazy import LazyMapping, LazySequence, plain, settled
from cni_provision.inventory.located import BROKEN, OMIT, VAULTED, Failed, Located, locate
from cni_provision.inventory.model import Value
from cni_provision.inventory.settings import READER_HINT
from cni_provision.inventory.varsfiles import Sealed

if TYPE_CHECKING:
    from cni_provision.inventory.template import Engine

# Known to Ansible only while it runs tasks.
FACTS = frozenset({"playbook_dir", "role_path", "role_name", "play_hosts", "vars", "environment"})
NODE_INDEX = "node_index"


class TemplateFault(UserError):
    """A template that has no value; `related` are the places that led to it."""

    def __init__(self, message: str, at: Located, hint: str | None = None, *, undefined: bool = False) -> None:
        super().__init__(message, place=at.place, hint=hint)
        self.spot = at.spot
        self.undefined = undefined
        self.related: list[tuple[Place, str]] = []

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        related = tuple(self.related)
        return (Diagnostic(self.message, self.place, self.hint, width=self.spot.width, related=related),)


@dataclass
class Taint:
    """Whether the values that are being evaluated, the outermost first, have met a secret.

    A template whose evaluation met one gives a secret, whatever it does with it; `hiding` gets to know all of them.
    """

    open: list[bool] = field(default_factory=list)
    hiding: Hiding = field(default_factory=Hiding)

    def meet(self, value: Any = None) -> None:
        """The value that is being evaluated has met a secret, `value` if it is at hand."""
        self.hiding.add(value)
        if self.open:
            self.open[-1] = True

    @property
    def met(self) -> bool:
        """Whether the value that is being evaluated has met a secret until now."""
        return bool(self.open) and self.open[-1]

    def begin(self) -> None:
        self.open.append(False)

    def end(self) -> bool:
        """Whether the value that began last met a secret; then so did the one around it."""
        met = self.open.pop()
        if met:
            self.meet()
        return met


@dataclass
class Fleet:
    """What all nodes' templates share: the hosts in order, the groups, and each host's scope."""

    hosts: Mapping[str, int]
    groups: Mapping[str, Sequence[str]]
    variables: Callable[[str], Sealed]
    group_names: Callable[[str], list[str]]
    playbook_dir: str | None = None
    scopes: dict[tuple[str, bool], Scope] = field(default_factory=dict)
    taint: Taint = field(default_factory=Taint)

    @cached_property
    def engine(self) -> Engine:
        """Jinja, imported when the first template is met."""
        from cni_provision.inventory.template import Engine

        return Engine(self.taint.meet)

    def scope(self, name: str, *, foreign: bool = False) -> Scope:
        """The scope of a host, `foreign` as `hostvars` shows it. Raises KeyError for a name that is not there."""
        if (name, foreign) not in self.scopes:
            if name not in self.hosts:
                raise KeyError(name)
            self.scopes[name, foreign] = Scope(name, self, self.variables(name), foreign=foreign)
        return self.scopes[name, foreign]


class Evaluated(Mapping[str, Any]):
    """The variables of one node, each evaluated when it is read, by `read`. Raises UserError then.

    `met_secret`: a variable that is, or holds, something vaulted or from the environment was read.
    """

    __slots__ = ("_read", "_scope", "met_secret")

    def __init__(self, scope: Scope, read: Callable[[str], Any]) -> None:
        self._scope = scope
        self._read = read
        self.met_secret = False

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        self._scope.fleet.taint.begin()
        try:
            return self._read(name)
        finally:
            self.met_secret |= self._scope.fleet.taint.end()

    def __contains__(self, name: object) -> bool:
        return name in self._scope.sealed.variables or name in MAGIC

    def __iter__(self) -> Iterator[str]:
        yield from self._scope.sealed.variables
        yield from (name for name in MAGIC if name not in self._scope.sealed.variables)

    def __len__(self) -> int:
        return len(self._scope.sealed.variables.keys() | MAGIC.keys())

    def __repr__(self) -> str:
        return f"<variables of {self._scope.name}>"


class HostVars(Mapping[str, Evaluated]):
    """`hostvars`: every host's variables, as templates see them."""

    __slots__ = ("_fleet",)

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __getitem__(self, name: str) -> Evaluated:
        scope = self._fleet.scope(name, foreign=True)
        return Evaluated(scope, scope.resolve)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fleet.hosts)

    def __len__(self) -> int:
        return len(self._fleet.hosts)


@dataclass
class Scope:
    """One node's variables and what they evaluate to; in a `foreign` one, as in Ansible's, there is no `hostvars`."""

    name: str
    fleet: Fleet
    sealed: Sealed
    foreign: bool = False
    known: dict[int, tuple[Located, Any, bool]] = field(default_factory=dict)
    active: dict[int, Located] = field(default_factory=dict)

    @property
    def evaluated(self) -> Evaluated:
        """The plain values, for conflist templates."""
        return Evaluated(self, self.variable)

    def settle(self, located: Located, failed: Callable[[UserError], None] | None = None) -> Located:
        """The value with everything evaluated; templates keep their place.

        Raises UserError, or tells `failed` of each and leaves a broken value there.
        """
        if not located.dynamic:
            return located
        if isinstance(located.value, dict):
            children = {key: self.settle(child, failed) for key, child in located.value.items()}
            children = {key: child for key, child in children.items() if child.value is not OMIT}
            return Located(children, located.place, located.width, located.keys)
        if isinstance(located.value, list):
            items = [self.settle(item, failed) for item in located.value]
            return Located([item for item in items if item.value is not OMIT], located.place, located.width)
        try:
            return self.settle_text(located)
        except UserError as error:
            if failed is None:
                raise
            failed(error)
            return Located(BROKEN, located.place, located.width)

    def settle_text(self, located: Located) -> Located:
        """A template whose value is a container of the inventory gives that, with the places it has."""
        self.fleet.taint.begin()
        try:
            value = self.evaluate(located)
            found = settled(value)
            value = None if found else plain(value)
        except UserError as error:
            raise self.traced(error, located) from self.cause(error)
        except Exception as error:
            raise self.failure(error, located) from self.cause(error)
        finally:
            secret = self.fleet.taint.end()
        if secret:
            self.fleet.taint.hiding.add(value)
        return found or locate(value, located, secret=secret)

    def cause(self, error: Exception) -> Exception | None:
        """The exception behind an error of a template, unless it may tell a secret."""
        return None if self.fleet.taint.met else error

    def variable(self, name: str) -> Value:
        """The plain value of a variable. Raises KeyError, UserError."""
        if self.is_magic(name):
            return plain(self.magic(name)) if name != "hostvars" else self.magic(name)
        found = self.settle(self.sealed.variables[name])
        if found.value is OMIT:
            raise TemplateFault("the value is `omit`, which leaves out keys and items only", found)
        if any(True for _ in found.secrets()):
            self.fleet.taint.meet()
        return found.plain

    def is_magic(self, name: str) -> bool:
        """Ansible's own variables cannot be set; ours gives way to a variable of that name."""
        if name == "hostvars" and self.foreign:
            return False
        return name in MAGIC and not (name == NODE_INDEX and name in self.sealed.variables)

    def evaluate(self, located: Located) -> Any:
        """A value as templates see it: containers are lazy."""
        if isinstance(located.value, dict):
            return LazyMapping(located, self)
        if isinstance(located.value, list):
            return LazySequence(located, self)
        if located.value is VAULTED:
            raise NeedsAnsible("the value is vaulted", place=located.place, hint=READER_HINT)
        if isinstance(located.value, Failed):
            raise TemplateFault(located.value.message, located)
        if not located.template:
            value, secret = located.value, located.secret
        else:
            value, secret = self.rendered(located)
        if secret:
            self.fleet.taint.meet(value)
        return value

    def rendered(self, located: Located) -> tuple[Any, bool]:
        """The value of a template and whether it is secret, evaluated once. Raises TemplateFault, NeedsAnsible."""
        if id(located) not in self.known:
            if id(located) in self.active:
                raise self.cycle(located)
            self.active[id(located)] = located
            self.fleet.taint.begin()
            try:
                value = self.render(located)
            finally:
                secret = self.fleet.taint.end()
                del self.active[id(located)]
            self.known[id(located)] = (located, value, secret)
        return self.known[id(located)][1:]

    def render(self, located: Located) -> Any:
        try:
            return self.fleet.engine.evaluate(located.value, self.resolve)
        except UserError as error:
            raise self.traced(error, located) from self.cause(error)
        except Exception as error:
            raise self.failure(error, located) from self.cause(error)

    def resolve(self, name: str) -> Any:
        """What a template finds by a name: a variable of this node, or Jinja's `missing`."""
        from jinja2.utils import missing

        self.refuse_sealed()
        if self.is_magic(name):
            return self.magic(name)
        if name == "playbook_dir" and self.fleet.playbook_dir:
            return self.fleet.playbook_dir
        located = self.sealed.variables.get(name)
        if located is None:
            return self.unknown(name, missing)
        return self.used(located, name)

    def used(self, located: Located, name: object) -> Any:
        """A value as templates see it; where its own template is undefined, so is it."""
        try:
            return self.evaluate(located)
        except TemplateFault as fault:
            if not fault.undefined:
                raise
            return self.fleet.engine.undefined(str(name), fault)

    def refuse_sealed(self) -> None:
        """With a vaulted file among the sources, nothing is known for sure."""
        for place in self.sealed.places:
            raise NeedsAnsible("a file of variables is vaulted", place=place, hint=READER_HINT)

    def unknown(self, name: str, missing: object) -> object:
        """Undefined, unless it is something that Ansible would know."""
        if name in FACTS or (name.startswith("ansible_") and name not in CONNECTION_VARIABLES):
            raise NeedsAnsible(f"`{name}` is known only while Ansible runs", hint=READER_HINT)
        return missing

    def magic(self, name: str) -> Any:
        """One of Ansible's own variables, or ours; None for any other name."""
        return MAGIC[name](self) if name in MAGIC else None

    def cycle(self, located: Located) -> TemplateFault:
        """The variables that need each other."""
        chain = list(self.active.values())
        loop = chain[chain.index(located) :]
        names = [self.name_of(item) or item.value for item in (*loop, located)]
        return TemplateFault("the value needs itself: " + " → ".join(f"`{name}`" for name in names), located)

    def name_of(self, located: Located) -> str | None:
        """The variable whose whole value this is."""
        return next((name for name, value in self.sealed.variables.items() if value is located), None)

    def traced(self, error: UserError, located: Located) -> UserError:
        """The same error, at its own place if it has one, with the templates that led there."""
        if isinstance(error, NeedsAnsible) and error.place is None:
            message = unquoted(error.message) if self.fleet.taint.met else error.message
            found = Diagnostic(message, located.place, error.hint, width=located.width)
            return NeedsAnsible(message, place=located.place, hint=error.hint, found=(found,))
        if isinstance(error, TemplateFault) and error.place != located.place:
            step = (located.place, "needed here")
            if step not in error.related:
                error.related.append(step)
        return error

    def failure(self, error: Exception, located: Located) -> UserError:
        """What a template's exception is to the user; a filter or test that is met late may only be Ansible's."""
        if type(error).__name__ == "TemplateRuntimeError" and str(error).startswith(("No filter", "No test")):
            return self.traced(self.fleet.engine.stranger(error), located)
        if type(error).__name__ == "SecurityError":
            return self.traced(NeedsAnsible(f"only Ansible does this: {error}", hint=READER_HINT), located)
        return self.fault(error, located)

    def fault(self, error: Exception, located: Located) -> TemplateFault:
        """What Jinja or a filter said, at the template."""
        name = getattr(error, "name", None)
        if type(error).__name__ == "UndefinedName":
            if name == "hostvars":
                return TemplateFault(
                    "a variable that another node sees through `hostvars` cannot use `hostvars`",
                    located,
                    undefined=True,
                )
            if self.fleet.taint.met and name not in located.value:
                return TemplateFault("something that the template names by a secret is not defined", located)
            known = getattr(error, "known", ()) or (*self.sealed.variables, *MAGIC)
            hint = did_you_mean(name, known) if name else None
            return TemplateFault(str(error), located, hint, undefined=True)
        if type(error).__name__ == "TemplateSyntaxError":
            return TemplateFault(f"bad template: {error}", located)
        if self.fleet.taint.met:
            return TemplateFault(f"the template fails on a secret ({type(error).__name__})", located)
        return TemplateFault(f"the template fails: {error}", located)

    def related(self, located: Located) -> tuple[tuple[Place, str], ...]:
        """The variables that a template's value came from, for an error about that value."""
        origin = located.origin
        if origin is None or not origin.template:
            return ()
        names = self.fleet.engine.names(origin.value)
        found = ((name, self.sealed.variables.get(name)) for name in names)
        return tuple((value.place, f"`{name}` is set here") for name, value in found if value)


def short_name(name: str) -> str:
    """The host name up to its first dot; addresses stay whole."""
    return name if name.replace(".", "").isdigit() or ":" in name else name.partition(".")[0]


# `node_index` is ours: the position among all nodes of the inventory, from 0, whatever the limit.
MAGIC: dict[str, Callable[[Scope], Any]] = {
    "inventory_hostname": lambda scope: scope.name,
    "inventory_hostname_short": lambda scope: short_name(scope.name),
    "group_names": lambda scope: scope.fleet.group_names(scope.name),
    "groups": lambda scope: scope.fleet.groups,
    "hostvars": lambda scope: HostVars(scope.fleet),
    NODE_INDEX: lambda scope: scope.fleet.hosts[scope.name],
    "omit": lambda scope: OMIT,
}
