"""keeper: a plugin that has a secret in its configuration, and does nothing with it."""

from __future__ import annotations

from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INVALID_CONFIG, CNIError, Result


def add(call: Call) -> Result:
    if call.prev_result is None or not call.config.text("secret"):
        raise CNIError(INVALID_CONFIG, "keeper follows another plugin and needs `secret`")
    return call.prev_result


def nothing(call: Call) -> None:
    """Its work."""


PLUGIN = skel.Plugin("keeper", add, nothing, nothing, nothing, about="keeper: keeps a secret")
