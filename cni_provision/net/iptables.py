"""Tables of iptables: listed by one program, changed by another in one transaction (iptables-restore(8)).

Rules are texts as `iptables-save` prints them, without `-A CHAIN`, so that one that is there is found by comparing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from cni_provision.net import nft
from cni_provision.net.errors import NetError

FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin")
NAMES = {4: "iptables", 6: "ip6tables"}
FAMILIES = {4: 2, 6: 10}  # of nftables, where iptables writes those
BUILT_IN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
LEGACY = {4: "/proc/thread-self/net/ip_tables_names", 6: "/proc/thread-self/net/ip6_tables_names"}
WAIT = "5"  # seconds for the lock that all programs of iptables share
LOCKED = 4  # exit code when that time is over
ATTEMPTS = 3  # others may change the table between our look and our change
LONGEST_COMMENT = 255


class IptablesError(NetError):
    """A program of iptables refused, is not there (`ENOENT`), or waited for its lock too long (`EAGAIN`)."""


class Draft:
    """What shall change in a table, against what is there (`chains`: name → rules)."""

    def __init__(self, table: str, chains: Mapping[str, Sequence[str]]) -> None:
        self.table = table
        self.chains = {name: list(rules) for name, rules in chains.items()}
        self._declared: list[str] = []
        self._deletions: list[str] = []
        self._additions: list[str] = []
        self._drops: list[str] = []

    def chain(self, name: str) -> None:
        """Have a chain of that name."""
        if name not in self.chains and name not in BUILT_IN:
            self._declared.append(name)
        self.chains.setdefault(name, [])

    def ensure(self, chain: str, rule: str, *, first: bool = False) -> None:
        """Have `rule` in a chain; where it is new it becomes the first or the last one."""
        self.chain(chain)
        if bare(rule) not in map(bare, self.chains[chain]):
            self.chains[chain].insert(0 if first else len(self.chains[chain]), rule)
            self._additions.append(f"-I {chain} 1 {rule}" if first else f"-A {chain} {rule}")

    def fill(self, chain: str, rules: Iterable[str]) -> None:
        """Have exactly these rules in a chain of ours, whatever is there."""
        self.chains[chain] = list(rules)
        self._declared.append(chain)  # which empties one that is there
        self._additions += [f"-A {chain} {rule}" for rule in self.chains[chain]]

    def remove(self, chain: str, unwanted: Callable[[str], bool]) -> None:
        for rule in [one for one in self.chains.get(chain, ()) if unwanted(one)]:
            self.chains[chain].remove(rule)
            self._deletions.append(f"-D {chain} {rule}")

    def drop(self, chain: str, *entries: str) -> None:
        """Have no such chain, and no jump to it in the chains `entries`."""
        for entry in entries:
            self.remove(entry, leads_to(chain))
        if self.chains.pop(chain, None) is not None:
            self._drops += [f"-F {chain}", f"-X {chain}"]

    def script(self) -> str:
        """For iptables-restore; empty where nothing changes."""
        lines = [f":{name} - [0:0]" for name in self._declared] + self._deletions + self._additions + self._drops
        return "\n".join([f"*{self.table}", *lines, "COMMIT", ""]) if lines else ""


def leads_to(chain: str) -> Callable[[str], bool]:
    ending = f"-j {chain}"
    return lambda rule: rule == ending or rule.endswith(f" {ending}")


def bare(rule: str) -> str:
    """A rule without its comment, which the reference words differently from version to version."""
    before, found, after = rule.partition('-m comment --comment "')
    return before + after.partition('" ')[2] if found else rule


def quoted(comment: str) -> str:
    """A comment as a rule has it."""
    short = comment if len(comment) <= LONGEST_COMMENT else comment[: LONGEST_COMMENT - 3] + "..."
    return '--comment "{}"'.format(short.replace("\\", "\\\\").replace('"', '\\"'))


def change(version: int, table: str, plan: Callable[[Draft], object]) -> None:
    """Let `plan` say what shall be different, and make it so; it may be asked again where others were faster."""
    with nft.lock():
        for attempt in range(ATTEMPTS):
            draft = Draft(table, listing(version, table))
            plan(draft)
            script = draft.script()
            try:
                if script:
                    restore(version, script)
            except IptablesError as error:
                if error.errno != errno.EINVAL or attempt + 1 == ATTEMPTS:
                    raise
            else:
                return


def listing(version: int, table: str) -> dict[str, list[str]]:
    """The rules of each chain of a table."""
    chains: dict[str, list[str]] = {}
    for line in _run(version, "save", "-t", table).splitlines():
        if line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            chains.setdefault(chain, []).append(rule)
    return chains


def restore(version: int, script: str, *, dry: bool = False) -> None:
    """Run a script as one transaction. `dry`: it is read, and nothing changes."""
    _run(version, "restore", "--noflush", "-w", WAIT, *(["--test"] if dry else []), script=script)


def may_have(version: int, table: str, chains: Sequence[str]) -> bool:
    """Whether one of these chains has rules, asked without a program where iptables writes nftables."""
    with nft.table(table, FAMILIES[version]) as opened:
        return len(opened.unruly(chains)) < len(chains) or table in _legacy(version)


def drops_forwarded() -> bool:
    """Whether FORWARD drops what no rule of it accepts; of tables that are not nftables nobody knows cheaply: yes."""
    with nft.table("filter", FAMILIES[4]) as opened:
        return opened.drops("FORWARD") or "filter" in _legacy(4)


def _legacy(version: int) -> list[str]:
    """The tables that iptables has beside nftables."""
    try:
        with open(LEGACY[version]) as file:
            return file.read().split()
    except OSError:
        return []


def program(version: int, verb: str) -> str | None:
    paths = (f"{folder}/{NAMES[version]}-{verb}" for folder in FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def available(version: int = 4) -> bool:
    return bool(program(version, "save") and program(version, "restore"))


def _run(version: int, verb: str, *arguments: str, script: str = "") -> str:
    import subprocess  # costs milliseconds, and few calls come here

    path = program(version, verb)
    if path is None:
        problem = f"the program `{NAMES[version]}-{verb}` is not installed; install the package iptables"
        raise IptablesError(errno.ENOENT, problem)
    environment = {"PATH": os.defpath + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(
        [path, *arguments], input=script, text=True, capture_output=True, env=environment, check=False
    )
    if done.returncode:
        code = errno.EAGAIN if done.returncode == LOCKED else errno.EINVAL
        raise IptablesError(code, f"{NAMES[version]}-{verb}: {_said(done.stderr, script)}")
    return done.stdout


def _said(stderr: str, script: str) -> str:
    """Its first words, and the line of the script that they are about."""
    words = next((line.strip() for line in stderr.splitlines() if line.strip()), "it failed and said nothing")
    number = next((int(part) for part in reversed(words.replace(":", " ").split()) if part.isdigit()), 0)
    lines = script.splitlines()
    return f"{words} ({lines[number - 1]})" if "line" in words and 0 < number <= len(lines) else words
