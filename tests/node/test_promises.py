"""Each sentence of DESIGN §4 on transactions, generations and owners, and the tests that hold us to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
# sentence → tests (`file::function`), or stories of tests/cases (`node/adopt.yaml`)
PROMISES = {
    "lock, then Busy: who, since when": ("node/test_lock.py::test_the_second_is_told_and_the_patient_waits",
                                         "node/test_together.py::test_who_does_not_wait_is_told_or_is_first"),
    "of two plans one is carried out": ("node/test_together.py::test_of_two_plans_one_is_carried_out",),
    "recover, observe, compare": ("node/test_main.py::test_expect_names_what_moved",),
    "stage beside the target under a name that no runtime loads": ("node/test_kills.py::test_an_apply",),
    "fsync, check digest": ("node/test_order.py::test_everything_is_staged_and_durable_before_the_commit_point",
                            "node/test_main.py::test_a_blob_under_a_wrong_digest_is_refused"),
    "keep the replaced bytes by digest": (
        "node/test_order.py::test_replaced_bytes_are_kept_before_the_commit_point",
    ),
    "the rename of the journal is the commit point": (
        "node/test_kills.py::test_an_apply",
        "node/test_order.py::test_nothing_of_the_old_node_is_touched_before_the_commit_point",
    ),
    "before it, recovery deletes the staging; after it, recovery goes forward": (
        "node/test_kills.py::test_a_recovery_killed",
    ),
    "anything else was changed by somebody since: left, a finding, incomplete": (
        "node/test_transaction.py::test_what_a_stranger_wrote_between_is_left_and_told",
    ),
    "a step that fails while we live goes backward": ("node/test_transaction.py::test_a_disk_that_is_really_full",
                                                      "node/test_kills.py::test_an_apply", "node/reload_fails.yaml"),
    "directories are fsynced between groups": (
        "node/test_order.py::test_names_are_durable_before_the_next_group_begins",
    ),
    "every prefix is a node on which each conflist's plugins exist": ("node/test_kills.py::test_every_call",),
    "reloads are journal steps, due until done": ("node/test_kills.py::test_every_call", "node/reload.yaml"),
    "cni-provision-recover.service recovers at boot, before the runtimes": (
        "node/test_recover.py::test_at_boot_before_the_runtimes",
    ),
    "a generation is parent, owner, by whom, digests, modes, owners, labels, values found": (
        "node/test_order.py::test_a_record_says_who_what_and_from_where",
    ),
    "generation 0 is what we found, adopted bytes included": ("node/adopt_then_undeclare.yaml",
                                                              "node/adopt_refilled.yaml"),
    "rollback is a plan, over any drift, recorded as N+1": ("node/rollback.yaml", "node/rollback_unknown.yaml"),
    "sysctls return to the value found before us": ("node/sysctl.yaml", "node/two_owners_one_value.yaml"),
    "the last 10 are kept with their blobs": ("node/test_main.py::test_ten_generations_are_kept_with_their_bytes",),
    "a path that two owners want is a conflict, only an owner's own files are removed": ("node/two_owners.yaml",),
    "what live attachments need is not removed without --force": ("node/attached.yaml",),
    "remove takes everything of an owner off": (
        "node/test_together.py::test_removal_leaves_a_node_as_it_was_found", "node/remove_keeps_strangers.yaml",
    ),
    "a failed probe rolls the node back": ("node/verify_rolls_back.yaml", "node/adopt_verify_fails.yaml"),
    "secrets: 0600, digests in diffs, records and answers": (
        "node/test_secrets.py::test_a_secret_value_comes_and_goes_by_its_digest",
        "node/test_secrets.py::test_kept_bytes_are_for_root_alone",
        "test_desired.py::test_secret_values_are_in_files_for_root_alone",
    ),
    "labels, ACLs and capabilities of a replaced file are kept": (
        "node/test_attributes.py::test_a_replaced_file_keeps_them",
        "node/test_attributes.py::test_a_run_that_fails_gives_them_back",
    ),
    "noexec, immutable files and read-only /opt are findings before the first write": (
        "node/noexec.yaml", "node/immutable.yaml", "node/read_only.yaml",
    ),
    "--all-or-none asks every node first": (
        "cli/test_fleet_commands.py::test_all_or_none_changes_nothing_where_one_is_dead",
        "cli/test_fleet_commands.py::test_all_or_none_refuses_a_plan_that_is_old_on_one_node",
    ),
    "a plan file holds exact bytes, and a node that moved is refused": (
        "cli/test_fleet_commands.py::test_the_saved_plan_is_applied",
        "cli/test_fleet_commands.py::test_the_saved_plan_is_refused_the_second_time",
    ),
}  # fmt: skip


def functions(file: Path) -> set[str]:
    return {each.name for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("sentence", PROMISES)
def test_every_promise_is_tested(sentence: str) -> None:
    for name in PROMISES[sentence]:
        file, _, function = name.partition("::")
        assert function in functions(TESTS / file) if function else (TESTS / "cases" / file).is_file(), name
