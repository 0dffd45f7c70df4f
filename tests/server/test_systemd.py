"""The server as systemd runs it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.cluster import SERVED
from tests.systemd import INSTALLED, SECONDS, Booted, machine

UNITS = ("cni-provision-server.service", "cni-provision-server.socket")
HOSTS = {"all": {"hosts": {"here": {"ansible_connection": "local"}}, "vars": {"cni_networks": [
    {"name": "lo", "template": "loopback"},
]}}}  # fmt: skip

pytestmark = [pytest.mark.root, SERVED, INSTALLED]


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Booted]:
    with machine(tmp_path / "machine") as made, made.boot(json.dumps(HOSTS)) as running:
        yield running


def active(booted: Booted) -> list[str]:
    return booted.run("systemctl", "is-active", *UNITS, check=False).split()


def version(booted: Booted) -> None:
    """A call of a plugin as a runtime makes it."""
    answer = booted.run("env", "CNI_COMMAND=VERSION", "/opt/cni/bin/loopback", input="{}")
    assert json.loads(answer)["cniVersion"] == "1.1.0"


def test_apply_starts_it_and_remove_takes_it_off(booted: Booted) -> None:
    booted.provision("apply", "--yes")
    assert active(booted) == ["active", "active"]
    assert "nothing to change" in booted.provision("plan")
    version(booted)
    assert any("plugin=loopback verb=VERSION" in line for line in booted.journal(UNITS[0]))
    booted.provision("apply", "--yes", "-e", '{"cni_runtime__x": {"server": false}}')
    assert active(booted) == ["inactive", "inactive"]
    version(booted)
    booted.provision("rollback", "--yes")
    assert active(booted) == ["active", "active"]
    booted.provision("remove", "--yes")
    assert active(booted) == ["inactive", "inactive"]
    left = booted.run("sh", "-c", "ls -d /etc/systemd/system/*/cni-provision* /etc/systemd/system/cni* || true")
    assert left == ""


def test_it_comes_back_and_the_socket_starts_it(booted: Booted) -> None:
    booted.provision("apply", "--yes")
    booted.run("systemctl", "kill", "--signal=KILL", UNITS[0])
    version(booted)
    wait_until_active(booted)
    version(booted)
    booted.run("systemctl", "stop", UNITS[0])
    assert active(booted) == ["inactive", "active"]
    version(booted)  # cold, and the server begins
    wait_until_active(booted)
    version(booted)
    lines = booted.journal(UNITS[0])
    starts = ("apply starts it", "it was killed", "the socket started it")
    assert sum("listens on" in line for line in lines) == len(starts)
    assert "verb=VERSION" in lines[-1]


def wait_until_active(booted: Booted) -> None:
    deadline = time.monotonic() + SECONDS
    while active(booted) != ["active", "active"]:
        assert time.monotonic() < deadline, booted.journal(UNITS[0])
        time.sleep(0.1)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_its_rights_are_enough(booted: Booted) -> None:
    """The unit takes away what no plugin needs."""
    booted.provision("apply", "--yes")
    network = {
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "isGateway": True, "ipMasq": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]},
    }  # fmt: skip
    booted.run("ip", "netns", "add", "blue")
    variables = ("CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/blue", "CNI_PATH=/opt/cni/bin")
    for command in ("ADD", "DEL"):
        booted.run("env", f"CNI_COMMAND={command}", *variables, "/opt/cni/bin/bridge", input=json.dumps(network))
    verbs = [line for line in booted.journal(UNITS[0]) if "plugin=bridge" in line]
    assert [line.rpartition("code=")[2] for line in verbs] == ["0", "0"]
