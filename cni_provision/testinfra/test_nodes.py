"""The ready-made suite: each node is what its inventory declares, and works."""

from __future__ import annotations

from typing import Any

import pytest

from cni_provision.cli.run.verification import every_check

TRAFFIC = ("attach", "containers", "gateway", "mapped port", "leftovers")


@pytest.mark.parametrize("check", [*every_check(), *TRAFFIC])
def test_check(host: Any, check: str) -> None:
    """What `cni-provision verify` judges; skipped with its reason where it proves nothing on this node."""
    outcomes = [outcome for outcome in host.cni.checks if outcome.check == check]
    failed = [
        f"{outcome.network or ''} {outcome.message}".strip() for outcome in outcomes if outcome.outcome == "fail"
    ]
    assert not failed
    if not any(outcome.outcome == "pass" for outcome in outcomes):
        pytest.skip("; ".join(outcome.message or "" for outcome in outcomes) or f"`{check}` has nothing to say here")


def test_plugins_answer(host: Any) -> None:
    """Every plugin that a conflist names says which versions of the specification it speaks."""
    named = {plugin for network in host.cni.networks for plugin in network.plugins}
    assert [name for name in sorted(named) if not host.cni.plugin(name).versions] == []


def test_no_lease_outlives_its_container(host: Any) -> None:
    """A lease of a container that no runtime knows any more keeps its address for ever."""
    known = {attachment.container_id for attachment in host.cni.attachments}
    assert [lease for lease in host.cni.leases if known and lease.container_id not in known] == []


def test_no_attachment_outlives_its_namespace(host: Any) -> None:
    assert [attachment for attachment in host.cni.attachments if attachment.netns and not attachment.alive] == []
