"""Executables by digest: our own, a file's, a release's."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import pytest

from cni_provision.artifact import Blobs, builtin_plugins, collect, file_name, names_of, servers
from cni_provision.artifact_launcher import launchers
from cni_provision.errors import UserError
from cni_provision.inventory.model import PluginSource


def test_blobs_are_found_by_digest_and_compressed_once() -> None:
    blobs = Blobs()
    digest = blobs.add(b"x" * 1000)
    assert digest == hashlib.sha256(b"x" * 1000).hexdigest()
    assert blobs.get(digest) == b"x" * 1000
    assert zlib.decompress(blobs.compressed(digest)) == b"x" * 1000
    assert blobs.compressed(digest) is blobs.compressed(digest)
    assert digest in blobs
    with pytest.raises(KeyError):
        blobs.get("0" * 64)


def test_the_folder_is_the_list_of_plugins(tmp_path: Path) -> None:
    blobs = Blobs()
    found = collect(PluginSource("ours", "builtin"), blobs, tmp_path)
    assert [one.name for one in found if one.architecture is None] == list(builtin_plugins())
    assert {"bridge", "host-local", "loopback", "portmap"} <= set(builtin_plugins())
    assert all(len(blobs.get(one.digest)) == one.size for one in found)


def test_ours_have_a_launcher_for_each_architecture_at_hand_and_a_head_for_the_others(tmp_path: Path) -> None:
    at_hand = launchers(tmp_path)
    blobs = Blobs()
    found = collect(PluginSource("ours", "builtin", plugins=("loopback",)), blobs, tmp_path)
    assert {one.architecture for one in found} == {None, *at_hand}
    for one in found:
        assert blobs.get(one.digest).startswith(at_hand[one.architecture] if one.architecture else b"#!/bin/sh")


def test_a_server_knows_the_digests_of_its_architecture(tmp_path: Path) -> None:
    blobs = Blobs()
    plugins = collect(PluginSource("ours", "builtin"), blobs, tmp_path)
    for server in servers(blobs, tmp_path):
        known = json.loads(zipfile.ZipFile(io.BytesIO(blobs.get(server.digest))).read("digests.json"))
        assert known == {one.name: one.digest for one in plugins if one.architecture == server.architecture}


def test_plugins_narrow_a_source(tmp_path: Path) -> None:
    source = PluginSource("ours", "builtin", plugins=("loopback",))
    assert {one.name for one in collect(source, Blobs(), tmp_path)} == {"loopback"}
    assert names_of(source) == ("loopback",)


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "my-plugin").write_bytes(b"\x7fELF")
    blobs = Blobs()
    (found,) = collect(PluginSource("mine", "file", path=str(tmp_path / "my-plugin")), blobs, tmp_path)
    assert (found.name, blobs.get(found.digest)) == ("my-plugin", b"\x7fELF")


def test_a_file_of_python_becomes_a_plugin(tmp_path: Path) -> None:
    source = PluginSource("mine", "file", path=str(tmp_path / "my_plugin.py"))
    (tmp_path / "my_plugin.py").write_text(
        "from cni_provision.cni import skel\nPLUGIN = skel.Plugin('x', None, None)\n"
    )
    blobs = Blobs()
    (found,) = collect(source, blobs, tmp_path)
    assert found.name == file_name(source) == "my-plugin"
    assert blobs.get(found.digest).startswith(b"#!/bin/sh\n")


def test_a_file_of_another_checksum_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my-plugin").write_bytes(b"new")
    right = hashlib.sha256(b"new").hexdigest()
    source = PluginSource("mine", "file", path=str(tmp_path / "my-plugin"), checksum=f"sha256:{right.upper()}")
    assert collect(source, Blobs(), tmp_path)
    wrong = PluginSource("mine", "file", path=str(tmp_path / "my-plugin"), checksum="sha256:" + "0" * 64)
    with pytest.raises(UserError, match=f"has the checksum sha256:{right}, not sha256:0000"):
        collect(wrong, Blobs(), tmp_path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: No such file or directory"):
        collect(PluginSource("mine", "file", path=str(tmp_path / "absent")), Blobs(), tmp_path)
