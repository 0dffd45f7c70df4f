"""Mistakes and warnings as they are found, so that a run reports all of them at once."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cni_provision.errors import Diagnostic, Mistakes, NeedsAnsible, Place, UserError
from cni_provision.inventory.hiding import Hiding
from cni_provision.inventory.located import Located, Spot

Key = tuple[Place | None, str]
Related = tuple[tuple[Place, str], ...]


@dataclass
class Complaints:
    """Collects diagnostics; the same rule broken at the same place is one, however many nodes it hits.

    `rule` names what was broken where the message differs between nodes (a templated address). `node` is the one
    that is being read, `explain` finds the variables behind a templated value of it. `hiding` is told of every secret
    in the course of time, so that what is told in the end is without them.
    """

    errors: dict[Key, Diagnostic] = field(default_factory=dict)
    warnings: dict[Key, Diagnostic] = field(default_factory=dict)
    needs: dict[Key, Diagnostic] = field(default_factory=dict)
    nodes: dict[Key, set[str]] = field(default_factory=dict)
    node: str | None = None
    explain: Callable[[Located], Related] | None = None
    hiding: Hiding = field(default_factory=Hiding)

    def error(
        self,
        message: str,
        at: Spot | Located | None = None,
        hint: str | None = None,
        rule: str = "",
        related: Related = (),
        on: str | None = None,
    ) -> None:
        """Something that the user must mend; `on` names the node if it matters which."""
        spot = at.spot if isinstance(at, Located) else at
        node = on
        if isinstance(at, Located) and at.origin:
            node = on or self.node
            related = related or (self.explain(at) if self.explain else ())
        self._keep(self.errors, message, spot, hint, rule, related, node)

    def warning(self, message: str, at: Spot | None, hint: str | None = None) -> None:
        """Something that is used as it stands, and may surprise."""
        self._keep(self.warnings, message, at, hint, "", (), None)

    def caught(self, error: UserError) -> None:
        """A mistake that was raised."""
        kind = self.needs if isinstance(error, NeedsAnsible) else self.errors
        for diagnostic in error.diagnostics:
            spot = Spot(diagnostic.place, diagnostic.width) if diagnostic.place else None
            self._keep(kind, diagnostic.message, spot, diagnostic.hint, "", diagnostic.related, self.node)

    def _keep(
        self,
        kind: dict[Key, Diagnostic],
        message: str,
        spot: Spot | None,
        hint: str | None,
        rule: str,
        related: Related,
        node: str | None,
    ) -> None:
        place, width = (spot.place, spot.width) if spot else (None, 1)
        key = (place, rule or message)
        severity = "warning" if kind is self.warnings else "error"
        kind.setdefault(key, Diagnostic(message, place, hint, node, width, severity, related))
        if node:
            self.nodes.setdefault(key, set()).add(node)

    def has(self, located: Located) -> bool:
        """Whether something is wrong at the very place of a value."""
        return any(place == located.place and place.line for place, _ in (*self.errors, *self.needs) if place)

    def told_warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings in order of place."""
        return in_order(self.hiding.all_of(self.warnings.values()))

    def raise_any(self) -> None:
        """Raise `NeedsAnsible` if that is all there is, `Mistakes` if there is anything else."""
        if not self.errors and self.needs:
            needs = in_order(self._told(key, item) for key, item in self.needs.items())
            raise NeedsAnsible(needs[0].message, place=needs[0].place, hint=needs[0].hint, found=needs)
        found = [self._told(key, item) for kind in (self.errors, self.needs) for key, item in kind.items()]
        if found:
            raise Mistakes(in_order(found))

    def _told(self, key: Key, diagnostic: Diagnostic) -> Diagnostic:
        diagnostic = self.hiding.of(diagnostic)
        others = len(self.nodes.get(key, ())) - 1
        if others < 1:
            return diagnostic
        text = f"{diagnostic.message} (and on {others} more node{'s' if others > 1 else ''})"
        return dataclasses.replace(diagnostic, message=text)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sorted by place, those without one first."""
    return tuple(sorted(diagnostics, key=lambda item: (item.place is not None, item.place or Place(""))))


def did_you_mean(word: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """A hint that names the closest known word, None if nothing is close."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return f"did you mean `{near[0]}`?" if near else None
