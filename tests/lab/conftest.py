"""Lab nodes, shared with the other folders that ask for them."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.lab_fixture")
