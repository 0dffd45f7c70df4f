"""The inventory of a lab, as text and as what `ssh` makes of its files."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from cni_provision import lab
from cni_provision.lab.inventory import ssh_config
from cni_provision.lab.state import Lab, LabNode

LAB = Lab("mine", 4242, "1", (LabNode("node-1", "10.200.1.1", "fd10:200::1:1", 4243),))


def test_nodes_over_ssh() -> None:
    assert yaml.safe_load(lab.inventory(LAB)) == {
        "lab": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_common_args": "-F /run/cni-provision-lab/mine/ssh_config",
            },
            "hosts": {"node-1": {"ansible_host": "10.200.1.1"}},
        }
    }


def test_another_user_becomes_root() -> None:
    variables = yaml.safe_load(lab.inventory(LAB, user="ops"))["lab"]["vars"]
    assert (variables["ansible_user"], variables["ansible_become"]) == ("ops", True)


def test_without_ssh() -> None:
    group = yaml.safe_load(lab.inventory(LAB, connection="lab"))["lab"]
    assert group["vars"]["ansible_connection"] == "lab"
    assert group["hosts"] == {"node-1": {"ansible_host": "mine/node-1"}}


def test_hosts_that_cannot_be_reached() -> None:
    hosts = yaml.safe_load(lab.inventory(LAB, dead=True, black_hole=True))["lab"]["hosts"]
    assert list(hosts) == ["node-1", "dead", "black-hole"]


def test_host_keys_are_checked() -> None:
    text = ssh_config(LAB)
    assert "StrictHostKeyChecking yes" in text
    assert "--net=/proc/4242/ns/net" in text


@pytest.mark.lab
@pytest.mark.parametrize("name", ["node-2", "10.200.1.2"])
def test_ssh_works_by_name_and_by_address(shared_lab: Lab, name: str) -> None:
    argv = ["ssh", "-F", str(shared_lab.folder / "ssh_config"), "-l", "root", name, "hostname"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("node-2\n", "")


@pytest.mark.lab
def test_files_are_roots_alone(shared_lab: Lab) -> None:
    assert shared_lab.folder.stat().st_mode & 0o777 == 0o700
    assert (shared_lab.folder / "key").stat().st_mode & 0o777 == 0o600
