# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Ansible many times in one process tree, so that it is imported once: `python oracle.py < runs.json`.

A run is {folder, argv, output, answer}: `argv` as for `ansible`, what it prints goes to the file `output`,
what the action answers to the file `answer`. A run in a folder with an `ansible.cfg` gets a process of its own,
because Ansible reads that file when it is imported. It imports Ansible, so it has Ansible's licence.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys


def main() -> None:
    runs = json.load(sys.stdin)
    from ansible.cli import adhoc

    for run in runs:
        if os.path.exists(os.path.join(run["folder"], "ansible.cfg")):
            alone(run)
        elif (child := os.fork()) == 0:
            inside(run, adhoc)
        else:
            os.waitpid(child, 0)


def inside(run: dict, adhoc: object) -> None:
    """One run in this process, which ends with it."""
    code = 1
    try:
        redirected(run)
        os.chdir(run["folder"])
        sys.argv = ["ansible", *run["argv"]]
        adhoc.AdHocCLI.cli_executor(sys.argv)  # type: ignore[attr-defined]
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def redirected(run: dict) -> None:
    output = os.open(run["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    answer = os.open(run["answer"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.set_inheritable(answer, True)
    os.environ["CNI_PROVISION_ANSWER"] = str(answer)


def alone(run: dict) -> None:
    with open(run["output"], "wb") as output, open(run["answer"], "wb") as answer:
        subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "ansible"), *run["argv"]],
            cwd=run["folder"],
            env={**os.environ, "CNI_PROVISION_ANSWER": str(answer.fileno())},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            pass_fds=[answer.fileno()],
            check=False,
        )


if __name__ == "__main__":
    main()
