"""How QEMU is started: with KVM where a guest really runs on it, by emulation otherwise."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

PROGRAM = "qemu-system-x86_64"
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off"
EMULATED = ("-accel", "tcg,thread=multi")
VIRTUALISED = ("-accel", "kvm")
SECONDS_TO_PROBE = 10


def argv(memory: int, *more: str, accelerator: tuple[str, ...] = EMULATED) -> list[str]:
    """A machine with `memory` MiB, two processors and nothing else."""
    return [
        PROGRAM, "-machine", "q35", "-cpu", "max", *accelerator, "-smp", "2", "-m", str(memory),
        "-nodefaults", "-no-user-config", "-display", "none", *more,
    ]  # fmt: skip


@cache
def accelerator(kernel: Path, early: Path) -> tuple[str, ...]:
    """KVM if a guest starts and switches itself off under it: `/dev/kvm` may open and make a machine that hangs."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATED
    boot = ("-kernel", str(kernel), "-initrd", str(early), "-append", f"{KERNEL_ARGUMENTS} probe", "-no-reboot")
    try:
        done = subprocess.run(
            argv(256, *boot, accelerator=VIRTUALISED), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=SECONDS_TO_PROBE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return EMULATED
    return EMULATED if done.returncode else VIRTUALISED
