"""`exec` as cnitool's users know it: environment, order of arguments, container ids, errors on stdout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cni_provision import data
from cni_provision.artifact import build_plugin
from cni_provision.cli.run.attaching import Container, capabilities, container_id, pairs
from tests.cli.conftest import Run

CONFLIST = '{"cniVersion": "1.0.0", "name": "lo", "plugins": [{"type": "loopback"}]}'


@pytest.fixture
def here(folder: Path) -> dict[str, str]:
    """cnitool's environment for a folder with the network `lo` and the plugin `loopback`."""
    for name in ("net", "bin"):
        (folder / name).mkdir()
    (folder / "net/99-lo.conflist").write_text(CONFLIST)
    plugin = folder / "bin/loopback"
    plugin.write_bytes(build_plugin(data.root() / "plugins/loopback.py"))
    plugin.chmod(0o755)
    return {"NETCONFPATH": str(folder / "net"), "CNI_PATH": str(folder / "bin"), "CNI_IFNAME": "lo"}


def test_container_id_is_cnitools() -> None:
    digest = hashlib.sha512(b"/run/netns/blue").digest()
    assert container_id("/run/netns/blue") == f"cnitool-{digest[:10].hex()}"


def test_attachment_from_the_environments_forms() -> None:
    container = Container(args="IgnoreUnknown=1;K8S_POD_NAME=a", cap_args='{"ips": ["10.1.2.3"]}', cap=('mac="aa"',))
    attachment = container.attachment("/run/netns/blue")
    assert attachment.args == (("IgnoreUnknown", "1"), ("K8S_POD_NAME", "a"))
    assert attachment.capabilities == {"ips": ["10.1.2.3"], "mac": "aa"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--args", "novalue"], "`novalue` is not of the form `KEY=VALUE;KEY=VALUE`"),
        (["--cap", "mac"], "`--cap mac` is not of the form `NAME=JSON`"),
        (["--cap", "mac=aa"], "`--cap mac` is not JSON"),
        (["--cap-args", "[]"], "CAP_ARGS is not a JSON object"),
    ],
)
def test_usage_is_64(program: Run, here: dict[str, str], words: list[str], message: str) -> None:
    done = program("exec", "add", "lo", "/run/netns/none", *words, **here)
    assert done.returncode == 64
    assert message in done.stderr


def test_empty_forms() -> None:
    assert pairs("") == ()
    assert capabilities("", ()) == {}


def test_list(program: Run, here: dict[str, str], folder: Path) -> None:
    (folder / "net/10-broken.conflist").write_text("{")
    done = program("exec", "list", **here)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["99-lo.conflist", "lo", "1.0.0", "loopback", "0", "0"]
    assert "10-broken.conflist" in done.stderr


def test_version(program: Run, here: dict[str, str]) -> None:
    assert program("exec", "version", "loopback", **here).stdout.startswith("loopback 0.1.0 ")


def test_validate(program: Run, here: dict[str, str], folder: Path) -> None:
    assert program("exec", "validate", "lo", **here).returncode == 0
    (folder / "bin/loopback").unlink()
    done = program("exec", "validate", "lo", **here)
    assert done.returncode == 1
    assert "loopback" in json.loads(done.stdout)["msg"]


def test_an_error_is_json_on_stdout(program: Run, here: dict[str, str]) -> None:
    done = program("exec", "add", "nowhere", "/run/netns/none", **here)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] > 0
    assert done.stderr == ""


@pytest.mark.root
def test_add_in_a_throwaway_namespace(program: Run, here: dict[str, str], folder: Path) -> None:
    done = program("exec", "add", "lo", "--cache-dir", str(folder / "cache"), **here)
    assert done.returncode == 0
    assert json.loads(done.stdout)["interfaces"][0]["name"] == "lo"
    assert list((folder / "cache/results").iterdir()) == []


@pytest.mark.root
def test_add_keep_check_gc_del(program: Run, here: dict[str, str], folder: Path) -> None:
    cache = ("--cache-dir", str(folder / "cache"))
    added = program("exec", "add", "lo", "--keep", *cache, **here)
    netns = json.loads(added.stdout)["interfaces"][0]["sandbox"]
    try:
        assert f"`cni-provision exec del lo {netns} --ifname lo --path " in added.stderr
        assert program("exec", "check", "lo", netns, *cache, **here).returncode == 0
        assert program("exec", "gc", "lo", *cache, **here).returncode == 0
        assert len(list((folder / "cache/results").iterdir())) == 1
    finally:
        assert program("exec", "del", "lo", netns, *cache, **here).returncode == 0
    assert not Path(netns).exists()
    assert list((folder / "cache/results").iterdir()) == []
