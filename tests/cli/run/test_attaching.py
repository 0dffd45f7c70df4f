"""cnitool's conventions, and what a network, a container and a place are called."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click
import pytest

from cni_provision.cli.run.attaching import (
    Container,
    Place,
    Where,
    capabilities,
    container_id,
    is_file,
    one_namespace,
    pairs,
)
from cni_provision.cni.types import CNIError


def test_container_id_is_cnitools() -> None:
    digest = hashlib.sha512(b"/run/netns/blue").digest()
    assert container_id("/run/netns/blue") == f"cnitool-{digest[:10].hex()}"


def test_container_id_is_that_of_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert container_id("blue") == container_id(f"{tmp_path}/blue")
    assert Container().attachment("blue").netns == f"{tmp_path}/blue"


def test_attachment_from_the_environments_forms() -> None:
    container = Container(args="IgnoreUnknown=1;K8S_POD_NAME=a", cap_args='{"ips": ["10.1.2.3"]}', cap=('mac="aa"',))
    attachment = container.attachment("/run/netns/blue")
    assert attachment.ifname == "eth0"
    assert attachment.args == (("IgnoreUnknown", "1"), ("K8S_POD_NAME", "a"))
    assert attachment.capabilities == {"ips": ["10.1.2.3"], "mac": "aa"}


def test_a_capability_goes_before_all_of_them() -> None:
    assert capabilities('{"mac": "aa", "x": 1}', ('mac="bb"', "y=[1]")) == {"mac": "bb", "x": 1, "y": [1]}


def test_empty_forms() -> None:
    assert pairs("") == ()
    assert pairs("A=b;") == (("A", "b"),)
    assert capabilities("", ()) == {}


@pytest.mark.parametrize("text", ["a", "a=b=c", "=b", "a=", "a=b;c"])
def test_args_are_as_strict_as_cnitools(text: str) -> None:
    with pytest.raises(click.UsageError):
        pairs(text)


def test_a_network_is_a_file_only_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_file("pods.conf")
    (tmp_path / "pods.conf").touch()
    assert is_file("pods.conf")
    assert is_file("./absent.conflist")
    assert not is_file("pods")


def test_one_namespace() -> None:
    assert one_namespace(None, None) is None
    assert one_namespace("/x", None) == one_namespace(None, "/x") == one_namespace("/x", "/x") == "/x"


def test_words_name_the_same_place_and_attachment_again() -> None:
    assert Where().words == []
    where = Where("net", "bin", "cache", "a", ("hosts.yaml", "more.yaml"), ("k=v",))
    assert " ".join(where.words) == (
        "--node a -i hosts.yaml -i more.yaml --path bin -e k=v --conf-dir net --cache-dir cache"
    )
    assert Container(ifname="net1", container_id="c").words == ["--ifname", "net1", "--container-id", "c"]


def test_a_network_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.conflist").write_text(f'{{"name": "{name}", "plugins": [{{"type": "x"}}]}}')
    (tmp_path / "c.conflist.bak").write_text("{")
    with pytest.raises(CNIError) as caught:
        Place(str(tmp_path), (), "").network("none")
    assert (caught.value.msg, caught.value.details) == (f"no network `none` in {tmp_path}", "known: a, b")


def test_files_are_in_order_of_name(tmp_path: Path) -> None:
    for name in ("20-a.conf", "10-b.conflist", "15-c.json", "notes.txt"):
        (tmp_path / name).touch()
    found = map(os.path.basename, Place(str(tmp_path), (), "").files())
    assert list(found) == ["10-b.conflist", "15-c.json", "20-a.conf"]
