"""Assembles the Ansible collection `cni_provision.cni` in a folder: `python roles/collection.py FOLDER`.

In a collection a role's own plugins must be the collection's: so it is assembled of the role, and is not the
repository itself, where `plugins/` are those of containers.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROLE = Path(__file__).resolve().parent / "cni_provision"
NAMESPACE, NAME = "cni_provision", "cni"
GALAXY = """\
---
namespace: {namespace}
name: {name}
version: {version}
readme: README.md
authors: [the cni-provision project]
description: Container networks (CNI plugins and conflists) on nodes, as one transaction, verified with traffic
license: [Apache-2.0, GPL-3.0-or-later]
tags: [cni, containers, networking, kubernetes, linux]
repository: https://github.com/cni-provision/cni-provision
"""
RUNTIME = '---\nrequires_ansible: ">=2.16.0"\n'


def assemble(target: Path, version: str) -> None:
    """Fill `target`, which must not be there; `ansible-galaxy collection build` makes an archive of it."""
    own = shutil.ignore_patterns("action_plugins", "library", "__pycache__")
    shutil.copytree(ROLE, target / "roles" / ROLE.name, ignore=own)
    for source, kind in (("action_plugins", "action"), ("library", "modules")):
        shutil.copytree(ROLE / source, target / "plugins" / kind, ignore=own)
    (target / "meta").mkdir()
    (target / "meta/runtime.yml").write_text(RUNTIME)
    (target / "galaxy.yml").write_text(GALAXY.format(namespace=NAMESPACE, name=NAME, version=version))
    shutil.copy(ROLE / "README.md", target / "README.md")


if __name__ == "__main__":
    sys.path.insert(0, str(ROLE.parent.parent))
    from cni_provision import __version__

    assemble(Path(sys.argv[1]), __version__)
