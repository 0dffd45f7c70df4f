"""The role as a collection: assembled, built, installed without a network, and run by its full name."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from cni_provision import lab
from tests.roles.playbooks import NETWORKS, NEWEST, QUIET, ROOT, Site, ansible

pytestmark = pytest.mark.lab
PLAY = """\
- hosts: lab
  gather_facts: false
  roles: [cni_provision.cni.cni_provision]
  tasks:
  - cni_provision.cni.cni_provision_facts:
  - debug: {var: cni_provision.generation}
"""


def assembling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collection", ROOT / "roles/collection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_role_runs_from_the_collection(shared_lab: lab.Lab, site: Site, tmp_path: Path) -> None:
    galaxy = str(ansible(NEWEST).with_name("ansible-galaxy"))
    assembling().assemble(tmp_path / "assembled", "1.2.3")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "ANSIBLE_LOCAL_TEMP": str(tmp_path / "temp")}
    for words in (
        ("build", "assembled"),
        ("install", "--offline", "-p", "collections", "cni_provision-cni-1.2.3.tar.gz"),
    ):
        argv = [galaxy, "collection", *words]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    site.inventory(shared_lab, "node-1")
    site.write({"group_vars/lab.yaml": {"cni_networks": NETWORKS, **QUIET}, "play.yaml": PLAY})
    found = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "ANSIBLE_ROLES_PATH": str(tmp_path)}
    ran = site.run(**found)
    assert ran.code == 0, ran.output
    assert {"cni_provision.generation": 1} in ran.results
    assert "cni_provision.cni.cni_provision : Bring the node" in ran.output
