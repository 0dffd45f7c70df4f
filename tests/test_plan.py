"""The properties of planning over random states, and the order of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from cni_provision.plan import (
    DIRECTORY,
    Change,
    File,
    Live,
    State,
    apply_to,
    contested,
    key_of,
    not_ours,
    order,
    owned_after,
    plan,
    sorting_before,
    undo,
    with_directories,
)

many = settings(max_examples=3400, deadline=None, database=None)


def files_at(path: str, kind: str) -> list[State | None]:
    found = [File(path, digest * 64, mode, kind=kind) for digest in "12" for mode in (0o644, 0o755)]
    return [
        None,
        *found,
        File(path, "1" * 64, kind=kind, label="etc_t"),
        File(path, "1" * 64, kind=kind, label="tmp_t"),
    ]


def directories_at(path: str) -> list[State | None]:
    return [None, *(File(path, DIRECTORY, mode, kind="directory") for mode in (0o755, 0o700))]


def values_of(kind: str, name: str) -> list[State | None]:
    return [None, *(Live(kind, name, value) for value in ("0", "1"))]


# key → what can stand there
WORLD = {
    **{f"file:/opt/cni/bin/{name}": files_at(f"/opt/cni/bin/{name}", "plugin") for name in "ab"},
    **{f"file:/etc/cni/net.d/{name}": files_at(f"/etc/cni/net.d/{name}", "conflist") for name in "ab"},
    **{f"file:{path}": directories_at(path) for path in ("/opt/cni", "/opt/cni/bin")},
    "file:/etc/sysctl.d/a": files_at("/etc/sysctl.d/a", "file"),
    "file:/usr/server": files_at("/usr/server", "service"),
    **{f"{kind}:x": values_of(kind, "x") for kind in ("sysctl", "module", "unit")},
}
UNOWNED = "unowned"


@dataclass(frozen=True)
class Situation:
    """A random node: what is desired, what is there, what is owned and what it returns to."""

    desired: dict[str, State]
    observed: dict[str, State]
    owned: dict[str, State | None]

    @property
    def changes(self) -> list[Change]:
        return plan(self.desired, self.observed, self.owned)

    @property
    def after(self) -> dict[str, State]:
        return apply_to(self.observed, self.changes)


def situation(choices: Sequence[int]) -> Situation:
    """One number a key: three digits that choose what is desired, observed and owned."""
    rows = {}
    for (key, options), number in zip(WORLD.items(), choices, strict=True):
        number, first = divmod(number, len(options))
        number, second = divmod(number, len(options))
        rows[key] = (options[first], options[second], [*options, UNOWNED][number])
    return Situation(
        {key: desired for key, (desired, _, _) in rows.items() if desired},
        {key: observed for key, (_, observed, _) in rows.items() if observed},
        {key: owned for key, (_, _, owned) in rows.items() if owned != UNOWNED},
    )


situations = st.tuples(
    *(st.integers(0, len(options) ** 2 * (len(options) + 1) - 1) for options in WORLD.values())
).map(situation)


@many
@given(situations)
def test_planning_again_after_applying_is_empty(random: Situation) -> None:
    still_owned = dict.fromkeys(owned_after(random.desired, random.observed, random.owned))
    assert plan(random.desired, random.after, random.owned) == []
    assert plan(random.desired, random.after, still_owned) == []


@many
@given(situations)
def test_inverses_in_reverse_restore_the_start(random: Situation) -> None:
    assert apply_to(random.after, undo(random.changes)) == random.observed


@many
@given(situations)
def test_what_is_neither_desired_nor_owned_never_changes(random: Situation) -> None:
    strangers = set(random.observed) - set(random.desired) - set(random.owned)
    assert {key: random.after.get(key) for key in strangers} == {key: random.observed[key] for key in strangers}


@many
@given(situations)
def test_plugins_are_there_before_and_after_their_conflists(random: Situation) -> None:
    kinds = [(change.kind, change.after is None) for change in random.changes]
    assert kinds == sorted(kinds, key=RANK.index)


RANK = [
    ("directory", False),
    ("service", False),
    ("file", False),
    ("plugin", False),
    ("module", False),
    ("sysctl", False),
    ("conflist", False),
    ("unit", True),
    ("conflist", True),
    ("plugin", True),
    ("file", True),
    ("service", True),
    ("unit", False),
    ("directory", True),
]


def file(path: str, digest: str = "1", *, kind: str = "file", mode: int = 0o644) -> File:
    return File(path, digest * 64, mode, kind=kind)


def directory(path: str) -> File:
    return File(path, DIRECTORY, 0o755, kind="directory")


def by_key(*found: State) -> dict[str, State]:
    return {key_of(state): state for state in found}


def test_directories_come_parents_first_and_leave_children_first() -> None:
    made = [Change(f"file:{path}", None, directory(path)) for path in ("/a/b", "/a", "/a/b/c")]
    assert [change.key for change in order(made)] == ["file:/a", "file:/a/b", "file:/a/b/c"]
    left = [change.inverse for change in made]
    assert [change.key for change in order(left)] == ["file:/a/b/c", "file:/a/b", "file:/a"]


def test_values_that_set_others_with_them_come_first() -> None:
    names = [
        "ipv4.conf.eth0.forwarding",
        "ipv4.conf.default.forwarding",
        "ipv4.conf.all.rp_filter",
        "ipv4.ip_forward",
    ]
    desired = by_key(*(Live("sysctl", f"net.{name}", "1") for name in names), file("/x"))
    keys = [change.key for change in plan(desired, {}, {})]
    assert keys == ["file:/x", *(f"sysctl:net.{name}" for name in reversed(names))]


def test_missing_directories_are_desired_and_found_ones_are_not() -> None:
    desired = by_key(file("/opt/cni/bin/bridge"))
    needed = with_directories(desired, by_key(directory("/opt")), set())
    assert set(needed) - set(desired) == {"file:/opt/cni", "file:/opt/cni/bin"}
    owned = with_directories(
        desired, by_key(directory("/opt"), directory("/opt/cni"), directory("/opt/cni/bin")), needed
    )
    assert owned == needed


def test_a_directory_that_was_there_keeps_its_mode_and_is_not_ours() -> None:
    found = by_key(File("/opt/cni", DIRECTORY, 0o700, kind="directory"))
    desired = by_key(directory("/opt/cni"))
    assert plan(desired, found, {}) == []
    assert owned_after(desired, found, {}) == []


def test_a_file_with_other_bytes_is_not_ours_and_one_with_the_same_is() -> None:
    observed = by_key(file("/x"), file("/y"))
    desired = by_key(file("/x", mode=0o600), file("/y", "2"))
    changes = plan(desired, observed, {})
    assert [change.key for change in not_ours(changes, set())] == ["file:/y"]
    assert not_ours(changes, {"file:/y"}) == []


def test_two_owners_contest_files_and_unequal_values_only() -> None:
    desired = by_key(file("/x"), directory("/d"), Live("sysctl", "s", "1"), Live("sysctl", "t", "1"))
    theirs = {**desired, "sysctl:t": Live("sysctl", "t", "0")}
    others = {key: ("other", state) for key, state in theirs.items()}
    assert contested(desired, others) == {"file:/x": "other", "sysctl:t": "other"}


def test_a_module_is_not_unloaded_and_a_vanished_sysctl_is_not_restored() -> None:
    owned = {"module:m": None, "sysctl:s": Live("sysctl", "s", "0")}
    assert plan({}, by_key(Live("module", "m", "loaded")), owned) == []
    assert plan({}, by_key(Live("sysctl", "s", "1")), owned) == [
        Change("sysctl:s", Live("sysctl", "s", "1"), Live("sysctl", "s", "0"))
    ]


def test_a_unit_of_ours_is_taken_out_of_service() -> None:
    running = Live("unit", "u.service", "enabled active")
    assert plan({}, by_key(running), {"unit:u.service": None}) == [Change("unit:u.service", running, None)]
    assert plan({}, {}, {"unit:u.service": None}) == []


def test_owners_share_equal_services() -> None:
    server = file("/usr/server", kind="service")
    assert contested(by_key(server), {"file:/usr/server": ("other", server)}) == {}
    assert contested(by_key(server), {"file:/usr/server": ("other", file("/usr/server", "2"))}) != {}


def test_an_undeclared_label_is_kept_and_a_declared_one_is_a_change() -> None:
    labelled = File("/x", "1" * 64, label="etc_t")
    assert plan(by_key(File("/x", "1" * 64)), by_key(labelled), {}) == []
    (change,) = plan(by_key(labelled), by_key(File("/x", "1" * 64, label="tmp_t")), {})
    assert change.sign == "~"


def test_only_foreign_names_before_the_first_of_ours_count() -> None:
    assert sorting_before(["05-old.conflist", "10-a.conflist", "87-x.conf"], {"10-a.conflist"}) == ["05-old.conflist"]
    assert sorting_before(["05-old.conflist"], set()) == []
