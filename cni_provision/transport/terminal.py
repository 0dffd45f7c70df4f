"""A program for the node: run a command below a terminal of its own and type a password when it is asked for.

`doas` reads passwords from its terminal only, and a terminal on the session would spoil the binary
stream. So this runs on the node as the login user, takes the password as the first line of stdin, and
starts the command with the session's stdin, stdout and stderr, but with a pseudo terminal as its
controlling one. It answers one question; a second one means that the password was wrong.
"""

from __future__ import annotations

SOURCE = """
import os, pty, sys
password = b""
while not password.endswith(b"\\n"):
    byte = os.read(0, 1)
    if not byte:
        sys.exit(1)
    password += byte
kept = [os.dup(number) for number in range(3)]
child, terminal = pty.fork()
if child == 0:
    for number in range(3):
        os.dup2(kept[number], number)
        os.close(kept[number])
    os.execvp(sys.argv[1], sys.argv[1:])
for number in kept:
    os.close(number)
os.close(0)
os.close(1)
asked = 0
while True:
    try:
        words = os.read(terminal, 1024)
    except OSError:
        break
    if not words:
        break
    if b":" in words:
        asked += 1
        if asked > 1:
            break
        os.write(terminal, password)
os.close(terminal)
status = os.waitpid(child, 0)[1]
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""


def argv(python: str | None, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs `command` so."""
    return (python or "python3", "-I", "-S", "-c", SOURCE, *command)
