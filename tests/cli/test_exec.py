"""`exec` as cnitool's users know it: environment, order of arguments, container ids, errors on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_provision import data
from cni_provision.artifact import build_plugin
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


def test_list(program: Run, here: dict[str, str], folder: Path) -> None:
    (folder / "net/10-broken.conflist").write_text("{")
    done = program("exec", "list", "--cache-dir", str(folder / "cache"), **here)
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


def test_help_fits_one_screen(program: Run) -> None:
    lines = program("exec", "--help", COLUMNS="80").stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_which(program: Run, here: dict[str, str], folder: Path) -> None:
    (folder / "net/10-broken.conflist").write_text("{")
    done = program("exec", "which", **here)
    assert done.returncode == 0
    paragraphs = done.stdout.split("\n\n")
    assert [text.splitlines()[0] for text in paragraphs] == [
        "containerd takes none: the first file is malformed, and ends it",
        "CRI-O takes `lo` from 99-lo.conflist: the first valid file in order of name",
        "libcni takes none: it is asked for a network by name",
        "Podman takes `podman`: no valid file has its default, so it makes one in memory (CNI backend)",
    ]
    assert paragraphs[0].splitlines()[1].startswith("  10-broken.conflist  malformed: cannot decode JSON")


def test_list_of_nothing(program: Run, folder: Path) -> None:
    done = program("exec", "list", "--conf-dir", "none", "--cache-dir", str(folder / "cache"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no network in none\n")
