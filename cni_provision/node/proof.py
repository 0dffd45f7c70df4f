"""What proved a generation, as its record keeps it: without the conflists' texts, whose bytes are kept by digest.

A record is for people to read and a conflist may hold a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from cni_provision.node import blobs
from cni_provision.node.failure import Failure
from cni_provision.plan import HIDDEN, hidden


def without_texts(verify: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    """A request's `verify` with a digest in each conflist's place."""
    return _each_text(verify, hidden)


def with_texts(verify: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    """The inverse; raises `Failure` where the bytes are gone."""
    return _each_text(verify, _text_of)


def _each_text(verify: Optional[dict[str, Any]], change: Callable[[str], str]) -> Optional[dict[str, Any]]:
    if not verify or "networks" not in verify:
        return verify
    networks = [{**network, "text": change(network["text"])} for network in verify["networks"]]
    return {**verify, "networks": networks}


def _text_of(text: str) -> str:
    if not text.startswith(HIDDEN):
        return text
    try:
        return blobs.read(text[len(HIDDEN) :]).decode()
    except FileNotFoundError as error:
        hint = "`verify` proves what the inventory declares"
        raise Failure("what proved this generation is not kept any more", hint=hint) from error
