"""SHA-2 without OpenSSL: `hashlib` loads that, which takes a plugin without a server 2.5 ms."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module


def sha256(content: bytes) -> str:
    """Hexadecimal."""
    return _digest("sha256", content)


def sha512(content: bytes) -> str:
    """Hexadecimal."""
    return _digest("sha512", content)


def built_in(name: str) -> str:
    """The module that has it as Python's own code; it may be left out where only approved cryptography is used."""
    return "_sha2" if sys.version_info >= (3, 12) else f"_{name}"


def _digest(name: str, content: bytes) -> str:
    digest: str
    with suppress(ImportError):
        digest = getattr(import_module(built_in(name)), name)(content).hexdigest()
        return digest
    digest = getattr(import_module("hashlib"), name)(content).hexdigest()
    return digest
