"""Put `templates/`, `plugins/` and `roles/` into standard wheels as `cni_provision/_data`.

Editable installs are left alone: `cni_provision.data.root()` finds the checkout itself there,
and a forced copy would freeze the folders at the time of the install.
"""

from __future__ import annotations

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
