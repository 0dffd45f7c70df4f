"""Answers the login password that `ssh` asks for, without a terminal (ssh(1), SSH_ASKPASS).

`ssh` closes every inherited descriptor, so the answer comes through a socket in a folder that only this
user can enter; the password is in no command line, environment or file. One prompt is answered, and only
the one of the login that is meant: a jump host, a key's passphrase or an unknown host key gets no answer.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

CLIENT = """
import socket, sys
ask = socket.socket(socket.AF_UNIX)
ask.connect(sys.argv[1])
ask.sendall(sys.argv[2].encode())
ask.shutdown(socket.SHUT_WR)
answer = b""
while True:
    block = ask.recv(4096)
    if not block:
        break
    answer += block
sys.stdout.buffer.write(answer)
sys.exit(not answer)
"""


def asks_for(prompt: str, login: str, *, direct: bool) -> bool:
    """Whether `ssh` asks for the password of `login` (user@host).

    OpenSSH writes `user@host's password:` or, since 8.6, `(user@host) Password:`; older ones show a bare
    `Password:`, which on the way through a jump host could be the jump host's.
    """
    asked = prompt.strip().casefold()
    known = (f"{login.casefold()}'s password", f"({login.casefold()}) password")
    return asked.startswith(known) or (direct and asked in ("password:", "password"))


@asynccontextmanager
async def answering(password: str, wanted: Callable[[str], bool]) -> AsyncIterator[Mapping[str, str]]:
    """The environment for one `ssh` whose prompts that are `wanted` get `password`, once."""
    left = [password]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        prompt = (await reader.read(4096)).decode(errors="replace")
        if wanted(prompt) and left:
            writer.write(left.pop().encode() + b"\n")
        writer.close()

    with tempfile.TemporaryDirectory(prefix="cni-provision-") as folder:
        program, path = Path(folder, "askpass"), str(Path(folder, "socket"))
        words = shlex.join([sys.executable, "-I", "-S", "-c", CLIENT, path])
        program.write_text(f'#!/bin/sh\nexec {words} "$1"\n')
        program.chmod(0o700)
        async with await asyncio.start_unix_server(answer, path):
            # DISPLAY: before 8.4 `ssh` has no SSH_ASKPASS_REQUIRE and looks for it
            yield {"DISPLAY": "none"} | os.environ | {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
