"""How QEMU is started: with KVM where a guest really runs on it, by emulation otherwise."""

from __future__ import annotations

import os
import subprocess
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


def accelerator(kernel: Path, early: Path) -> tuple[str, ...]:
    """KVM where it works, as found once since this machine started."""
    known = kernel.parent / f"kvm-{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    if not known.exists():
        known.write_text("works" if kvm_works(kernel, early) else "does not work")
    return VIRTUALISED if known.read_text() == "works" else EMULATED


def kvm_works(kernel: Path, early: Path) -> bool:
    """Whether a guest starts and switches itself off: `/dev/kvm` may open and make a machine that hangs."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = ("-kernel", str(kernel), "-initrd", str(early), "-append", f"{KERNEL_ARGUMENTS} probe", "-no-reboot")
    command = argv(256, *boot, accelerator=VIRTUALISED)
    try:
        return not subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_TO_PROBE
        ).returncode
    except subprocess.TimeoutExpired:
        return False
