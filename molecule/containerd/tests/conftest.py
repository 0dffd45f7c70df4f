"""The fixtures of all scenarios."""

from __future__ import annotations

from tests.vm.fixtures import cni_fleet, containers, host, virtual

__all__ = ["cni_fleet", "containers", "host", "virtual"]
