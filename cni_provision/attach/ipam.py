"""The addresses of an attachment, which the plugin in `ipam.type` gives and takes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from cni_provision.cni.call import Call
from cni_provision.cni.types import INTERNAL, INVALID_CONFIG, CNIError, Result
from cni_provision.net.undo import Undo


def plugin(call: Call) -> str:
    """The name of the plugin; empty where the network has none."""
    return call.config.mapping("ipam").text("type")


def require(call: Call, problem: str) -> None:
    if not plugin(call):
        raise CNIError(INVALID_CONFIG, problem)


def lease(call: Call, undo: Undo) -> Result:
    """What the plugin gives, and gets back when this ADD fails; nothing where the network has none."""
    if not plugin(call):
        return Result()
    ipam = call.delegate(plugin(call))
    undo.later(ipam.delete)
    given = ipam.add()
    if not given.ips:
        raise CNIError(INTERNAL, "IPAM plugin returned missing IP config")
    return given


def delete_with(call: Call, steps: ExitStack, remove_interface: Callable[[], object]) -> None:
    """Have both done at the end of `steps`: the interface first, so that nobody uses what is free already.

    Only DHCP gives back over the interface itself.
    """
    give_back = partial(delete, call)
    first, last = (give_back, remove_interface) if plugin(call) == "dhcp" else (remove_interface, give_back)
    steps.callback(last)
    steps.callback(first)


def delete(call: Call) -> None:
    """It and those below do nothing where the network has no such plugin."""
    if plugin(call):
        call.delegate(plugin(call)).delete()


def check(call: Call) -> None:
    if plugin(call):
        call.delegate(plugin(call)).check()


def status(call: Call) -> None:
    if plugin(call):
        call.delegate(plugin(call)).status()


def gc(call: Call) -> None:
    if plugin(call):
        call.delegate(plugin(call)).gc()
