"""tuning: sysctls and attributes of an interface that is there already (a chained plugin, capability `mac`).

The smallest configuration, after the plugin that makes the interface:

    {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}

key       default          meaning
sysctl    none             network sysctls of the container; `IFNAME` in a key stands for the interface
mac       left alone       MAC address
promisc   left alone       true: receive every frame
mtu       left alone       MTU
txQLen    left alone       length of the transmit queue
allmulti  left alone       true: receive every multicast frame; false: those asked for
dataDir   /run/cni/tuning  <dataDir>/<container id>_<interface>.json holds what was before

`args.cni` may have all but dataDir, and goes before the keys. The MAC address: `args.cni.mac`, else capability `mac`,
else `CNI_ARGS` `MAC`, else the key. Where /etc/cni/tuning/allowlist.conf is there, one of its lines, each a regular
expression, must be found in every key of `sysctl`. DEL puts back everything that ADD has changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cni_provision.attach import chain, interface, options
from cni_provision.attach.interface import attachment
from cni_provision.cni import skel, values
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, CNIError, Result
from cni_provision.net import link, record, sysctl
from cni_provision.net.link import Link, Settings
from cni_provision.net.record import Attachment, Made
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

DATA_DIR = "/run/cni/tuning"
ALLOWLIST = "/etc/cni/tuning/allowlist.conf"
NET = "net/"
LARGEST = 2**32 - 1

# key → how a Link and its Settings call it; a backup is put back in this order
ATTRIBUTES = {"mtu": "mtu", "mac": "mac", "promisc": "promiscuous", "allmulti": "all_multicast", "txQLen": "tx_queue"}


def attributes(call: Call) -> dict[str, Any]:
    """The attributes to give to the interface, by key."""
    found: dict[str, Any] = {}
    for source in sources(call):
        found.update({key: read(source, key) for key in ATTRIBUTES if key in source and key != "mac"})
    of_config, of_args = (source.text("mac") for source in sources(call))
    found["mac"] = options.mac(of_config, options.mac_argument(call), call.runtime_config.text("mac"), of_args)
    idle = {"mac": None, "mtu": 0, "promisc": False}
    return {key: value for key, value in found.items() if key not in idle or value != idle[key]}


def sources(call: Call) -> tuple[Config, Config]:
    """Later ones go before earlier ones."""
    return call.config, call.config.mapping("args").mapping("cni")


def read(source: Config, key: str) -> Any:
    return source.boolean(key) if key in ("promisc", "allmulti") else options.within(source, key, 0, LARGEST)


def settings(wanted: Mapping[str, Any]) -> Settings:
    return replace(Settings(), **{ATTRIBUTES[key]: value for key, value in wanted.items()})


def has(found: Link, key: str) -> Any:
    return getattr(found, ATTRIBUTES[key])


def sysctls(call: Call) -> dict[str, str]:
    """The value of each sysctl by its key, the interface's name filled in; all of them allowed."""
    written = {key: each.text(key) for each in (one.mapping("sysctl") for one in sources(call)) for key in each}
    refuse_duplicates(call)
    check_allowed(written)
    return {resolved(key, call.ifname): value for key, value in written.items()}


def refuse_duplicates(call: Call) -> None:
    """Two ways of writing one key as well, of which nobody could say which counts."""
    import json  # ours keeps the last of two equal keys, as the protocol wants it

    pairs = json.loads(call.stdin, object_pairs_hook=lambda pairs: pairs)
    for name, value in pairs:
        keys = [resolved(key, call.ifname) for key, _ in value] if name.lower() == "sysctl" and value else []
        if len(set(keys)) < len(keys):
            raise CNIError(INVALID_CONFIG, "duplicated sysctl keys are not allowed")


def resolved(key: str, ifname: str) -> str:
    """As `net/…`, slashes between the parts. ValueErrors of the key become ours."""
    with suppress(ValueError):
        found = sysctl.path(key)[len(sysctl.ROOT) + 1 :].replace("IFNAME", ifname, 1)
        if found.startswith(NET):
            return found
    raise CNIError(INVALID_CONFIG, f'invalid net sysctl key: "{key}"')


def check_allowed(keys: Iterable[str]) -> None:
    try:
        with open(ALLOWLIST, encoding="utf-8") as file:
            allowed = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        return
    for key in keys:
        if not any(matches(each, key) for each in allowed):
            problem = f"Sysctl {key} is not allowed. Only the following sysctls are allowed: {allowed}"
            raise CNIError(INVALID_CONFIG, problem)


def matches(pattern: str, key: str) -> bool:
    import re  # 4 ms of every start

    try:
        return re.search(pattern, key) is not None
    except re.error as error:
        raise CNIError(INVALID_CONFIG, f"{ALLOWLIST}: `{pattern}` is no regular expression: {error}") from error


def add(call: Call) -> Result:
    before, wanted, parameters = chain.previous(call), attributes(call), sysctls(call)
    mine = attachment(call, "tuning")
    with record.held(mine), Socket(call.netns_fd) as inside, Undo() as undo:
        found = link.get(inside, call.ifname)
        backup = {key: has(found, key) for key in wanted}
        backup["sysctl"] = {key: present(key, call.netns_fd) for key in parameters}
        if wanted or parameters:
            keep(mine, backup_file(call), backup)
        undo.later(restore, call, mine)
        for key, value in parameters.items():
            sysctl.write(key, value, call.netns_fd)
        if wanted:
            link.change(inside, found, settings(wanted))
        undo.keep()
    return updated(before, call.ifname, wanted)


def present(key: str, netns_fd: int | None) -> str:
    try:
        return sysctl.read(key, netns_fd)
    except FileNotFoundError as error:
        raise CNIError(INVALID_CONFIG, f"the container has no sysctl `{key}`") from error


def updated(before: Result, ifname: str, wanted: Mapping[str, Any]) -> Result:
    """The interface in the result has what it was given."""
    given = {key: wanted[key] for key in ("mac", "mtu") if key in wanted}
    return replace(
        before, interfaces=tuple(replace(one, **given) if one.name == ifname else one for one in before.interfaces)
    )


def backup_file(call: Call) -> str:
    folder = call.config.text("dataDir") or DATA_DIR
    return os.path.join(call.absolute(folder), f"{call.container_id}_{call.ifname}.json")


def keep(mine: Attachment, file: str, backup: Mapping[str, Any]) -> None:
    """Write down what was before; what an earlier ADD has written is older and stays."""
    older = saved(file)
    whole = {**backup, **older, "sysctl": {**backup["sysctl"], **older.get("sysctl", {})}}
    record.write(mine, Made(rules={"backup": file}))
    os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(values.encode(whole))


def saved(file: str) -> dict[str, Any]:
    """What a backup says; nothing where it is not there, or cannot be read."""
    try:
        with open(file, "rb") as opened:
            return values.decode_object(opened.read())
    except (OSError, CNIError):
        return {}


def restore(call: Call, mine: Attachment) -> None:
    """Put back what can be, each thing even when another cannot; then there is nothing to put back any more."""
    file = backup_file(call)
    backup = saved(file)
    if call.netns_fd is not None:
        for key, value in (backup.get("sysctl") or {}).items():
            with suppress(OSError, CNIError):
                sysctl.write(resolved(key, call.ifname), str(value), call.netns_fd)
        with Socket(call.netns_fd) as inside, suppress(OSError):
            found = link.get(inside, call.ifname)
            for key in (key for key in ATTRIBUTES if key in backup):
                put_back(inside, found, key, backup[key])
    with suppress(FileNotFoundError):
        os.unlink(file)
    record.remove(mine)


def put_back(inside: Socket, found: Link, key: str, value: Any) -> None:
    with suppress(Exception):  # what somebody else wrote may be anything
        link.change(inside, found, settings({key: value}))


def delete(call: Call) -> None:
    mine = attachment(call, "tuning")
    with record.held(mine):
        restore(call, mine)


def check(call: Call) -> None:
    chain.previous(call)
    wanted, parameters = attributes(call), sysctls(call)
    with Socket(call.netns_fd) as inside:
        found = link.find(inside, call.ifname)
    interface.refuse(call, list(differences(call, found, wanted, parameters)))


def differences(
    call: Call, found: Link | None, wanted: Mapping[str, Any], parameters: Mapping[str, str]
) -> Iterator[str]:
    """What is not as configured, as sentences."""
    if found is None:
        yield f"interface `{call.ifname}` is gone"
        return
    for key, value in wanted.items():
        if has(found, key) != value:
            yield f"`{key}` of `{call.ifname}` is {has(found, key)}, not {value}"
    for key, value in parameters.items():
        if present(key, call.netns_fd).split() != value.split():
            yield f"sysctl `{key}` is {present(key, call.netns_fd)}, not {value}"


def status(call: Call) -> None:
    attributes(call)
    sysctls(call)


def gc(call: Call) -> None:
    """Backups of containers that are gone; those of the reference say nothing of their network, and stay."""
    for mine, made in record.of_network("tuning", call.config.text("name")):
        if (mine.container_id, mine.ifname) not in call.valid_attachments:
            with record.held_if_free(mine) as free, suppress(FileNotFoundError, KeyError):
                if free:
                    record.remove(mine)
                    os.unlink(str(made.rules["backup"]))


PLUGIN = skel.Plugin("tuning", add, delete, check, status, gc, about="CNI tuning plugin: sysctls and attributes")

if __name__ == "__main__":
    skel.main(PLUGIN)
