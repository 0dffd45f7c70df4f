"""What a declared value may be beyond its type: each kind judges a value and describes itself as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

Schema = dict[str, object]

CNI_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
ARCHITECTURES = ("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x")


class Kind(Protocol):
    """Judges a value of the right type."""

    def complaint(self, value: object) -> str | None:
        """What is wrong with the value (`... is not a ...`), None if nothing."""

    def hint(self) -> str | None:
        """How to mend it."""

    def schema(self) -> Schema:
        """Keywords of JSON Schema that say the same."""


@dataclass(frozen=True)
class Text:
    """Text that matches a pattern as a whole."""

    what: str
    pattern: str
    advice: str | None = None

    def complaint(self, value: object) -> str | None:
        return None if re.fullmatch(self.pattern, str(value)) else f"`{value}` is not {self.what}"

    def hint(self) -> str | None:
        return self.advice

    def schema(self) -> Schema:
        return {"pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class OneOf:
    """One word of a closed list."""

    what: str
    words: tuple[str, ...]

    def complaint(self, value: object) -> str | None:
        return None if value in self.words else f"`{value}` is not {self.what}"

    def hint(self) -> str | None:
        return "one of " + ", ".join(f"`{word}`" for word in self.words)

    def schema(self) -> Schema:
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Between:
    """A number within bounds, both included."""

    low: float
    high: float

    def complaint(self, value: object) -> str | None:
        within = isinstance(value, (int, float)) and self.low <= value <= self.high
        return None if within else f"`{value}` is not between {self.low} and {self.high}"

    def hint(self) -> str | None:
        return None

    def schema(self) -> Schema:
        return {"minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Keys:
    """A mapping whose keys are of a closed list or match a pattern."""

    kind: Text | OneOf

    def complaint(self, value: object) -> str | None:
        """Keys are judged one by one, by `kind`."""
        return None

    def hint(self) -> str | None:
        return self.kind.hint()

    def schema(self) -> Schema:
        return {"propertyNames": self.kind.schema()}


# libcni: names start with a letter or digit, then letters, digits, `_`, `.`, `-` (SPEC "Network configuration").
NETWORK_NAME = Text(
    "a network name",
    r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*",
    "names start with a letter or digit and go on with letters, digits, `_`, `.` and `-`",
)
TEMPLATE_NAME = Text("the name of a template", r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
PLUGIN_NAME = Text(
    "the name of a plugin", r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*", "the name of an executable, without folders"
)
WORD = Text("a plain word", r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
# Linux: IFNAMSIZ 16 with the NUL; dev_valid_name() refuses `/`, `:` and white space.
INTERFACE_NAME = Text(
    "an interface name", r"(?!\.{1,2}$)[^/:\s]{1,15}", "at most 15 characters, without `/`, `:` and spaces"
)
FILE_NAME = Text(
    "the name of a conflist file",
    r"[^./][^/]*\.conflist",
    "a plain file name that ends in `.conflist`, for example `10-pods.conflist`",
)
FOLDER = Text(
    "an absolute path", r"/(?!.*(?:^|/)\.\.(?:/|$)).*", "write it from the root, for example `/opt/cni/bin`"
)
PATTERN = Text(
    "a file name or glob, or an absolute glob",
    r"/.+|[^/]+",
    "names are looked up in the runtime's `conf_dir`; write any other path from the root",
)
CHECKSUM = Text("a checksum", r"sha256:[0-9a-f]{64}", "write `sha256:` and 64 lower-case hexadecimal digits")
ADDRESS = Text(
    "an https address or a path",
    r"https://\S+|(?!\w+://)\S.*",
    "only `https://` addresses and local paths are read",
)
MODULE = Text("the name of a kernel module", r"[A-Za-z0-9_][A-Za-z0-9_\-]*")
SYSCTL = Text("the name of a sysctl", r"[A-Za-z0-9_][A-Za-z0-9_.\-/:*@]*", "for example `net.ipv4.ip_forward`")
