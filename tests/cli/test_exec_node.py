"""`exec` for a node of the demo's inventory, on a host of its own: network and mount namespaces, overlays."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
HOSTS = "all: {hosts: {node-1: , node-2: }}\n"
LIKE = ("--node", "node-1", "-i", "inventory")
AS_HOST = """
set -e
mount -t tmpfs tmpfs /run
for folder in /etc /opt /var/lib; do
    mkdir -p "/run/above$folder" "/run/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=/run/above$folder,workdir=/run/work$folder" overlay "$folder"
done
rm -rf /var/lib/cni /etc/cni/net.d /opt/cni/bin
mkdir /run/noexec && mount -t tmpfs -o noexec tmpfs /run/noexec
ip link set lo up
ip netns add blue
echo ready
exec cat
"""

Exec = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.root


@pytest.fixture
def host() -> Iterator[list[str]]:
    """The beginning of a command line that runs on a host whose files and links go when the test ends."""
    argv = ["unshare", "-n", "-m", "sh", "-c", AS_HOST]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        yield ["nsenter", f"--target={holder.pid}", "--net", "--mount"]
        holder.stdin.close()


@pytest.fixture
def run(host: list[str], tmp_path: Path, environment: dict[str, str]) -> Exec:
    """run("add", "pods") is `cni-provision exec add pods` there, beside the demo's inventory."""
    shutil.copytree(ROOT / "docs/example", tmp_path / "inventory")
    (tmp_path / "inventory/hosts.yaml").write_text(HOSTS)

    def run(*words: str, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        argv = [*host, f"--wd={tmp_path}", PROGRAM, "exec", *words]
        done = subprocess.run(
            argv, env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def addresses(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [ip["address"] for ip in json.loads(done.stdout)["ips"]]


def links(host: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(subprocess.check_output([*host, "ip", "-j", "link"], text=True))
    return found


def test_add_and_del_in_a_throwaway_namespace(run: Exec, host: list[str]) -> None:
    assert addresses(run("add", "pods", *LIKE)) == ["10.42.0.2/24"]
    assert [link["ifname"] for link in links(host)] == ["lo", "cni0"]
    assert "attached" in run("list", *LIKE).stdout.splitlines()[0]
    assert "10.42.0.2" not in run("list", *LIKE).stdout


def test_add_kept_then_checked_and_deleted_without_a_namespace(run: Exec, host: list[str]) -> None:
    done = run("add", "pods", "--keep", *LIKE, "--cap", 'portMappings=[{"hostPort": 8080, "containerPort": 80}]')
    netns = json.loads(done.stdout)["interfaces"][-1]["sandbox"]
    assert f"`cni-provision exec del pods {netns} --node node-1 -i inventory`" in done.stderr
    listed = run("list", "pods", *LIKE).stdout
    assert "10.42.0.2/24" in listed
    assert "10.42.0.2 " in listed
    assert run("check", "pods", *LIKE).stdout == ""
    assert run("del", "pods", *LIKE).stdout == ""
    assert [link["ifname"] for link in links(host)] == ["lo", "cni0"]
    assert subprocess.run([*host, "test", "-e", netns], check=False).returncode == 1
    nft = subprocess.check_output([*host, "nft", "list", "ruleset"], text=True)
    assert "8080" not in nft


def test_a_namespace_of_the_users_by_cnitools_order_of_arguments(run: Exec) -> None:
    assert addresses(run("add", "fabric", "/run/netns/blue", *LIKE, CNI_IFNAME="net1")) == ["10.60.0.2/24"]
    assert "net1" in run("list", *LIKE).stdout
    run("del", "fabric", "/run/netns/blue", *LIKE, CNI_IFNAME="net1")
    said = json.loads(run("add", "fabric", "blue", *LIKE, expect=1).stdout)
    assert said["details"] == "did you mean /run/netns/blue"


def test_two_attachments_have_to_be_told_apart(run: Exec) -> None:
    for number in "12":
        run("add", "pods", "/run/netns/blue", "--container-id", f"c{number}", "--ifname", f"net{number}", *LIKE)
    assert "`pods` has 2 attachments, c1/net1, c2/net2" in run("del", "pods", *LIKE, expect=64).stderr
    run("del", "pods", "--container-id", "c1", *LIKE)
    assert "c1" not in run("list", *LIKE).stdout
    run("del", "pods", *LIKE)


def test_del_takes_the_configuration_of_the_add(run: Exec, host: list[str], tmp_path: Path) -> None:
    """The folder has another network of that name by then."""
    run("add", "pods", "/run/netns/blue", *LIKE)
    built = tmp_path / "built"
    subprocess.run([PROGRAM, "plugin", "build", "-o", built], check=True, capture_output=True)
    (tmp_path / "net").mkdir()
    (tmp_path / "net/10-pods.conflist").write_text(
        '{"name": "pods", "cniVersion": "1.0.0", "plugins": [{"type": "x"}]}'
    )
    run("del", "pods", NETCONFPATH="net", CNI_PATH=str(built))
    assert [link["ifname"] for link in links(host)] == ["lo", "cni0"]


def test_gc_frees_what_was_lost(run: Exec, host: list[str]) -> None:
    run("add", "pods", "/run/netns/blue", *LIKE)
    run("gc", "pods", *LIKE)
    assert "10.42.0.2" in run("list", *LIKE).stdout
    subprocess.run([*host, "ip", "netns", "del", "blue"], check=True)
    assert "/run/netns/blue (gone)" in run("list", *LIKE).stdout
    run("gc", "pods", *LIKE)
    assert "10.42.0.2" not in run("list", *LIKE).stdout


def test_gc_of_all_is_cnitools(run: Exec) -> None:
    run("add", "pods", "/run/netns/blue", *LIKE)
    run("gc", "pods", "/run/netns/blue", "--all", *LIKE)
    assert "10.42.0.2" not in run("list", *LIKE).stdout


def test_lost_leases_are_told(run: Exec, host: list[str]) -> None:
    run("add", "pods", "/run/netns/blue", *LIKE)
    subprocess.run([*host, "rm", "-r", "/var/lib/cni/results"], check=True)
    assert "10.42.0.2  pods     cnitool-" in (listed := run("list", *LIKE).stdout)
    assert listed.rstrip().endswith("no attachment is known: `exec gc` frees it")


def test_status_version_and_validate_of_a_node(run: Exec) -> None:
    assert run("status", "pods", *LIKE).stdout == ""
    assert run("validate", "pods", *LIKE).stdout == ""
    assert [line.split()[0] for line in run("version", "pods", *LIKE).stdout.splitlines()] == [
        "bridge",
        "host-local",
        "portmap",
    ]


def test_which_of_a_node(run: Exec) -> None:
    said = run("which", *LIKE).stdout.splitlines()
    assert "containerd takes `pods` from 10-pods.conflist: the first file in order of name" in said
    assert "CRI-O takes `pods` from 10-pods.conflist: the first valid file in order of name" in said
    assert "libcni takes none: it is asked for a network by name" in said


def test_plugins_that_are_given_go_before_the_inventorys(run: Exec) -> None:
    said = json.loads(run("validate", "pods", *LIKE, CNI_PATH="/none", expect=1).stdout)
    assert 'failed to find plugin "bridge" in path [/none]' in said["msg"]


def test_a_folder_from_which_nothing_runs(run: Exec) -> None:
    done = run("validate", "pods", *LIKE, TMPDIR="/run/noexec", expect=65)
    assert "/run/noexec is mounted noexec" in done.stderr
    assert "hint: set TMPDIR" in done.stderr


def test_json_is_one_object_a_line_with_the_answer(run: Exec) -> None:
    done = run("add", "pods", "/run/netns/blue", "--json", "--trace", *LIKE)
    told = {event["event"]: event for event in map(json.loads, done.stdout.splitlines())}
    assert {"version", "executed", "text", "summary"} <= set(told)
    assert told["text"]["answer"]["ips"][0]["address"] == "10.42.0.2/24"
    listed = [json.loads(line) for line in run("list", "--json", *LIKE).stdout.splitlines()]
    (answer,) = [event["answer"] for event in listed if event["event"] == "text"]
    assert {one["name"] for one in answer["networks"]} >= {"pods", "fabric"}
    assert [one["addresses"] for one in answer["attachments"]] == ["10.42.0.2/24"]
    assert [one["lost"] for one in answer["leases"]] == [False]
    wrong = run("add", "nothing", "--json", *LIKE, expect=1).stdout.splitlines()
    assert json.loads(wrong[-2])["answer"]["code"] == 7
    versions = [json.loads(line) for line in run("version", "bridge", "--json", *LIKE).stdout.splitlines()]
    assert versions[-2]["answer"]["plugin"] == "bridge"
    runtimes = [json.loads(line) for line in run("which", "--json", *LIKE).stdout.splitlines()]
    assert "containerd" in {choice["runtime"] for choice in runtimes[-2]["answer"]}


def test_trace_does_not_show_what_only_the_owner_may_read(run: Exec, tmp_path: Path) -> None:
    network = {"cniVersion": "1.0.0", "name": "sealed", "plugins": [{"type": "loopback", "password": "hunter2"}]}
    file = tmp_path / "sealed.conflist"
    file.write_text(json.dumps(network))
    assert "hunter2" in run("add", "./sealed.conflist", "--trace", "--path", "/usr/lib/cni").stderr
    file.chmod(0o600)
    for name, words in (("./sealed.conflist", ()), ("sealed", ("--conf-dir", "."))):
        said = run("add", name, "--trace", "--path", "/usr/lib/cni", *words).stderr
        assert "hunter2" not in said
        assert "(not shown: only its owner may read this network's file)" in said


def test_trace_shows_plugins_and_their_ipam(run: Exec) -> None:
    done = run("add", "pods", *LIKE, "--trace")
    heads = [line.partition(":")[0] for line in done.stderr.splitlines() if ": exit code 0, " in line]
    assert heads == [
        "ADD bridge",
        "│ ADD host-local",
        "ADD portmap",
        "DEL portmap",
        "DEL bridge",
        "│ DEL host-local",
    ]
    assert '│ │ stdout  {"cniVersion": "1.0.0", "ips": [{"address": "10.42.0.2/24"' in done.stderr
    assert addresses(done) == ["10.42.0.2/24"]
