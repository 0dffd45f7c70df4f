"""What an executable without a server imports of the standard library: each module costs time at every call."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.built import Built, compile_for
from tests.plugins.conftest import Host, Namespace
from tests.test_artifact_build import NEW, pythons

pytestmark = pytest.mark.root

# beside what Python itself imports to start a zip
BASIC = {
    "_collections", "_collections_abc", "_functools", "_operator", "collections", "collections.abc", "contextlib",
    "functools", "itertools", "keyword", "operator", "reprlib", "types", "_opcode",
}  # fmt: skip
OURS = {"_json", "_socket", "_struct", "errno", "fcntl", "gc", "ipaddress", "math", "select", "struct"}
DIGESTS = {"_sha2", "_sha256", "_sha512"}
SETNS = {"ctypes", "_ctypes", "ctypes._endian"}  # Python 3.12 has `os.setns`
# never, even where all of `typing` and `dataclasses` is loaded because nothing was compiled
HEAVY = {"hashlib", "_hashlib", "json", "logging", "pathlib", "selectors", "socket", "subprocess", "threading"}
CONFIG = {
    "cniVersion": "1.0.0", "name": "cold", "type": "bridge", "bridge": "cold0", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "dataDir": "/run/leases", "ranges": [[{"subnet": "10.88.0.0/16"}]]},
}  # fmt: skip


@pytest.fixture
def way() -> str:
    return "cold"


@pytest.fixture(params=NEW)
def python(request: pytest.FixtureRequest) -> str:
    return pythons()[request.param]


@pytest.fixture
def bare(python: str, tmp_path: Path) -> set[str]:
    """What Python imports for a zip with nothing in it."""
    with zipfile.ZipFile(tmp_path / "bare", "w") as archive:
        archive.writestr("__main__.py", "")
    argv = [python, "-I", "-S", "-X", "importtime", str(tmp_path / "bare")]
    return imported(subprocess.run(argv, capture_output=True, text=True, check=True).stderr)


@pytest.fixture
def life(host: Host, container: Namespace, python: str) -> Callable[[], dict[str, set[str]]]:
    """A function that has a container live, and returns what each verb's process imported."""

    def call(verb: str, **more: object) -> tuple[set[str], dict | None]:
        before = (python, "-I", "-S", "-X", "importtime")
        outcome = host.call(verb, {**CONFIG, **more}, netns=container.path, before=before)
        assert outcome.code == 0, outcome
        return imported(outcome.stderr), outcome.result

    def live() -> dict[str, set[str]]:
        call("ADD")  # the first in a network makes its tables with `nft`, in a child
        call("DEL")
        added, result = call("ADD")
        later = {verb: call(verb, prevResult=result)[0] for verb in ("CHECK", "DEL", "VERSION")}
        return {"ADD": added, **later}

    return live


def imported(stderr: str) -> set[str]:
    """The modules that `-X importtime` reports, ours left out."""
    names = {line.rsplit("|", 1)[-1].strip() for line in stderr.splitlines() if line.startswith("import time:")}
    return {name for name in names if name.split(".")[0] not in ("cni_provision", "plugins")}


def test_bytecode_imports_a_closed_set(
    host: Host, python: str, bare: set[str], built: Built, tmp_path: Path, life: Callable[[], dict[str, set[str]]]
) -> None:
    host.keep_bytecode(compile_for(python, built, tmp_path / "bytecode"))
    more = {verb: found - bare - BASIC - OURS for verb, found in life().items()}
    assert more["VERSION"] == set()
    assert more["ADD"] <= DIGESTS | SETNS
    assert more["CHECK"] <= DIGESTS | SETNS
    assert more["DEL"] <= DIGESTS | SETNS


def test_sources_import_nothing_heavy(
    host: Host, tmp_path: Path, bare: set[str], life: Callable[[], dict[str, set[str]]]
) -> None:
    host.keep_bytecode(tmp_path / "nothing")
    for verb, found in life().items():
        assert "dataclasses" in found, "bytecode was used"
        assert not (found - bare) & HEAVY, verb
