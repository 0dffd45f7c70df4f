"""The decision on a node: the goal, what is there, and the changes between them, ready to be shown or done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

from cni_provision.node import observe
from cni_provision.node.generation import Generation, History
from cni_provision.node.goal import Goal, goal_of, reclaimed, with_shared_directories
from cni_provision.node.protocol import Request
from cni_provision.plan import HIDDEN, Change, Live, State, owned_after, plan, same


@dataclass(frozen=True)
class Proposal:
    """`current`: the owner's record; `others`: key → who else owns it; `owned`: what is ours afterwards."""

    current: Generation
    others: Mapping[str, Generation]
    goal: Goal
    observed: dict[str, State]
    changes: tuple[Change, ...]
    owned: tuple[str, ...]

    @property
    def fingerprints(self) -> dict[str, Optional[str]]:
        """What was read, for a later `expect`."""
        return {key: observe.fingerprint(self.observed.get(key)) for key in sorted(self.goal.keys)}

    @property
    def settled(self) -> bool:
        """There is nothing to do, and the record says so already."""
        image = self.after_image
        recorded = {key: self.current.states[key] for key in image if key in self.current.states} == image
        return (
            not self.changes
            and recorded
            and self.owned == self.current.owned
            and self.incomplete == self.current.incomplete
        )

    @property
    def incomplete(self) -> bool:
        """What an interrupted run left undone is still so where the goal is narrower than what is ours."""
        narrowed = {*self.current.owned} - self.goal.keys - {*self.others}
        return self.current.incomplete and bool(narrowed)

    @property
    def after_image(self) -> dict[str, Optional[State]]:
        """Every key of the goal as it will be, without the directories that were there before us."""
        wanted = {**self.goal.returns, **self.goal.desired}
        done = {change.key: change.after for change in self.changes}
        kept = {key: self.observed.get(key) for key in wanted if key not in self.goal.desired}
        ours = {key: state for key, state in self.goal.desired.items() if key in self.owned}
        return {**kept, **ours, **done}

    @property
    def found(self) -> dict[str, Optional[State]]:
        """What each key of the after-image was before any of us touched it."""
        now = {key: self._found_now(key) for key in self.after_image}
        return {**now, **{key: state for key, state in self.current.found.items() if not self._refilled(key)}}

    def _refilled(self, key: str) -> bool:
        """Whether somebody else has filled since what we let go, so that it is theirs that we find now."""
        if key not in self.after_image or key in self.current.owned or key in self.others:
            return False
        return not same(self.observed.get(key), self.current.states.get(key))

    def _found_now(self, key: str) -> Optional[State]:
        return self.others[key].found.get(key) if key in self.others else self.observed.get(key)


def propose(request: Request, history: History) -> Proposal:
    """Compare what is asked with what is here; raises `Failure` for what cannot be understood."""
    current, others = history.of(request.owner), history.others(request.owner)
    goal = goal_of(request, history)
    observed = observe.states(_references(request, goal, current))
    goal = with_shared_directories(reclaimed(goal, observed, current), observed, current, others)
    changes = without_used(plan(goal.desired, observed, goal.returns))
    directories = {key for key in goal.desired if key in others}
    narrowed = {key for key in current.owned if key not in goal.keys and key not in others}
    owned = {*owned_after(goal.desired, observed, {*goal.returns, *directories}), *narrowed}
    return Proposal(current, others, goal, observed, changes, tuple(sorted(owned)))


def without_used(changes: list[Change]) -> tuple[Change, ...]:
    """The changes but those that would remove a directory in which somebody else has something."""
    going = {change.key.partition(":")[2] for change in changes if change.after is None}
    used = set()
    for change in changes:
        path = change.key.partition(":")[2]
        if path in going and change.kind == "directory" and not _holds_only(path, going):
            going.remove(path)
            used.add(change)
    return tuple(change for change in changes if change not in used)


def _holds_only(path: str, going: set[str]) -> bool:
    return all(f"{path}/{name}" in going for name in observe.listed(path))


def _references(request: Request, goal: Goal, current: Generation) -> dict[str, State]:
    """What to look at, and as what: by the goal, the record, or by the folder of what is pruned."""
    known = {key: current.states.get(key) or current.found.get(key) for key in goal.returns}
    pruned = observe.references(goal.pruned, {request.bin_dir: "plugin", request.conf_dir: "conflist"})
    states = {**pruned, **{key: state for key, state in known.items() if state is not None}}
    states |= {key: state for key, state in goal.returns.items() if state is not None}
    secret = {*goal.secret, *current.secret}
    return {key: _covered(state) if key in secret else state for key, state in {**states, **goal.desired}.items()}


def _covered(reference: State) -> State:
    """What is secret is looked at as such, also where it is to return to a value that never was."""
    return replace(reference, value=HIDDEN) if isinstance(reference, Live) else reference
