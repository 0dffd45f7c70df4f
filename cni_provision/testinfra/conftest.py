"""The suite's fixtures; this folder is collected by `--pyargs`, where `pytest_plugins` may not stand."""

from __future__ import annotations

from cni_provision.testinfra.plugin import cni_fleet, host

__all__ = ["cni_fleet", "host"]
