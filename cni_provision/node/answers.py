"""Finds out on the node what checks ask: one function a kind of question."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable

from cni_provision.checks.subject import Answer, Question, Subject

ABSENT = Answer(None)
LONGEST_OUTPUT = 1024 * 1024
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def answer(question: Question, subject: Subject) -> Answer:
    """The answer to one question; what cannot be read is absent."""
    try:
        return KINDS[question.kind](question, subject)
    except (OSError, subprocess.SubprocessError):
        return ABSENT


def digest(question: Question, subject: Subject) -> Answer:
    found = hashlib.sha256()
    with open(question.name, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return Answer(found.hexdigest())


def mount(question: Question, subject: Subject) -> Answer:
    flags = os.statvfs(question.name).f_flag
    named = {"ro": os.ST_RDONLY, "nosuid": os.ST_NOSUID, "noexec": os.ST_NOEXEC}
    return Answer(" ".join(name for name, bit in named.items() if flags & bit))


def sysctl(question: Question, subject: Subject) -> Answer:
    path = question.name if "/" in question.name else question.name.replace(".", "/")
    with open(f"/proc/sys/{path}", encoding="utf-8") as file:
        return Answer(file.read().strip())


def module(question: Question, subject: Subject) -> Answer:
    name = question.name.replace("-", "_")
    built_in = f"/lib/modules/{os.uname().release}/modules.builtin"
    if os.path.isdir(f"/sys/module/{name}"):
        return Answer("loaded")
    with open(built_in, encoding="utf-8") as file:
        return Answer("loaded") if f"/{name}.ko" in file.read().replace("-", "_") else ABSENT


def program(question: Question, subject: Subject) -> Answer:
    return Answer(shutil.which(question.name, path=SYSTEM_PATH))


def plugin(question: Question, subject: Subject) -> Answer:
    """Run a plugin with a verb that needs no attachment (VERSION, STATUS)."""
    if not os.access(question.name, os.X_OK):
        return ABSENT
    variables = {"PATH": SYSTEM_PATH, "CNI_COMMAND": question.verb, "CNI_PATH": subject.bin_dir}
    if question.verb == "VERSION":
        # plugins of the specification 0.1 look for these whatever the verb is
        variables |= {"CNI_CONTAINERID": "dummy", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy"}
    done = subprocess.run(
        [question.name],
        input=question.stdin.encode(),
        env=variables,
        capture_output=True,
        timeout=subject.timeout,
        check=False,
    )
    text = (done.stdout or done.stderr)[:LONGEST_OUTPUT]
    return Answer(text.decode(errors="replace"), done.returncode)


KINDS: dict[str, Callable[[Question, Subject], Answer]] = {
    "digest": digest,
    "mount": mount,
    "sysctl": sysctl,
    "module": module,
    "program": program,
    "plugin": plugin,
}
