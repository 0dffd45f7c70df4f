"""libcni itself, as Debian has its source, reads the same files and refuses the same ones."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import loaders
from cni_provision.cni.types import CNIError

LIBCNI = Path("/usr/share/gocode")
CASES = json.loads((Path(__file__).parents[1] / "cases/cni/loaders.json").read_text())["test_choices"]
pytestmark = pytest.mark.skipif(
    not shutil.which("go") or not (LIBCNI / "src/github.com/containernetworking/cni").exists(),
    reason="golang-go and golang-github-appc-cni-dev are not installed",
)

# every value that may stand where another is expected; `absent` leaves the key out
ABSENT = "absent"
VALUES: tuple[Any, ...] = (
    ABSENT,
    None,
    True,
    False,
    0,
    1.5,
    "",
    "true",
    "FALSE",
    "1.0.0",
    "x/y",
    [],
    ["a"],
    {},
    {"a": 1},
)
NEWER = (("name", ""), ("disableCheck", "true"), ("disableCheck", "FALSE"))  # than Debian's: side folders, texts
PLUGIN = {"type": "bridge", "name": "inner", "capabilities": {"x": True}, "ipam": {"type": "host-local"}, "dns": {}}
LIST = {"cniVersion": "1.0.0", "name": "n", "disableCheck": False, "plugins": [PLUGIN]}
TEXTS = (
    "",
    " ",
    "null",
    "{",
    "{}",
    "[]",
    '"x"',
    "3",
    '{"name": "n"} {}',
    "\ufeff{}",
    '{"a": 01}',
    "{'name': 'n'}",
    "nul",
)


def variants() -> Iterator[tuple[str, bytes]]:
    """Files of every ending, each of which differs in one place from one that is right."""
    number = itertools.count()
    for ending, whole in ((".conflist", LIST), (".conf", {**PLUGIN, "cniVersion": "1.0.0"})):
        for text in (*TEXTS, json.dumps(whole)):
            yield f"{next(number):03}{ending}", text.encode()
        for key, value in itertools.product(whole, VALUES):
            if ending == ".conflist" and (key, value) in NEWER:
                continue
            yield f"{next(number):03}{ending}", with_value(whole, key, value)
    for value in VALUES:
        plugin = {**changed(PLUGIN, "type", ABSENT), "TYPE": value}
        yield f"{next(number):03}.conflist", json.dumps({**LIST, "plugins": [plugin]}).encode()
    for key, value in itertools.product(PLUGIN, VALUES):
        yield f"{next(number):03}.conflist", json.dumps({**LIST, "plugins": [changed(PLUGIN, key, value)]}).encode()
    for key, value in itertools.product(("nameservers", "domain", "search", "options"), VALUES):
        yield f"{next(number):03}.json", json.dumps({**PLUGIN, "dns": changed({}, key, value)}).encode()


def changed(whole: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    rest = {name: one for name, one in whole.items() if name != key}
    return rest if value == ABSENT else {**rest, key: value}


def with_value(whole: dict[str, Any], key: str, value: Any) -> bytes:
    return json.dumps(changed(whole, key, value)).encode()


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("go") / "loads"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(LIBCNI),
        "GOCACHE": str(program.with_name("cache")),
        "GOFLAGS": "",
    }
    source = Path(__file__).parent / "libcni/loads.go"
    subprocess.run(["go", "build", "-o", program, source], env=environment, check=True, timeout=300)
    return program


def asked(go: Path, folder: Path, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(subprocess.check_output([go, folder, name], timeout=60))
    return answer


def ours(folder: Path, file: str) -> list[Any] | None:
    try:
        found = loaders.Folder(str(folder)).read(file)
    except CNIError:
        return None
    return [found.name, list(found.types)]


def test_every_variant_is_read_as_libcni_reads_it(go: Path, tmp_path: Path) -> None:
    files = dict(variants())
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    theirs = asked(go, tmp_path, "n")["files"]
    assert theirs.keys() == files.keys()
    assert {name: (found, files[name]) for name, found in theirs.items() if ours(tmp_path, name) != found} == {}
    assert sum(found is not None for found in theirs.values()) > 50


@pytest.mark.parametrize("folder", [case for case in CASES if "network" in case], ids=lambda case: case["name"])
def test_a_name_is_found_where_libcni_finds_it(folder: dict[str, Any], go: Path, tmp_path: Path) -> None:
    for name, content in folder["files"].items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert asked(go, tmp_path, folder["network"])["found"] is bool(folder["chosen"]["libcni"][1])
