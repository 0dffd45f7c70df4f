"""A program for the node: run a command below a terminal of its own and type a password when it is asked for.

`doas` reads passwords from its terminal only, and a terminal on the session would spoil the binary
stream. So this runs on the node as the login user, takes the password as the first line of stdin, and
starts the command with the session's stdin, stdout and stderr, but with a pseudo terminal as its
controlling one. It answers one question; a second one means that the password was wrong.
"""

from __future__ import annotations

SOURCE = """
import fcntl, os, pty, select, signal, sys, termios
password = b""
while not password.endswith(b"\\n"):
    byte = os.read(0, 1)
    if not byte:
        sys.exit(1)
    password += byte
terminal, inner = pty.openpty()
ended, ends = os.pipe()
os.set_blocking(ends, False)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(ends)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(0)
os.close(1)
asked = 0
while asked < 2:
    ready = select.select([terminal, ended], [], [])[0]
    if ended in ready:
        break
    if b":" in os.read(terminal, 1024):
        asked += 1
        if asked == 1:
            os.write(terminal, password)
os.close(terminal)
os.close(inner)
status = os.waitpid(child, 0)[1]
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""


def argv(python: str | None, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs `command` so."""
    return (python or "python3", "-I", "-S", "-c", SOURCE, *command)
