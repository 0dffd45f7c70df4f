"""Fixtures of Molecule's tests: testinfra's host with what cni-provision knows of it, and containers on it."""

from __future__ import annotations

from typing import Any

import pytest

from cni_provision.testinfra.plugin import cni_fleet, host
from tests.vm.containers import Containers

__all__ = ["cni_fleet", "containers", "host", "virtual"]


@pytest.fixture(scope="module")
def containers(host: Any) -> Containers:
    return Containers(host)


@pytest.fixture
def virtual(containers: Containers) -> None:
    if containers.machines["kind"] != "vm":
        pytest.skip("a lab node has the kernel of this machine, nobody outside, and does not start again")
