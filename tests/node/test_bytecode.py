"""Compiled plugins: found by their sources' digest, exactly those that are wanted, never in the way of an apply."""

from __future__ import annotations

import marshal
import os
from pathlib import Path

import pytest

from cni_provision.artifact import builtin_plugins
from cni_provision.artifact_build import build_plugin
from cni_provision.node import bytecode
from cni_provision.node.bytecode import MAIN, digest_of, sources_in


@pytest.fixture
def loopback(tmp_path: Path) -> str:
    path = tmp_path / "loopback"
    path.write_bytes(build_plugin(builtin_plugins()["loopback"]))
    return str(path)


def test_every_module_is_compiled(loopback: str) -> None:
    sources = sources_in(loopback)
    magic, modules = marshal.loads(bytecode.compiled(sources))
    assert magic == bytecode.MAGIC_NUMBER
    assert modules["cni_provision"][0]
    assert not modules["plugins.loopback"][0]
    assert len(modules) == len([name for name in sources if name != MAIN])


def test_the_main_names_the_digest(loopback: str) -> None:
    sources = sources_in(loopback)
    assert digest_of(sources) in sources[MAIN].decode()


def test_the_digest_depends_on_names_and_bytes_of_modules() -> None:
    digests = [
        digest_of(sources)
        for sources in ({"a.py": b"b"}, {"a.py": b"c"}, {"b.py": b"b"}, {"a.py": b"b", "b.py": b""}, {})
    ]
    assert len(set(digests)) == len(digests)
    assert digest_of({"a.py": b"b", MAIN: b"x", "digests.json": b"{}"}) == digests[0]


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF" * 100])
def test_what_is_no_plugin_of_ours_is_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert not bytecode.wanted([str(path), str(tmp_path / "absent")])


def test_a_plugin_is_wanted_once(loopback: str) -> None:
    names = bytecode.wanted([loopback, loopback])
    assert len(names) == 1
    assert os.path.basename(next(iter(names))).startswith(digest_of(sources_in(loopback)))
