"""The reader `ansible`: Ansible itself merges, decrypts and evaluates; one task of one run answers for all hosts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cni_provision.errors import UserError
from cni_provision.inventory.outside import Ran, Run, TookTooLong

ACTION = "cni_provision_variables"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_ansible")
PROGRAM_VARIABLE = "CNI_PROVISION_ANSIBLE"
# Nothing of the run but our own answer: no log, no callback that sends results elsewhere, no warnings that repeat.
QUIET = {
    "ANSIBLE_STDOUT_CALLBACK": "minimal",
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false",
    "ANSIBLE_LOG_PATH": os.devnull,
    "ANSIBLE_DEBUG": "false",
    "ANSIBLE_VERBOSITY": "0",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    "ANSIBLE_COMMAND_WARNINGS": "false",
    "ANSIBLE_LOCALHOST_WARNING": "false",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
}


@dataclass(frozen=True)
class Question:
    """What Ansible is asked to read."""

    paths: Sequence[str]
    extra_vars: Sequence[str] = ()
    playbook_dir: str | None = None
    vault_ids: Sequence[str] = ()


def ask(question: Question, run: Run, environment: Mapping[str, str]) -> bytes:
    """Ansible's answer, lines of JSON. Raises UserError: no Ansible, or what it complained of."""
    program = find(environment)
    variables = {**QUIET, "ANSIBLE_ACTION_PLUGINS": FOLDER}
    try:
        ran = run([program, *arguments(question)], variables, answers=True)
    except OSError as error:
        hint = f"install `ansible-core`, or name its `ansible` in {PROGRAM_VARIABLE}"
        raise UserError(f"cannot run `{program}`: {error.strerror}", hint=hint) from error
    except TookTooLong as error:
        raise UserError(f"`{program}` was ended: {error}", hint=error.hint) from error
    if ran.code or not ran.answer:
        raise UserError(f"`{program}` could not read the inventory: {complaint(ran)}", hint=HINT)
    return ran.answer


HINT = "`ansible-inventory --list` with the same `-i` shows more"


def find(environment: Mapping[str, str]) -> str:
    """The program `ansible`: the one named, the one beside this Python, or the first on PATH. Raises UserError."""
    named = environment.get(PROGRAM_VARIABLE)
    beside = os.path.join(os.path.dirname(sys.executable), "ansible")
    found = named or (beside if os.access(beside, os.X_OK) else shutil.which("ansible", path=environment.get("PATH")))
    if not found:
        raise UserError(
            f"there is no `ansible` on PATH, nor beside {sys.executable}",
            hint=f"`{sys.executable} -m pip install ansible-core`, or name another one in {PROGRAM_VARIABLE}",
        )
    return found


def arguments(question: Question) -> list[str]:
    """One task on this machine; without a playbook's folder, one that has no variables stands for it."""
    words = ["localhost", "--module-name", ACTION, "--connection", "local"]
    words += ["--playbook-dir", question.playbook_dir or FOLDER]
    for option, values in (("-i", question.paths), ("-e", question.extra_vars), ("--vault-id", question.vault_ids)):
        for value in values:
            words += [option, value]
    return words


def complaint(ran: Ran) -> str:
    """The part of Ansible's output that says what is wrong."""
    lines = [line.strip() for line in ran.output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "[ERROR]", "fatal:", '"msg":'))]
    return " ".join(errors or lines[-3:]) or f"it ended with {ran.code} and said nothing"
