"""Molecule's scenarios: `default` on a virtual machine in every run, all of them by `nox -s vm`.

On lab nodes they are the same tests, but for what needs a kernel or a systemd of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.inventory import peers

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = (
    "ansible-core==2.19.14", "molecule==26.10.0", "pytest-testinfra==10.2.2", "grpcio==1.85.3", "click==8.5.1",
    "pyroute2==0.9.7", "ziglang==0.17.1",
)  # fmt: skip
PROGRAMS = ("mmdebstrap", "qemu-system-x86_64", "mkfs.ext4")
NO_MACHINE = "CannotBuild: "
SECONDS = 1500


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_default_on_a_virtual_machine() -> None:
    scenario("default", "vm")


@pytest.mark.vm
@pytest.mark.parametrize("name", ["fleet", "upgrade", "containerd"])
def test_on_virtual_machines(name: str) -> None:
    scenario(name, "vm")


@pytest.mark.lab
@pytest.mark.vm
@pytest.mark.parametrize("name", ["default", "fleet", "upgrade", "containerd"])
def test_on_lab_nodes(name: str) -> None:
    scenario(name, "lab")


def scenario(name: str, kind: str) -> None:
    """`molecule test`; skipped, with the reason, where no machine can be made."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=os.defpath + ":/usr/sbin:/sbin")]
    if kind == "vm" and absent:
        pytest.skip(f"{', '.join(absent)} not installed")
    programs = peers.environment(*PACKAGES).parent
    own = {"PATH": f"{programs}:{os.environ['PATH']}", "CNI_PROVISION_MOLECULE": kind, "NO_COLOR": "1"}
    done = subprocess.run(
        [programs / "molecule", "--base-config", ".config/molecule/config.yml", "test", "-s", name],
        cwd=ROOT,
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    print(done.stdout)
    if NO_MACHINE in done.stdout:
        said = done.stdout.partition(NO_MACHINE)[2].partition('"')[0].replace("\\n", " ")
        pytest.skip(f"no Debian for the machine: {said[:300]}")
    assert done.returncode == 0, done.stdout
