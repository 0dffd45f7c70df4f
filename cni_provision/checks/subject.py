"""What checks look at, ask and answer: plain values that travel in a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class CheckedNetwork:
    """One conflist as installed: its file, text, plugin types (IPAM included) and version."""

    name: str
    file: str
    text: str
    types: tuple[str, ...]
    cni_version: str
    template: str = ""


@dataclass(frozen=True)
class Subject:
    """What was declared for the node: where things are, and what must hold."""

    bin_dir: str
    cache_dir: str
    networks: tuple[CheckedNetwork, ...] = ()
    files: tuple[tuple[str, str], ...] = ()  # path, digest
    sysctl: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()  # names of the networks to send traffic through
    timeout: float = 30.0

    def executable(self, plugin: str) -> str:
        """The path of a plugin's executable."""
        return f"{self.bin_dir}/{plugin}"


@dataclass(frozen=True)
class Question:
    """One thing to find out on the node.

    `kind`: digest (of the file `name`), mount (flags of the file system under `name`), sysctl, module, program
    (a command on PATH), or plugin (run the executable `name` with verb `verb` and `stdin`).
    """

    kind: str
    name: str
    verb: str = ""
    stdin: str = ""


@dataclass(frozen=True)
class Answer:
    """`value` by kind: hex digest, mount flags, sysctl text, "loaded", path, or a plugin's stdout; None = absent."""

    value: Optional[str]
    code: int = 0


Answers = Mapping[Question, Answer]


def to_json(subject: Subject) -> dict[str, Any]:
    """A subject as JSON values."""
    return asdict(subject)


def from_json(plain: Mapping[str, Any]) -> Subject:
    """The inverse of `to_json`; raises `TypeError` or `KeyError` for anything else."""
    networks = tuple(
        CheckedNetwork(**{**network, "types": tuple(network["types"])}) for network in plain.get("networks", ())
    )
    lists = {name: tuple(plain.get(name, ())) for name in ("modules", "checks", "probe")}
    pairs = {name: tuple((first, second) for first, second in plain.get(name, ())) for name in ("files", "sysctl")}
    return Subject(
        bin_dir=plain["bin_dir"],
        cache_dir=plain["cache_dir"],
        networks=networks,
        timeout=plain.get("timeout", 30.0),
        modules=lists["modules"],
        checks=lists["checks"],
        probe=lists["probe"],
        files=pairs["files"],
        sysctl=pairs["sysctl"],
    )
