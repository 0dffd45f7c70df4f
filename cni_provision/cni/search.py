"""Where a plugin's executable is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from cni_provision.cni import names
from cni_provision.cni.types import INVALID_CONFIG, CNIError


def find(plugin_type: str, path: Iterable[str]) -> str:
    """The first regular file of that name in the folders of CNI_PATH. Raises CNIError 7, in libcni's words."""
    names.check_plugin(plugin_type)
    folders = [folder for folder in path if folder]
    if not folders:
        raise CNIError(INVALID_CONFIG, "no paths provided")
    for folder in folders:
        candidate = os.path.join(folder, plugin_type)
        with suppress(OSError):
            if stat.S_ISREG(os.stat(candidate).st_mode):
                return candidate
    raise CNIError(INVALID_CONFIG, f'failed to find plugin "{plugin_type}" in path [{" ".join(folders)}]')
