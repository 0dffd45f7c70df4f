"""Shared by all tests: who can run what."""

from __future__ import annotations

import os
import shutil

import pytest

NEEDS = {"lab": ("sshd", "nsenter", "ip"), "vm": ("mmdebstrap", "qemu-system-x86_64")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    for item in items:
        for mark, programs in NEEDS.items():
            absent = [name for name in programs if not shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")]
            if item.get_closest_marker(mark) and absent:
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(absent)} not installed"))
        needs_root = any(item.get_closest_marker(mark) for mark in ("root", "lab"))
        if needs_root and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
