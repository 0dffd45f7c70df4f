# Copyright: the cni-provision project
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `cni_provision_facts`: what is on a node, as facts."""

from __future__ import annotations

import importlib.util
import os

# beside this file, in a role as in a collection, and importable by no name that holds in both
_file = os.path.join(os.path.dirname(__file__), "cni_provision.py")
_spec = importlib.util.spec_from_file_location("cni_provision_action", _file)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


class ActionModule(_module.ActionModule):  # type: ignore[name-defined,misc]
    """The same way to the node, for the one question that changes nothing."""

    OPTIONS = {"verb": {"choices": ["facts"], "default": "facts"}}  # noqa: RUF012 (as Ansible's own)
