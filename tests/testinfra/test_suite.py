"""The ready-made suite on lab nodes: good nodes pass, a node that differs does not, each is asked once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cni_provision import lab

pytestmark = pytest.mark.lab
DECLARED = {
    "cni_networks": [{"name": "pods", "template": "bridge", "parameters": {"subnet": "10.42.{{ node_index }}.0/24"}}],
    "cni_runtime": {"server": False},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lab.Lab, Path]]:
    """Two provisioned nodes, the second of which somebody has touched since."""
    folder = tmp_path_factory.mktemp("site")
    there = lab.up(2, f"suite-{os.getpid()}")
    try:
        group = yaml.safe_load(lab.inventory(there))["lab"]
        group["vars"] |= DECLARED
        (folder / "hosts.yaml").write_text(yaml.safe_dump({"lab": group}))
        program = Path(sys.executable).with_name("cni-provision")
        subprocess.run([program, "apply", "--yes", "-i", folder / "hosts.yaml"], check=True, capture_output=True)
        lab.execute(there, "node-2", ["sh", "-c", "echo >>/etc/cni/net.d/50-pods.conflist"])
        yield there, folder
    finally:
        lab.down(there.name)


def test_the_suite(site: tuple[lab.Lab, Path]) -> None:
    there, folder = site
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", "--color=no", "--pyargs",
            "cni_provision.testinfra", "--hosts=ssh://node-1,ssh://node-2", f"--ssh-config={there.folder}/ssh_config",
        ],
        cwd=folder,
        env={**os.environ, "CNI_PROVISION_INVENTORY": "hosts.yaml"},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1, done.stdout
    assert failed[0].endswith("test_check[ssh://node-2-digests]")
