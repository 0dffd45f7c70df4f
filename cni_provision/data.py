"""Where `templates/`, `plugins/` and `roles/` are: in the wheel or in the checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def root() -> Path:
    """The folder that holds `templates/`, `plugins/` and `roles/`.

    An installed wheel carries them as `cni_provision/_data`; a checkout (also one that is installed
    in editable form) and an unpacked sdist have them beside the package.
    """
    package = Path(__file__).resolve().parent
    carried = package / "_data"
    return carried if carried.is_dir() else package.parent
