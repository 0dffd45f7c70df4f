"""testinfra's host with what cni-provision knows of it, and containers on it."""

from __future__ import annotations

from typing import Any

import pytest

from cni_provision.testinfra.plugin import cni_fleet, host
from tests.vm.containers import Containers

__all__ = ["cni_fleet", "host"]


@pytest.fixture(scope="module")
def containers(host: Any) -> Containers:
    return Containers(host)
