"""Fixtures: testinfra's `host` with `host.cni`, and the fleet that is asked once behind it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cni_provision import fleet, programs
from cni_provision.cli.run.jobs import verifying
from cni_provision.errors import UserError
from cni_provision.fleet_job import Outcome
from cni_provision.inventory.load import Sources, load
from cni_provision.prepare import prepare
from cni_provision.testinfra.host import CNI

INVENTORY_VARIABLE = "CNI_PROVISION_INVENTORY"


@dataclass
class AskedFleet:
    """The answers of all nodes that tests ask for, by inventory and name; a node is asked once in a session."""

    names: frozenset[str]
    answers: dict[tuple[str | None, str], Outcome] = field(default_factory=dict)

    def cni(self, inventory: str | None, name: str) -> CNI:
        """What a node told; raises `UserError` for one that is not in the inventory."""
        if (inventory, name) not in self.answers:
            found = ask(inventory, self.names | {name})
            self.answers.update({(inventory, node): outcome for node, outcome in found.items()})
        if (inventory, name) not in self.answers:
            hint = "name hosts as it does, or name another inventory with `--ansible-inventory`"
            raise UserError(f"`{name}` is not in the inventory", hint=hint)
        return CNI(self.answers[inventory, name])


def ask(inventory: str | None, names: Collection[str]) -> Mapping[str, Outcome]:
    """One session with each of these nodes, all at the same time: the checks of `verify`, and what is there."""
    named = inventory or os.environ.get(INVENTORY_VARIABLE)
    loaded = load(Sources((named,) if named else ()), None, programs.run)
    chosen = replace(loaded, nodes=tuple(node for node in loaded.nodes if node.name in names))
    jobs = verifying(chosen, prepare(chosen), probe=True)
    asked = [replace(job, request=replace(job.request, work={"contents": True})) for job in jobs]
    outcomes = asyncio.run(fleet.run(asked, fleet.Options(), lambda event: None))
    return {outcome.node.name: outcome for outcome in outcomes}


def hosts_of(items: Iterable[Any]) -> frozenset[str]:
    """The names of all hosts that the session's tests are for."""
    specs = (getattr(item, "callspec", None) for item in items)
    hosts = (spec.params.get("_testinfra_host") for spec in specs if spec)
    return frozenset(host.backend.hostname for host in hosts if host is not None)


@pytest.fixture(scope="session")
def cni_fleet(request: pytest.FixtureRequest) -> AskedFleet:
    """The nodes of this session's tests."""
    return AskedFleet(hosts_of(request.session.items))


@pytest.fixture(scope="module")
def host(_testinfra_host: Any, cni_fleet: AskedFleet) -> Any:
    """testinfra's host, with `cni`."""
    backend = _testinfra_host.backend
    _testinfra_host.cni = cni_fleet.cni(getattr(backend, "ansible_inventory", None), backend.hostname)
    return _testinfra_host
