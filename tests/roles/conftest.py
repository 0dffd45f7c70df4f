"""Lab nodes, shared with the other folders that ask for them, and playbooks that include the role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.roles.playbooks import NEWEST, Ran, Site, package


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.lab_fixture")


@pytest.fixture(scope="session")
def importable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Ansible's interpreter imports: the checkout's package and the compiler of the launchers."""
    return package(tmp_path_factory.mktemp("importable"))


@pytest.fixture
def site(tmp_path: Path, importable: Path) -> Site:
    """A folder with an inventory and playbooks."""
    return Site(tmp_path, importable)


@pytest.fixture
def apply(site: Site) -> Callable[..., Ran]:
    """Run a playbook that must succeed."""

    def run(*words: str, version: str = NEWEST) -> Ran:
        ran = site.run(*words, version=version)
        assert ran.code == 0, ran.output
        return ran

    return run
