"""A problem in a rendered conflist → the inventory's value behind it and the template's line that wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cni_provision.conflist_shape import Problem
from cni_provision.errors import Diagnostic, Place, UserError
from cni_provision.inventory.model import Network, Path, Value
from cni_provision.render_template import ENDING, Templates

LITERAL = "raw"  # its parameter `plugins` is the conflist's own list: paths are the same
OF_THE_NETWORK: Mapping[Path, Path] = {("name",): ("name",), ("cniVersion",): ("cni_version",)}


class DoubleKey(ValueError):
    """A key that stands twice in one object, which JSON readers take in different ways."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key `{key}` stands twice")
        self.key = key


@dataclass(frozen=True)
class Mistake:
    """A problem of one rendering: `path` is below the network's declaration, None where that is not to blame."""

    problem: Problem
    path: Path | None
    template_place: Place | None = None

    def diagnostic(self, network: Network, node: str | None) -> Diagnostic:
        """The mistake at the place that this network's inventory has for it."""
        path = self.path or ()
        key = network.key_places.get(path) if self.problem.at_key else None
        here = key or place_of(network, path)
        place, related = here, self.template_place
        note = f"template `{network.template}` writes it here"
        width = _width(network, self.path, self.problem)
        if self.path is None and self.template_place is not None:
            place, related, note, width = self.template_place, here, f"used by network `{network.name}` here", 1
        beside = ((related, note),) if related else ()
        return Diagnostic(self.problem.message, place, self.problem.hint, node, width, self.problem.severity, beside)


def place_of(network: Network, path: Path) -> Place | None:
    """Where the value at `path` below a network stands, or the nearest that holds it."""
    for length in range(len(path), 0, -1):
        if path[:length] in network.places:
            return network.places[path[:length]]
    return network.place


def _width(network: Network, path: Path | None, problem: Problem) -> int:
    """How many columns the value at fault takes; 1 where its place is only the nearest that is known."""
    if path is None or path not in network.places:
        return 1
    if problem.at_key:
        return len(str(path[-1])) if path in network.key_places else 1
    value: Value = {"parameters": network.parameters, "plugins": network.plugins}
    found = resolve(value, path)
    return len(str(found)) if isinstance(found, str | int | float) else 1


def resolve(value: Value, path: Path) -> Value:
    """What stands at `path` below `value`; None if nothing does."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def of_parameter(network: Network, path: Path) -> Path:
    """A path below the parameters as one below the network; a literal list stands beside them."""
    return path if path[:1] == ("plugins",) and network.plugins else ("parameters", *path)


@dataclass(frozen=True)
class Attempt:
    """A template as it was evaluated once: with which variables, which of them the inventory gave, and the text."""

    templates: Templates
    template: str
    network: Network
    variables: Mapping[str, Value]
    given: Mapping[str, Value]
    text: str
    secret: bool

    def not_json(self, error: ValueError) -> Mistake:
        """Text that is not JSON, shown at the template's line, with the rendered line as the hint."""
        written = self.text.rstrip()
        if not written:
            return Mistake(Problem((), f"template `{self.template}` gives no text"), None, self._place(()))
        offset = min(error.pos, len(written) - 1) if isinstance(error, json.JSONDecodeError) else 0
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        if isinstance(error, DoubleKey):
            offset = written.rfind(json.dumps(error.key))
        line = written.splitlines()[written.count("\n", 0, offset)].strip()
        problem = Problem(
            (),
            f"template `{self.template}` does not give JSON: {reason}",
            None if self.secret else f"it gave `{line}`",
        )
        return Mistake(problem, None, self._place(self._lines(offset)))

    def mistakes(self, problems: Sequence[Problem]) -> tuple[Mistake, ...]:
        """The problems of the document that the text holds."""
        if self.template == LITERAL:
            return tuple(Mistake(problem, self._exact(problem.path)) for problem in problems)
        from cni_provision.render_trace import spots

        positions = spots(self.text)
        found = []
        for problem in problems:
            known = next(problem.path[:n] for n in range(len(problem.path), -1, -1) if problem.path[:n] in positions)
            spot = positions[known]
            offset = spot.key if problem.at_key and spot.key is not None else spot.value
            lines = self._lines(offset)
            found.append(Mistake(problem, self._origin(problem, lines), self._place(lines)))
        return tuple(found)

    def _exact(self, path: Path) -> Path:
        return OF_THE_NETWORK.get(path) or of_parameter(self.network, path)

    def _origin(self, problem: Problem, lines: Sequence[tuple[str, int]]) -> Path | None:
        from cni_provision.render_trace import origin

        sources = [self.templates.line(name, number) for name, number in lines]
        value = resolve(json.loads(self.text), problem.path)
        declared: dict[Path, Value] = {("name",): self.network.name, ("cniVersion",): self.network.cni_version}
        if problem.path in declared and value == declared[problem.path]:
            return OF_THE_NETWORK[problem.path]
        path = origin(problem.path, value, sources, self.given, at_key=problem.at_key)
        return of_parameter(self.network, path) if path else None

    def _lines(self, offset: int) -> tuple[tuple[str, int], ...]:
        """The template lines that wrote an offset; none if the template does not bear marks in its text."""
        try:
            trace = self.templates.trace(self.template, self.variables)
        except UserError:
            return ()
        return trace.lines_at(offset) if trace.text == self.text else ()

    def _place(self, lines: Sequence[tuple[str, int]]) -> Place:
        return self.templates.place(*lines[-1]) if lines else self.templates.place(self.template + ENDING, 0)
