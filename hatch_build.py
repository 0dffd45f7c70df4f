"""Put `templates/`, `plugins/` and `roles/` into standard wheels as `cni_provision/_data`, and built launchers.

Editable installs are left alone: `cni_provision.data.root()` finds the checkout itself there,
and a forced copy would freeze the folders at the time of the install.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("templates", "plugins", "roles")


class DataFolders(BuildHookInterface):
    """Adds the data folders of a checkout or an unpacked sdist to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called once per build; `version` is `standard` or `editable`."""
        if self.target_name != "wheel" or version != "standard":
            return
        for folder in FOLDERS:
            source = Path(self.root, folder)
            for file in sorted(path for path in source.rglob("*") if path.is_file()):
                if "__pycache__" not in file.parts:
                    relative = file.relative_to(self.root)
                    build_data["force_include"][str(file)] = f"cni_provision/_data/{relative}"
        for file in self.launchers():
            build_data["force_include"][str(file)] = f"cni_provision/_data/launchers/{file.name}"

    def launchers(self) -> list[Path]:
        """Built for every architecture.

        A wheel without them would change nodes' plugins back and forth with one that has them.
        """
        sys.path.insert(0, self.root)
        from cni_provision import artifact_launcher

        if not artifact_launcher.can_build():
            raise RuntimeError(f"wheels carry launchers: pip install ziglang=={artifact_launcher.COMPILER}")
        folder = Path(tempfile.mkdtemp(prefix="launchers-"))
        for name in artifact_launcher.TARGETS:
            (folder / name).write_bytes(artifact_launcher.compiled(name))
        return [folder / name for name in artifact_launcher.TARGETS]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called once the wheel is there."""
        for source, target in build_data.get("force_include", {}).items():
            if target.startswith("cni_provision/_data/launchers/"):
                Path(source).unlink()
