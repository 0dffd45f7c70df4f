"""host-local as a process, alone and side by side with the reference plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.plugins.conftest import HOLD_HOST, Namespace

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/host_local.yaml").read_text())
ROOT = Path(__file__).parents[2]
REFERENCE = Path("/usr/lib/cni/host-local")
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not installed")
SMALL = {"subnet": "10.0.0.0/29"}  # five addresses, 10.0.0.2 to 10.0.0.6


@dataclass
class Ipam:
    """`config` with leases below `folder`; `executable` is ours unless said otherwise. `host` has a `/run` of its
    own, where the index of the leases is; None for who is not root, and cannot keep one."""

    executable: Path
    folder: Path
    host: Namespace | None

    def enter(self, *argv: str) -> list[str]:
        return self.host.enter(*argv) if self.host else list(argv)

    def config(self, ipam: dict, **more) -> dict:
        inner = {"type": "host-local", "dataDir": str(self.folder), **ipam}
        return {"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": inner, **more}

    def call(self, command: str, config: dict, container: str = "c", *, ifname: str = "eth0", args: str = "",
             executable: Path | None = None) -> tuple[int, dict | None]:  # fmt: skip
        environment = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": ifname, "CNI_ARGS": args,
            "CNI_PATH": "/opt", "CNI_NETNS": "/proc/self/ns/net", "CNI_NETNS_OVERRIDE": "1",
        }  # fmt: skip
        done = subprocess.run(
            self.enter(str(executable or self.executable)),
            input=json.dumps(config).encode(),
            env=environment,
            capture_output=True,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    def add(self, ipam: dict, container: str = "c", *, more: dict | None = None, **how) -> dict:
        code, result = self.call("ADD", self.config(ipam, **(more or {})), container, **how)
        assert code == 0, result
        return result

    def addresses(self, ipam: dict, container: str = "c", **how) -> list[str]:
        return [each["address"] for each in self.add(ipam, container, **how)["ips"]]

    def refused(self, command: str, config: dict, container: str = "c", **how) -> dict:
        code, error = self.call(command, config, container, **how)
        assert code == 1, error
        return error

    def delete(self, ipam: dict, container: str = "c", **how) -> None:
        assert self.call("DEL", self.config(ipam), container, **how) == (0, None)

    def leases(self) -> dict[str, str]:
        known = ("lock", "last_reserved")
        files = [file for file in (self.folder / "net").glob("*") if not file.name.startswith(known)]
        return {file.name: file.read_bytes().decode().replace("\r\n", " ") for file in files}


@pytest.fixture
def ipam(plugin_bin: Path, tmp_path: Path, make_namespace: Callable[..., Namespace]) -> Ipam:
    host = make_namespace(HOLD_HOST) if os.geteuid() == 0 else None
    return Ipam(plugin_bin / "host-local", tmp_path / "networks", host)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_refusals(ipam: Ipam, case: dict) -> None:
    changed = {**ipam.config(case.get("ipam", {})), **case.get("config", {})}
    config = {key: value for key, value in changed.items() if value is not None}
    error = ipam.refused(case.get("command", "ADD"), config, args=case.get("args", ""))
    assert error["code"] == case["code"], error
    assert case["message"] in error["msg"]
    assert ipam.leases() == {}


def test_result(ipam: Ipam, tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("# comment\n; another\nnameserver 192.0.2.3\nnameserver 2001:db8::3\ndomain example.com\n"
                      "search a.example b.example\noptions ndots:5 rotate\nnameserver\n")  # fmt: skip
    result = ipam.add(
        {
            "subnet": "10.1.2.0/24",
            "ranges": [[{"subnet": "fd00::/64", "rangeStart": "fd00::10", "gateway": "fd00::ffff"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.9"}],
            "resolvConf": str(resolv),
        }
    )
    assert result == {
        "cniVersion": "1.0.0",
        "ips": [
            {"address": "10.1.2.2/24", "gateway": "10.1.2.1"},
            {"address": "fd00::10/64", "gateway": "fd00::ffff"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.9"}],
        "dns": {
            "nameservers": ["192.0.2.3", "2001:db8::3"],
            "domain": "example.com",
            "search": ["a.example", "b.example"],
            "options": ["ndots:5", "rotate"],
        },
    }


@needs_reference
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_results_are_those_of_the_reference(ipam: Ipam, version: str) -> None:
    config = {"subnet": "10.0.0.0/24", "ranges": [[{"subnet": "fd00::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    more = {"cniVersion": version}
    theirs = ipam.add({**config, "dataDir": str(ipam.folder / "theirs")}, more=more, executable=REFERENCE)
    ours = ipam.add(config, more=more)
    assert without_empty(ours) == without_empty(theirs)


def without_empty(result: dict) -> dict:
    return {key: value for key, value in result.items() if value != {}}


def test_keys_in_any_case(ipam: Ipam) -> None:
    config = {"Subnet": "10.0.0.0/24", "RANGESTART": "10.0.0.50"}
    assert ipam.addresses(config) == ["10.0.0.50/24"]


def test_addresses_go_round(ipam: Ipam) -> None:
    assert ipam.addresses(SMALL, "a") == ["10.0.0.2/29"]
    ipam.delete(SMALL, "a")
    given = [ipam.addresses(SMALL, f"c{number}")[0] for number in range(5)]
    assert given == [f"10.0.0.{last}/29" for last in (3, 4, 5, 6, 2)]
    error = ipam.refused("ADD", ipam.config(SMALL), "late")
    assert "no IP addresses available in range set: 10.0.0.1-10.0.0.6" in error["msg"]


def test_range_sets_of_the_runtime_come_first(ipam: Ipam) -> None:
    more = {"runtimeConfig": {"ipRanges": [[{"subnet": "10.9.0.0/24"}, {"subnet": "10.8.0.0/24"}]]}}
    assert ipam.addresses({**SMALL, "ranges": [[{"subnet": "fd00::/64"}]]}, more=more) == [
        "10.9.0.2/24",
        "10.0.0.2/29",
        "fd00::2/64",
    ]


def test_requested_addresses(ipam: Ipam) -> None:
    config = {"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}
    more = {"args": {"cni": {"ips": ["10.1.0.7/24"]}}, "runtimeConfig": {"ips": ["fd00:0::abcd/64"]}}
    args = "K8S_POD_NAME=p;IgnoreUnknown=1;IP=10.0.0.9"
    assert ipam.addresses(config, args=args, more=more) == ["10.0.0.9/24", "10.1.0.7/24", "fd00::abcd/64"]
    error = ipam.refused("ADD", ipam.config(config, **more), "other")
    assert "requested IP address 10.1.0.7 is not available in range set 10.1.0.1-10.1.0.254" in error["msg"]
    assert set(ipam.leases()) == {"10.0.0.9", "10.1.0.7", "fd00::abcd"}, "what the refused call took is free again"


def test_a_second_add_is_refused_and_costs_the_first_nothing(ipam: Ipam) -> None:
    ipam.add(SMALL)
    before = ipam.leases()
    for more in ({}, {"runtimeConfig": {"ips": ["10.0.0.5"]}}):
        error = ipam.refused("ADD", ipam.config(SMALL, **more))
        assert "10.0.0.2 has been allocated to c, duplicate allocation is not allowed" in error["msg"]
        assert ipam.leases() == before


def test_failure_in_a_later_set_gives_back_this_call_only(ipam: Ipam) -> None:
    one = {"ranges": [[{"subnet": "10.0.0.0/24"}]]}
    two = {"ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "10.0.0.0/24"}]]}
    ipam.add(one)
    assert "failed to allocate for range 1" in ipam.refused("ADD", ipam.config(two))["msg"]
    assert ipam.leases() == {"10.0.0.2": "c eth0"}


def test_two_interfaces_of_a_container(ipam: Ipam) -> None:
    assert ipam.addresses(SMALL, ifname="eth0") == ["10.0.0.2/29"]
    assert ipam.addresses(SMALL, ifname="eth1") == ["10.0.0.3/29"]
    ipam.delete(SMALL, ifname="eth0")
    assert ipam.leases() == {"10.0.0.3": "c eth1"}


def test_delete_needs_no_ranges_and_nothing_to_be_there(ipam: Ipam) -> None:
    ipam.delete(SMALL, "never-seen")
    assert not (ipam.folder / "net").exists()
    ipam.add(SMALL)
    ipam.delete({"ranges": []})
    ipam.delete({"ranges": []})
    assert ipam.leases() == {}


def test_a_late_delete_leaves_the_next_holder_alone(ipam: Ipam) -> None:
    one_address = {"subnet": "10.0.0.0/30"}
    ipam.add(one_address, "a")
    ipam.delete(one_address, "a")
    assert ipam.addresses(one_address, "b") == ["10.0.0.2/30"]
    ipam.delete(one_address, "a")
    assert ipam.leases() == {"10.0.0.2": "b eth0"}


def test_check(ipam: Ipam) -> None:
    result = ipam.add(SMALL)
    config = ipam.config(SMALL, prevResult=result)
    assert ipam.call("CHECK", config) == (0, None)
    assert "Failed to find address added by container d" in ipam.refused("CHECK", config, "d")["msg"]
    (ipam.folder / "net" / "10.0.0.2").rename(ipam.folder / "net" / "10.0.0.4")
    assert ipam.refused("CHECK", config)["details"] == "not held: 10.0.0.2"
    (ipam.folder / "net" / "10.0.0.4").unlink()
    assert ipam.refused("CHECK", ipam.config(SMALL))["code"] >= 100


def test_status(ipam: Ipam, tmp_path: Path) -> None:
    config = ipam.config({"subnet": "10.0.0.0/30"}, cniVersion="1.1.0")
    assert ipam.call("STATUS", config) == (0, None)
    ipam.add({"subnet": "10.0.0.0/30"})
    error = ipam.refused("STATUS", config)
    assert (error["code"], error["msg"]) == (50, "no IP addresses available in range set: 10.0.0.1-10.0.0.2")
    (tmp_path / "file").touch()
    unwritable = ipam.config({**SMALL, "dataDir": str(tmp_path / "file")}, cniVersion="1.1.0")
    assert ipam.refused("STATUS", unwritable)["code"] == 50
    by_runtime = ipam.config({}, cniVersion="1.1.0", capabilities={"ipRanges": True})
    assert ipam.call("STATUS", by_runtime) == (0, None)


def test_gc(ipam: Ipam) -> None:
    for container in ("a", "b"):
        ipam.add(SMALL, container)
    ipam.add(SMALL, "a", ifname="eth1")
    valid = [{"containerID": "a", "ifname": "eth1"}]
    config = ipam.config(SMALL, cniVersion="1.1.0", **{"cni.dev/valid-attachments": valid})
    for _ in range(2):
        assert ipam.call("GC", config) == (0, None)
        assert ipam.leases() == {"10.0.0.4": "a eth1"}
    assert ipam.call("GC", {**config, "name": "never-used"}) == (0, None)


@needs_reference
def test_side_by_side_with_the_reference(ipam: Ipam) -> None:
    assert ipam.addresses(SMALL, "a", executable=REFERENCE) == ["10.0.0.2/29"]
    assert ipam.addresses(SMALL, "b") == ["10.0.0.3/29"]
    assert ipam.addresses(SMALL, "c", executable=REFERENCE) == ["10.0.0.4/29"]
    for executable in (None, REFERENCE):
        for container in ("a", "b", "c"):
            assert ipam.call("CHECK", ipam.config(SMALL), container, executable=executable) == (0, None)
            error = ipam.refused("ADD", ipam.config(SMALL), container, executable=executable)
            assert "duplicate allocation is not allowed" in error["msg"]
    ipam.delete(SMALL, "b", executable=REFERENCE)
    ipam.delete(SMALL, "a")
    assert ipam.leases() == {"10.0.0.4": "c eth0"}


IN_THREADS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
sys.path[:0] = [{root!r}, {root!r} + "/plugins"]
import host_local
from cni_provision.cni import skel

def add(number):
    environment = {{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": f"t{{number}}", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt",
                   "CNI_NETNS": "/proc/self/ns/net", "CNI_NETNS_OVERRIDE": "1"}}
    outcome = skel.run(host_local.PLUGIN, environment, sys.argv[1].encode())
    return json.loads(outcome.stdout)["ips"][0]["address"]

with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(add, range(32)))))
"""


def test_64_at_once_from_threads_and_processes(ipam: Ipam) -> None:
    """32 calls in the threads of one process, 32 processes, half of them the reference's."""
    config = {"subnet": "10.0.0.0/24"}
    script = IN_THREADS.format(root=str(ROOT))
    argv = ipam.enter(sys.executable, "-c", script, json.dumps(ipam.config(config)))
    others = [REFERENCE] if REFERENCE.exists() else []
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as threads, ThreadPoolExecutor(8) as pool:

        def add(number: int) -> str:
            executable = [*others, None][number % (len(others) + 1)]
            return ipam.addresses(config, f"p{number}", executable=executable)[0]

        given = list(pool.map(add, range(32)))
        given += json.loads(threads.communicate(timeout=60)[0])
    assert Counter(given).most_common(1)[0][1] == 1
    assert sorted(ipam.leases()) == sorted(address.split("/")[0] for address in given)
    assert len(given) == 64


def test_no_lease_is_lost_or_given_twice_across_kills(ipam: Ipam) -> None:
    """Processes are killed at any moment: an address that nobody was told of is found by its attachment's DEL."""
    config = {"subnet": "10.0.0.0/27"}
    document = json.dumps(ipam.config(config)).encode()
    environment = {
        "CNI_COMMAND": "ADD", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt", "CNI_NETNS": "/proc/self/ns/net",
        "CNI_NETNS_OVERRIDE": "1",
    }  # fmt: skip
    for number in range(12):
        with subprocess.Popen(
            ipam.enter(str(ipam.executable)),
            env={**environment, "CNI_CONTAINERID": f"k{number}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as process:
            process.stdin.write(document)
            process.stdin.close()
            timer = threading.Timer(0.02 + number * 0.004, process.kill)
            timer.start()
            process.wait(10)
            timer.cancel()
    alive = ipam.addresses(config, "alive")
    for number in range(12):
        ipam.delete(config, f"k{number}")
    assert [f"{address}/27" for address in ipam.leases()] == alive
    assert os.listdir(ipam.folder / "net").count("lock") == 1
