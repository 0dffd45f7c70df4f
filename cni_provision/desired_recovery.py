"""What stays on a node to recover at boot, before the runtimes: a program, its unit, and what pulls that in.

All of it are plain files, which arrive before what they guard and leave after it; nothing is to be enabled. Pure.
"""

from __future__ import annotations

from cni_provision.node import paths

FOLDER = "/etc/systemd/system"
PATH = "/usr/local/libexec/cni-provision/recover"
UNIT = "cni-provision-recover.service"
# whoever executes plugins, or starts somebody who does
RUNTIMES = (
    "containerd", "crio", "cri-docker", "docker", "podman", "podman-restart", "kubelet", "k3s", "k3s-agent",
    "rke2-server", "rke2-agent", "nomad", "mesos-agent", "mesos-slave", "garden", "rkt-metadata",
)  # fmt: skip

# The usual dependencies of a service put it behind sysinit.target: file systems are mounted, and what drop-ins say of
# modules and sysctls is so already.
UNIT_TEXT = f"""\
# Written by cni-provision; changes here are undone by its next run
[Unit]
Description=Finish or undo what an interrupted run of cni-provision left
ConditionDirectoryNotEmpty={paths.TRANSACTIONS}
RequiresMountsFor={paths.STATE}
After=local-fs.target systemd-sysctl.service systemd-modules-load.service
Before={" ".join(f"{name}.service" for name in RUNTIMES)}

[Service]
Type=oneshot
ExecStart=/bin/sh {PATH}
TimeoutStartSec=300
"""
WANT_TEXT = f"""\
# Written by cni-provision; changes here are undone by its next run
[Unit]
Wants={UNIT}
"""
TEXTS = {f"{FOLDER}/{UNIT}": UNIT_TEXT, f"{FOLDER}/multi-user.target.d/cni-provision-recover.conf": WANT_TEXT}
