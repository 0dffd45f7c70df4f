"""Whether the user's ssh configuration can say anything that we must know: looked up as text, in a millisecond a run.

`ssh -G` alone knows what holds for a host, and costs 5 ms of CPU a node. Where no file and no option even
mentions a connect time-out, a proxy or multiplexing, no answer of its can either.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

KEYWORDS = re.compile(
    r"^\s*(connecttimeout|proxyjump|proxycommand|proxyusefdpass|controlmaster|controlpath)\b", re.I | re.M
)
INCLUDE = re.compile(r"^\s*include[\s=]+(.+)$", re.I | re.M)
USERS, SYSTEMS = "~/.ssh/config", "/etc/ssh/ssh_config"
DEEPEST = 16  # of Include, as in ssh_config(5)


def silent(options: Sequence[str]) -> bool:
    """Whether neither the options nor any file that `ssh` would read with them mentions what matters."""
    files = configuration_files(options)
    if files is None:
        return False
    texts = (text for file, folder in files for text in readings(file, folder, DEEPEST))
    return not any(text is None or KEYWORDS.search(text) for text in texts)


def configuration_files(options: Sequence[str]) -> list[tuple[str, str]] | None:
    """The files and the folders that their relative includes start at; None where an option already matters."""
    given = None
    words = iter(options)
    for word in words:
        if word.startswith("-F"):
            given = word[2:] or next(words, "")
        elif word in ("-p", "-l", "-i"):
            next(words, "")
        elif not word.startswith("-i"):
            return None  # -o, -J, -S and whatever else: let `ssh` read it
    if given is not None:
        return [(given, "~/.ssh")]
    return [(USERS, "~/.ssh"), (SYSTEMS, "/etc/ssh")]


def readings(file: str, folder: str, depth: int) -> Iterator[str | None]:
    """The text of a file and of what it includes; None for what cannot be known."""
    try:
        with open(os.path.expanduser(file), encoding="utf-8", errors="replace") as opened:
            text = opened.read()
    except FileNotFoundError:
        return
    except OSError:
        yield None
        return
    yield text
    for line in INCLUDE.findall(text):
        yield from included(line, folder, depth)


def included(line: str, folder: str, depth: int) -> Iterator[str | None]:
    """What the patterns of one `Include` line lead to."""
    if depth == 0 or re.search(r'["\'%$]', line):
        yield None
        return
    for pattern in line.split():
        path = os.path.join(os.path.expanduser(folder), os.path.expanduser(pattern))
        for found in sorted(glob.glob(path)):
            yield from readings(found, folder, depth - 1)
