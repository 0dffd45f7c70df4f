"""The values behind the files: sysctls, kernel modules and systemd units, read and set.

Values: a sysctl's text with single spaces; a module's `loaded`; a unit's words among `enabled`, `disabled`
(or systemd's word for it, such as `static`), `active`, `inactive`, and `stale` while systemd has not read its
file again. A unit that is neither enabled nor active is as good as none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Optional

from cni_provision.node import blobs
from cni_provision.node.failure import Failure
from cni_provision.plan import Change, Live, digest_behind, hidden, is_hidden

SYSTEMD = "/run/systemd/system"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ENABLING = {"enabled": "enable", "disabled": "disable"}
RUNNING = {"active": "start", "inactive": "stop"}
IN_PASSING = {"disabled", "inactive", "activating", "deactivating", "failed", "stale"}
SECONDS = 60


def has_systemd() -> bool:
    return os.path.isdir(SYSTEMD)


def boot() -> str:
    """The kernel's name for the time since it was started."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def is_between(now: Live, change: Change) -> bool:
    """Whether a change of ours that was cut off can have left this: some words of a unit, a new sysctl's default."""
    if now.kind != "unit":
        return None in (change.before, change.after)
    ends = [state.value for state in (change.before, change.after) if isinstance(state, Live)]
    return set(now.value.split()) <= {*" ".join(ends).split(), *IN_PASSING}


def read(reference: Live) -> Optional[Live]:
    """What the kernel or systemd has where `reference` stands; None when there is no such thing."""
    value = READERS[reference.kind](reference)
    return None if value is None else Live(reference.kind, reference.name, value)


def write(state: Live) -> None:
    """Make the value so; raises `Failure` or `OSError`."""
    WRITERS[state.kind](state)


def remove(state: Live) -> None:
    """Take a unit out of service; a module stays loaded, and a sysctl has always a value. Raises `Failure`."""
    if state.kind == "unit":
        run(["systemctl", "disable", "--now", "--", state.name], f"cannot take `{state.name}` out of service")


def sysctl_path(name: str) -> str:
    """sysctl(8): dots separate, and a slash stands for a dot in a name; reversed if a slash comes first."""
    slash_first = "/" in name and name.index("/") < (name + ".").index(".")
    return "/proc/sys/" + (name if slash_first else name.translate(str.maketrans("./", "/.")))


def _read_sysctl(reference: Live) -> Optional[str]:
    text = sysctl_text(reference.name)
    return hidden(text) if text is not None and is_hidden(reference) else text


def sysctl_text(name: str) -> Optional[str]:
    """A sysctl's value, its words with one space between; None where there is none that can be read."""
    try:
        with open(sysctl_path(name), encoding="ascii", errors="replace") as file:
            return " ".join(file.read().split())
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def keep(state: Live) -> None:
    """Keep the bytes of a secret value that stands there; raises `Failure` if it is no longer that one."""
    text, digest = sysctl_text(state.name) or "", digest_behind(state)
    if digest and hidden(text) != state.value:
        raise Failure(f"sysctl `{state.name}` changed meanwhile", reason="conflict")
    if digest:
        blobs.add(digest, iter([text.encode()]))


def _write_sysctl(state: Live) -> None:
    digest = digest_behind(state)
    text = blobs.read(digest).decode() if digest else state.value
    try:
        with open(sysctl_path(state.name), "w", encoding="ascii") as file:
            file.write(text + "\n")
    except FileNotFoundError as error:
        hint = "declare the kernel module that provides it in `cni_kernel.modules`"
        raise Failure(f"this kernel has no sysctl `{state.name}`", hint=hint) from error
    except OSError as error:
        value = "what is declared" if digest else f"`{state.value}`"
        raise Failure(f"cannot set sysctl `{state.name}` to {value}: {error.strerror}") from error


def _read_module(reference: Live) -> Optional[str]:
    loaded = os.path.isdir(f"/sys/module/{reference.name.replace('-', '_')}") or _is_built_in(reference.name)
    return "loaded" if loaded else None


def _is_built_in(name: str) -> bool:
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.builtin", encoding="ascii") as file:
            names = {os.path.basename(line.strip())[: -len(".ko")] for line in file}
    except OSError:
        return False
    return name.replace("-", "_") in {name.replace("-", "_") for name in names}


def _load_module(state: Live) -> None:
    hint = f"install the package with the extra modules of kernel {os.uname().release}"
    run(["modprobe", "--", state.name], f"cannot load kernel module `{state.name}`", hint)


def _read_unit(reference: Live) -> Optional[str]:
    shown = _show(reference.name)
    if shown.get("LoadState", "not-found") == "not-found":
        return None
    asked = reference.value.split()
    words = [shown.get("UnitFileState", "")] if set(asked) & set(ENABLING) else []
    words += [shown.get("ActiveState", "")] if set(asked) & set(RUNNING) else []
    if set(words) <= {"disabled", "inactive"}:
        return None
    return " ".join(words + ["stale"] * (shown.get("NeedDaemonReload") == "yes"))


def _show(unit: str) -> dict[str, str]:
    """What systemd says of a unit; empty where it says nothing."""
    argv = ["systemctl", "show", "--property=LoadState,UnitFileState,ActiveState,NeedDaemonReload", unit]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    return {} if done.returncode else dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def _write_unit(state: Live) -> None:
    shown = _show(state.name)
    if shown.get("LoadState") == "not-found" or shown.get("NeedDaemonReload") == "yes":
        run(["systemctl", "daemon-reload"], "cannot make systemd read its unit files")
    for word in state.value.split():
        verb = ENABLING.get(word) or RUNNING.get(word)
        if verb:
            run(
                ["systemctl", verb, "--", state.name],
                f"cannot {verb} `{state.name}`",
                f"see `systemctl status {state.name}`",
            )


READERS = {"sysctl": _read_sysctl, "module": _read_module, "unit": _read_unit}
WRITERS = {"sysctl": _write_sysctl, "module": _load_module, "unit": _write_unit}


def run(argv: Sequence[str], failing: str, hint: Optional[str] = None) -> None:
    """Run a system tool with nothing to read and nowhere to print; raises `Failure` with its last line."""
    if not shutil.which(argv[0]):
        raise Failure(f"{failing}: `{argv[0]}` is not installed", hint=hint)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{failing}: no end after {SECONDS} s", hint=hint) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failure(f"{failing}: {said[-1] if said else f'exit code {done.returncode}'}", hint=hint)
