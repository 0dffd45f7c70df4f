"""What the user's ssh configuration says about one connection, as `ssh -G` evaluates it.

Asking costs about 5 ms; the answer is kept per distinct command line. Nothing of it is parsed or judged
here but what decides which options we may add.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass

from cni_provision.errors import NodeFailed
from cni_provision.transport import diagnosis

NONE = ("none", "", "no", "false")
PATIENCE = 30.0  # `Match exec` may run anything


@dataclass(frozen=True)
class Configuration:
    """Of `ssh -G`: whether there is a connect time-out or multiplexing, the first hop, and `user@host` of prompts."""

    has_connect_timeout: bool = False
    has_control: bool = False
    hop: str | None = None
    login: str = ""


def parse(text: str) -> Configuration:
    """Configuration from the output of `ssh -G` (a lower-case keyword and its value a line)."""
    values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)

    def said(keyword: str) -> str | None:
        value = values.get(keyword, "none")
        return None if value in NONE else value

    jump = said("proxyjump")
    return Configuration(
        has_connect_timeout=said("connecttimeout") is not None,
        has_control=said("controlmaster") is not None or said("controlpath") is not None,
        hop=jump.split(",")[0] if jump else said("proxycommand"),
        login=f"{values.get('user', '')}@{said('hostkeyalias') or values.get('hostname', '')}",
    )


class Configurations:
    """Asks `ssh -G`, a few at a time, and remembers the answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Configuration] = {}
        self._asking = asyncio.Semaphore(os.cpu_count() or 1)

    async def of(self, node: str, words: Sequence[str]) -> Configuration:
        """For `ssh words…` (options and host); raises `NodeError` where `ssh` refuses its configuration."""
        key = tuple(words)
        if key not in self._known:
            async with self._asking:
                self._known[key] = parse(await _ask(node, key))
        return self._known[key]


async def _ask(node: str, words: tuple[str, ...]) -> str:
    try:
        asked = await asyncio.create_subprocess_exec(
            "ssh", "-G", *words, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except FileNotFoundError:
        raise NodeFailed("`ssh` is not installed here", node=node, hint="install openssh-client") from None
    try:
        async with asyncio.timeout(PATIENCE):
            text, complaint = await asked.communicate()
    except TimeoutError:
        asked.kill()
        raise NodeFailed(
            f"`ssh -G` took more than {PATIENCE:.0f} s", node=node, hint="look at `Match exec`"
        ) from None
    if asked.returncode:
        raise diagnosis.of_ssh(node, complaint.decode(errors="replace"), asked.returncode)
    return text.decode(errors="replace")
