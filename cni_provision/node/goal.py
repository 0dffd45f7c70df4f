"""What a request is after: the states that shall be, and what everything else of the owner returns to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from cni_provision.node import live, observe
from cni_provision.node.failure import Failure
from cni_provision.node.generation import Generation, History
from cni_provision.node.protocol import Reload, Request
from cni_provision.plan import File, State, with_directories

PARTS: dict[str, set[str]] = {
    "plugins": {"plugin", "service", "unit"},
    "conflists": {"conflist"},
    "kernel": {"file", "module", "sysctl"},
    "verify": set(),
}


@dataclass(frozen=True)
class Goal:
    """`desired` states; what each further key `returns` to (every owned key is in it).

    `secret`: keys whose bytes are never shown. `pruned`: keys that are not ours and leave by the user's word.
    """

    desired: dict[str, State]
    returns: dict[str, Optional[State]]
    reloads: tuple[Reload, ...] = ()
    secret: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    rollback_of: Optional[int] = None
    verify: Optional[dict[str, Any]] = None  # what proved the generation that is returned to

    @property
    def keys(self) -> set[str]:
        return {*self.desired, *self.returns}


def verb_of(request: Request) -> str:
    """apply, rollback or remove; a `plan` names the one that it is of in `work["of"]`."""
    return str(request.work.get("of", "apply")) if request.verb == "plan" else request.verb


def goal_of(request: Request, history: History) -> Goal:
    """The goal of the request's verb; raises `Failure` when it names what is not here."""
    verb = verb_of(request)
    if verb == "rollback":
        goal = _rollback(request, history)
    elif verb == "remove":
        goal = _return_to(history.get(request.owner, 0), history.of(request.owner))
    else:
        goal = _declared(request, history)
    goal = _without_others(goal, history.others(request.owner))
    return _without_units(_only(request, goal, history.of(request.owner)))


def _declared(request: Request, history: History) -> Goal:
    current = history.of(request.owner)
    desired = {**request.desired, **_variant(request)}
    returns = {key: _undesired(key, current) for key in current.owned}
    secret = tuple(name if ":" in name else f"file:{name}" for name in request.secret)
    pruned = tuple(key for key in _pruned(request) if key not in desired and key not in returns)
    return Goal(desired, {**returns, **dict.fromkeys(pruned)}, request.reloads, secret, pruned)


def _variant(request: Request) -> dict[str, State]:
    """What is for this machine's architecture alone; raises `Failure` where something has no file for it."""
    machine = observe.architecture()
    own = request.variants.get(machine, {})
    if {key for states in request.variants.values() for key in states} - {*request.desired, *own}:
        offered = ", ".join(sorted(request.variants))
        raise Failure(
            f"no plugins for this node's architecture `{machine}` (there are: {offered})",
            hint="add its checksum to `checksums` of the release in `cni_plugins`",
        )
    return own


def _undesired(key: str, current: Generation) -> Optional[State]:
    """A file that is no longer declared goes; a live value becomes what it was before us."""
    return None if key.startswith("file:") else current.found.get(key)


def _pruned(request: Request) -> list[str]:
    return [f"file:{path}" for path in observe.matching(request.prune, request.conf_dir)]


def _rollback(request: Request, history: History) -> Goal:
    if request.generation is None:
        then = history.last_good(request.owner)
    else:
        then = history.get(request.owner, request.generation)
    goal = _return_to(then, history.of(request.owner))
    return replace(goal, rollback_of=then.number, verify=then.verify)


def _return_to(then: Generation, now: Generation) -> Goal:
    desired = {key: state for key in then.owned if (state := then.states.get(key)) is not None}
    returns = {key: _as_then(key, then, now) for key in now.states}
    return Goal(desired, returns, then.reloads, tuple({*then.secret, *now.secret}))


def _as_then(key: str, then: Generation, now: Generation) -> Optional[State]:
    """What stood there then; what somebody else put there since, and we took over, was theirs then as well."""
    ours = key in then.owned or then.found.get(key) == now.found.get(key)
    return then.states.get(key, now.found.get(key)) if ours else now.found.get(key)


def _without_others(goal: Goal, others: Mapping[str, Generation]) -> Goal:
    """What anybody else owns by now is theirs to return."""
    returns = {key: state for key, state in goal.returns.items() if key not in others}
    return replace(goal, returns=returns, pruned=tuple(key for key in goal.pruned if key not in others))


def _only(request: Request, goal: Goal, current: Generation) -> Goal:
    """The goal narrowed to the parts that `--only` names; what is left out stays as it is."""
    if not request.only:
        return goal
    unknown = set(request.only) - set(PARTS)
    if unknown:
        raise Failure(f"`{min(unknown)}` is not a part to apply alone", hint=f"parts: {', '.join(PARTS)}")
    kinds = set().union(*(PARTS[part] for part in request.only))
    desired = {key: state for key, state in goal.desired.items() if state.kind in kinds}
    returns = {key: state for key, state in goal.returns.items() if _kind(key, current) in kinds}
    return replace(goal, desired=desired, returns=returns)


def _kind(key: str, current: Generation) -> str:
    """What is not in the record is a file that a prune pattern named in the configuration folder."""
    state = current.states.get(key) or current.found.get(key)
    return state.kind if state else "conflist"


def _without_units(goal: Goal) -> Goal:
    """Units and what belongs to them count where systemd runs."""
    if live.has_systemd():
        return goal
    desired = {key: state for key, state in goal.desired.items() if state.kind not in ("service", "unit")}
    returns = {key: state for key, state in goal.returns.items() if not key.startswith("unit:")}
    return replace(goal, desired=desired, returns=returns)


def with_shared_directories(
    goal: Goal, observed: Mapping[str, State], current: Generation, others: Mapping[str, Generation]
) -> Goal:
    """The goal and the directories that it needs: missing ones, ours, and other owners'."""
    desired = with_directories(goal.desired, observed, {*current.owned, *others})
    shared = {key: others[key].states[key] for key in desired if key in others and key not in goal.desired}
    directories = {key: state for key, state in shared.items() if isinstance(state, File)}
    return replace(goal, desired={**desired, **directories})


def reclaimed(goal: Goal, observed: Mapping[str, State], current: Generation) -> Goal:
    """The goal without keys that we let go earlier and that somebody else has filled since."""
    free = {*current.owned, *goal.pruned}
    returns = {
        key: state
        for key, state in goal.returns.items()
        if key in free or observed.get(key) == current.states.get(key)
    }
    return replace(goal, returns=returns)
